//! Tasks that a task depends on, as a client names them. Pure.

use std::collections::HashSet;

use domain::template::{MAX_PLACES, is_task_name, places};
use domain::{Condition, DependencyState, Invalid, MAX_DEPENDENCIES, OnFailure, Status, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::files::ContextFile;
use crate::{TaskSpec, Upload};

/// A task that must end before another one starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DependsOn {
    /// Its id; in a batch also the `name` of a task of the batch.
    #[schema(min_length = 1)]
    pub task: String,
    /// End that is waited for.
    #[serde(default)]
    pub on: Condition,
    /// What happens where it should complete, and does not.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Name by which instruction and files use what it leaves: `{{tasks.NAME.result}}`. In a batch its `name`, where none
    /// is set.
    #[schema(pattern = "^[A-Za-z0-9_-]{1,64}$")]
    #[serde(default, rename = "as", skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// A task that another one depends on, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Dependency {
    /// Its id: of the newest retry, where one stands for it.
    pub task: TaskId,
    /// End that is waited for.
    pub on: Condition,
    /// What happens where it should complete, and does not.
    pub on_failure: OnFailure,
    /// Name by which instruction and files use what it leaves.
    #[serde(rename = "as")]
    pub name: Option<String>,
    /// State of the dependency.
    pub state: DependencyState,
    /// Status of the task; `null` where it is not there any more.
    pub status: Option<Status>,
}

impl DependsOn {
    /// The id of the task, where it is named by that.
    #[must_use]
    pub fn id(&self) -> Option<TaskId> {
        self.task.parse().ok()
    }

    /// Name by which places use it.
    #[must_use]
    pub fn used_as(&self) -> Option<&str> {
        self.name.as_deref().or_else(|| self.id().is_none().then_some(&*self.task))
    }
}

/// True if a task can be called so: an id would mean that one.
fn can_be_called(name: &str) -> bool {
    is_task_name(name) && name.parse::<TaskId>().is_err()
}

const NAME_RULE: &str = "must have 1 to 64 letters, digits, - and _, and not be an id";

/// Checks everything about the dependencies of a task that the request itself tells.
pub(super) fn validate(spec: &TaskSpec) -> Result<(), Invalid> {
    const FIELD: &str = "dependsOn";
    if spec.name.as_deref().is_some_and(|name| !can_be_called(name)) {
        return Err(Invalid::new("name", NAME_RULE));
    }
    let all = &spec.depends_on;
    if all.len() > MAX_DEPENDENCIES {
        return Err(Invalid::new(FIELD, format!("must have at most {MAX_DEPENDENCIES} entries, got {}", all.len())));
    }
    let (mut tasks, mut names) = (HashSet::new(), HashSet::new());
    for one in all {
        if one.id().is_none() && !can_be_called(&one.task) {
            let rule = format!("task: must be the id of a task, or in a batch the name of one, got {:?}", one.task);
            return Err(Invalid::new(FIELD, rule));
        }
        if one.name.as_deref().is_some_and(|name| !can_be_called(name)) {
            return Err(Invalid::new(FIELD, format!("as: {NAME_RULE}, got {:?}", one.name)));
        }
        if !tasks.insert(one.id().map_or_else(|| one.task.clone(), |id| id.to_string())) {
            return Err(Invalid::new(FIELD, format!("names {} twice", one.task)));
        }
        if let Some(name) = one.used_as().filter(|name| !names.insert(*name)) {
            return Err(Invalid::new(FIELD, format!("two of them are called {name}: set \"as\" of one")));
        }
    }
    if all.is_empty() {
        // Braces mean nothing then.
        return Ok(());
    }
    validate_places(spec, &names)
}

