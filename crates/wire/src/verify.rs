//! The check of a task's work: it completes only when the check has passed.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::artifacts::Patterns;
use crate::sdk::check_schema;
use crate::spec::{MAX_TIMEOUT_MS, TaskSpec, invalid, text, within};
use domain::Invalid;

/// Time limit of a command where none is set.
const TIMEOUT: Duration = Duration::from_secs(600);
/// Times that a failure goes back where nothing is set.
const ROUNDS: u32 = 3;
/// Maximum number of faults of a result that are told.
const MAX_FAULTS: usize = 10;

/// The check of a task's work, once the model says that it is done. What fails goes back to it as a message.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verify {
    /// Command of a shell, in the task's folder and its sandbox, without access to the API: passed where it exits with 0.
    #[schema(min_length = 1)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// Time limit of the command in milliseconds; 10 minutes where not set.
    #[schema(minimum = 1, maximum = 86400000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<i64>,
    /// JSON Schema of the result: of `structuredOutput` where `options.sdk.outputSchema` is set, else of the text as JSON.
    #[schema(value_type = Option<Object>)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Maximum number of lines that the task may add and remove in its worktree, together.
    #[schema(minimum = 0, maximum = 1000000000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_diff_lines: Option<i64>,
    /// Files that it may change in its worktree: patterns such as `src/**`, from the top of the repository.
    #[schema(max_items = 20)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// Times that a failure goes back to the model, 0 to 20; 3 where not set.
    #[schema(minimum = 0, maximum = 20)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rounds: Option<i64>,
}

impl Verify {
    /// Checks the rules for the check of this task.
    pub(super) fn validate(&self, spec: &TaskSpec) -> Result<(), Invalid> {
        text("verify.command", self.command.as_ref())?;
        if self.command.as_ref().is_some_and(|command| command.trim().is_empty()) {
            invalid("verify.command", "must have more than spaces")?;
        }
        within("verify.timeout", self.timeout, 1, MAX_TIMEOUT_MS)?;
        if self.timeout.is_some() && self.command.is_none() {
            invalid("verify.timeout", "needs verify.command, whose limit it is")?;
        }
        if let Some(schema) = &self.schema {
            check_schema("verify.schema", schema)?;
        }
        within("verify.maxDiffLines", self.max_diff_lines, 0, 1_000_000_000)?;
        Patterns::of("verify.paths", &self.paths)?;
        within("verify.maxRounds", self.max_rounds, 0, 20)?;
        if self.looks_at_changes() && spec.worktree().is_none() {
            let field = if self.max_diff_lines.is_some() { "verify.maxDiffLines" } else { "verify.paths" };
            invalid(
                field,
                "needs a worktree, in which all changes are the task's: set options.useWorktree or context.repository",
            )?;
        }
        if self.command.is_none() && self.schema.is_none() && !self.looks_at_changes() {
            invalid("verify", "must have at least one of command, schema, maxDiffLines and paths")?;
        }
        Ok(())
    }

    /// True if what the task has changed is looked at.
    #[must_use]
    pub const fn looks_at_changes(&self) -> bool {
        self.max_diff_lines.is_some() || !self.paths.is_empty()
    }

    /// Time limit of the command.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.timeout.map_or(TIMEOUT, |ms| Duration::from_millis(ms.unsigned_abs()))
    }

    /// Times that a failure goes back to the model.
    #[must_use]
    pub fn rounds(&self) -> u32 {
        self.max_rounds.and_then(|rounds| u32::try_from(rounds).ok()).unwrap_or(ROUNDS)
    }

    /// Returns what a result lacks by the schema, in words.
    #[must_use]
    pub fn faults_of(&self, result: Option<&str>, structured: Option<&Value>) -> Vec<String> {
        let Some(schema) = &self.schema else { return Vec::new() };
        let parsed = match structured {
            Some(value) => Ok(value.clone()),
            None => serde_json::from_str(unfenced(result.unwrap_or_default())),
        };
        let (validator, value) = match (jsonschema::validator_for(schema), parsed) {
            (Ok(validator), Ok(value)) => (validator, value),
            (_, Err(error)) => return vec![format!("the result must be JSON alone, and is none: {error}")],
            (Err(error), _) => return vec![format!("verify.schema can't be read: {error}")],
        };
        let line = |error: jsonschema::ValidationError<'_>| {
            let place = error.instance_path().to_string();
            let place = if place.is_empty() { "the result".to_owned() } else { format!("{place} of the result") };
            let mut words = error.to_string();
            if words.len() > 300 {
                words.truncate(words.floor_char_boundary(300));
                words.push('…');
            }
            format!("{place} is not as the schema wants it: {words}")
        };
        validator.iter_errors(&value).take(MAX_FAULTS).map(line).collect()
    }

    /// Returns what is wrong with these changes, in words: each a path with the lines that were added and removed there.
    #[must_use]
    pub fn faults_of_changes(&self, changes: &[(String, i64)]) -> Vec<String> {
        let mut faults = Vec::new();
        let lines = changes.iter().fold(0_i64, |sum, (_, lines)| sum.saturating_add(*lines));
        if let Some(most) = self.max_diff_lines.filter(|most| lines > *most) {
            faults.push(format!("{lines} lines were added and removed, and at most {most} may be"));
        }
        if self.paths.is_empty() {
            return faults;
        }
        let Ok(patterns) = Patterns::of("verify.paths", &self.paths) else {
            return vec!["verify.paths can't be read".to_owned()];
        };
        let outside: Vec<_> =
            changes.iter().map(|(path, _)| path.as_str()).filter(|path| !patterns.include(path)).collect();
        if !outside.is_empty() {
            let (named, more) = outside.split_at(outside.len().min(MAX_FAULTS));
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            faults.push(format!("{}{more} changed, and only {} may", named.join(", "), self.paths.join(", ")));
        }
        faults
    }
}

