//! Tasks that new tasks depend on, as their client names them.

use std::collections::HashSet;

use domain::{TaskId, in_order};
use serde_json::json;
use wire::{DependsOn, TaskSpec, named_in_batch};

use super::{Kind, Refusal};
use crate::queue::{DEPENDENCY_FAILED, NewDependency, Submitted};

/// Takes the dependencies out of a request. `batch` has the tasks that are stored together with it.
///
/// # Errors
/// One is named by no id.
pub fn resolve(spec: &mut TaskSpec, batch: &HashSet<TaskId>) -> Result<Vec<NewDependency>, Refusal> {
    let one = |named: DependsOn| {
        let task = named.id().ok_or_else(|| {
            let rule = format!("\"{}\" is no id; tasks have names for those of their batch alone", named.task);
            Refusal::invalid("dependsOn", rule)
        })?;
        let DependsOn { on, on_failure, name, .. } = named;
        Ok(NewDependency { task, condition: on, on_failure, name, is_new: batch.contains(&task) })
    };
    std::mem::take(&mut spec.depends_on).into_iter().map(one).collect()
}

/// Gives the tasks of a batch their ids, older ones to those that others depend on, and names dependencies by them.
///
/// # Errors
/// The place of the first task with a fault, and the fault.
pub fn name_batch(tasks: &mut [TaskSpec]) -> Result<Vec<TaskId>, (usize, Box<Refusal>)> {
    let places = named_in_batch(tasks).map_err(|(n, invalid)| (n, Box::new(invalid.into())))?;
    let order = in_order(&places).map_err(|circle| (circle[0], Box::new(waits_for_itself(&circle))))?;
    let mut ids: Vec<(usize, TaskId)> = order.into_iter().map(|task| (task, TaskId::new())).collect();
    ids.sort_unstable();
    let ids: Vec<TaskId> = ids.into_iter().map(|(_, id)| id).collect();
    for (task, places) in tasks.iter_mut().zip(places) {
        let named = task.depends_on.iter_mut().filter(|one| one.id().is_none());
        for (one, place) in named.zip(places) {
            one.name.get_or_insert(std::mem::replace(&mut one.task, ids[place].to_string()));
        }
    }
    Ok(ids)
}

fn waits_for_itself(circle: &[usize]) -> Refusal {
    let all: Vec<String> = circle.iter().chain(circle.first()).map(ToString::to_string).collect();
    Refusal::invalid("dependsOn", format!("tasks of the batch wait for each other in a circle: {}", all.join(" → ")))
}

/// Refusal of a task that depends on one that is not there, or that has ended in a way that it could never start.
pub fn not_met(refused: &Submitted) -> Option<Refusal> {
    Some(match refused {
        Submitted::NoDependency(task) => Refusal::new(
            Kind::Unknown,
            "DEPENDENCY_NOT_FOUND",
            format!("dependsOn: there is no task {task}"),
        )
        .with(json!({ "taskId": task })),
        Submitted::DependencyFailed(task, status) => Refusal::new(
            Kind::Conflict,
            DEPENDENCY_FAILED,
            format!(
                "dependsOn: task {task} is {status}, and this one would never start; retry that one first, or set \"on\": \"ended\", \
                or \"onFailure\" to run or wait"
            ),
        )
        .with(json!({ "taskId": task, "status": status })),
        _ => return None,
    })
}