fn validate_places(spec: &TaskSpec, names: &HashSet<&str>) -> Result<(), Invalid> {
    let files = spec.context.files.iter().filter_map(|file| match file {
        ContextFile::Upload(upload) => upload.text(),
        ContextFile::Path(_) | ContextFile::Sent(_) => None,
    });
    let texts = files.map(|text| ("context.files", text)).chain([("instruction", spec.instruction.as_str())]);
    let mut number = 0;
    for (field, text) in texts {
        for place in places(text) {
            number += 1;
            if !names.contains(place.name) {
                let rule = format!(
                    "{} names no task of dependsOn; the name of one is that in the batch, or its \"as\"",
                    &text[place.at]
                );
                return Err(Invalid::new(field, rule));
            }
            if number > MAX_PLACES {
                return Err(Invalid::new(field, format!("may use at most {MAX_PLACES} results in all")));
            }
        }
    }
    Ok(())
}

impl Upload {
    /// The content, where it is text.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        matches!(self.encoding, crate::files::Encoding::Utf8).then_some(&*self.content)
    }
}

/// Places of the tasks of a batch that each of its tasks names.
///
/// # Errors
/// The place of the task with a fault, and the fault.
pub fn named_in_batch(tasks: &[TaskSpec]) -> Result<Vec<Vec<usize>>, (usize, Invalid)> {
    let mut places = std::collections::HashMap::new();
    for (n, task) in tasks.iter().enumerate() {
        if let Some(name) = &task.name
            && let Some(first) = places.insert(name.as_str(), n)
        {
            return Err((n, Invalid::new("name", format!("{name} is the name of task {first} of the batch as well"))));
        }
    }
    let of = |(n, task): (usize, &TaskSpec)| {
        let named = task.depends_on.iter().filter(|one| one.id().is_none());
        let place = |one: &DependsOn| {
            let unknown = || Invalid::new("dependsOn", format!("no task of the batch has the name {}", one.task));
            places.get(one.task.as_str()).copied().ok_or_else(|| (n, unknown()))
        };
        named.map(place).collect()
    };
    tasks.iter().enumerate().map(of).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(more: serde_json::Value) -> TaskSpec {
        let mut whole = json!({ "instruction": "x" });
        whole.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        serde_json::from_value(whole).expect("a request")
    }

    const ID: &str = "01890000-0000-7000-8000-00000000000a";

    #[test]
    fn what_is_used_has_a_name() {
        for good in [
            json!({ "instruction": "{{tasks.a.result}}" }),
            json!({ "instruction": "{{tasks.a.result}}", "dependsOn": [{ "task": "a" }] }),
            json!({ "instruction": "{{tasks.a.result}}", "dependsOn": [{ "task": ID, "as": "a" }] }),
            json!({ "name": "b", "dependsOn": [{ "task": "a", "on": "ended" }, { "task": ID, "onFailure": "wait" }] }),
        ] {
            assert_eq!(validate(&spec(good.clone())), Ok(()), "{good}");
        }
        for bad in [
            json!({ "name": "a b" }),
            json!({ "name": ID }),
            json!({ "dependsOn": [{ "task": "a b" }] }),
            json!({ "dependsOn": [{ "task": "a" }, { "task": "a" }] }),
            json!({ "dependsOn": [{ "task": ID }, { "task": ID.to_uppercase() }] }),
            json!({ "dependsOn": [{ "task": "a" }, { "task": ID, "as": "a" }] }),
            json!({ "dependsOn": [{ "task": ID, "as": "" }] }),
            json!({ "instruction": "{{tasks.b.result}}", "dependsOn": [{ "task": "a" }] }),
            json!({ "instruction": "{{tasks.a.result}}".repeat(33), "dependsOn": [{ "task": "a" }] }),
            json!({ "context": { "files": [{ "name": "f", "content": "{{tasks.b.status}}" }] }, "dependsOn": [{ "task": "a" }] }),
        ] {
            assert!(validate(&spec(bad.clone())).is_err(), "{bad}");
        }
    }

    #[test]
    fn names_of_a_batch_are_places() {
        let tasks = [spec(json!({ "dependsOn": [{ "task": "b" }, { "task": ID }] })), spec(json!({ "name": "b" }))];
        assert_eq!(named_in_batch(&tasks), Ok(vec![vec![1], vec![]]));
        assert_eq!(named_in_batch(&tasks[..1]).map_err(|(n, _)| n), Err(0));
        assert_eq!(named_in_batch(&[tasks[1].clone(), tasks[1].clone()]).map_err(|(n, _)| n), Err(1));
    }
}