/// The JSON in a block of code, where a text is nothing but that.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inner =
        text.strip_prefix("```json").or_else(|| text.strip_prefix("```")).and_then(|text| text.strip_suffix("```"));
    inner.unwrap_or(text).trim()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_result_is_held_against_its_schema() {
        let schema = Some(json!({ "type": "object", "required": ["ok"], "properties": { "ok": { "const": true } } }));
        let verify = Verify { schema, ..Verify::default() };
        let good = json!({ "ok": true });
        for result in ["{\"ok\": true}", " ```json\n{\"ok\": true}\n```\n"] {
            assert!(verify.faults_of(Some(result), None).is_empty(), "{result}");
        }
        assert!(verify.faults_of(Some("words"), Some(&good)).is_empty(), "what has the form that was asked for counts");
        for (result, says) in [
            (Some("Done: {\"ok\": true}"), "JSON alone"),
            (None, "JSON alone"),
            (Some("{}"), "\"ok\" is a required property"),
            (Some("{\"ok\": 1}"), "/ok of the result"),
        ] {
            let faults = verify.faults_of(result, None).join("; ");
            assert!(faults.contains(says), "{faults}");
        }
    }

    #[test]
    fn changes_are_held_against_lines_and_paths() {
        let verify = Verify { max_diff_lines: Some(10), paths: vec!["src/**".to_owned()], ..Verify::default() };
        let changes =
            |all: &[(&str, i64)]| -> Vec<_> { all.iter().map(|(path, n)| ((*path).to_owned(), *n)).collect() };
        assert!(verify.faults_of_changes(&changes(&[("src/a.rs", 4), ("src/b/c.rs", 6)])).is_empty());
        let faults = verify.faults_of_changes(&changes(&[("src/a.rs", 11), ("Cargo.toml", 0)]));
        assert_eq!(
            faults,
            ["11 lines were added and removed, and at most 10 may be", "Cargo.toml changed, and only src/** may"]
        );
        let many: Vec<_> = (0..30).map(|n| (format!("{n}.txt"), 0)).collect();
        let faults = verify.faults_of_changes(&many);
        assert!(faults[0].contains("9.txt and 20 more changed"), "{faults:?}");
    }

    #[test]
    fn a_check_of_nothing_is_refused() {
        let mut spec = TaskSpec::of("x".to_owned());
        let check = |spec: &TaskSpec, verify: Verify| verify.validate(spec).map_err(|error| error.field);
        let command = Some("make test".to_owned());
        assert_eq!(check(&spec, Verify::default()), Err("verify"));
        assert_eq!(check(&spec, Verify { timeout: Some(5), ..Verify::default() }), Err("verify.timeout"));
        assert_eq!(check(&spec, Verify { command: Some(" ".to_owned()), ..Verify::default() }), Err("verify.command"));
        assert_eq!(
            check(&spec, Verify { schema: Some(json!({ "type": "no type" })), ..Verify::default() }),
            Err("verify.schema")
        );
        let lines = Verify { max_diff_lines: Some(5), command, ..Verify::default() };
        assert_eq!(check(&spec, lines.clone()), Err("verify.maxDiffLines"));
        (spec.options.use_worktree, spec.context.working_directory) = (Some(true), Some("/w".to_owned()));
        assert_eq!(check(&spec, lines), Ok(()));
    }
}
