//! The options of the CLI, by the names of its own.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::spec::{MAX_OPTION_BYTES, invalid, text, texts, within};
use domain::{Invalid, Named as _, SessionId, TaskId, Usd, json};
use strum::VariantArray as _;

/// Options of the CLI, by the names of its own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SdkOptions {
    /// `--model`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// `--fallback-model`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_model: Option<String>,
    /// `--max-turns`
    #[schema(minimum = 1, maximum = 10000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_turns: Option<i64>,
    /// `--max-budget-usd`
    #[schema(value_type = Option<f64>, minimum = 0.0001, maximum = 100000)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_budget_usd: Option<Usd>,
    /// `--permission-mode`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permission_mode: Option<PermissionMode>,
    /// `--allowedTools`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed_tools: Vec<String>,
    /// `--disallowedTools`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disallowed_tools: Vec<String>,
    /// `--system-prompt`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system_prompt: Option<String>,
    /// `--append-system-prompt`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub append_system_prompt: Option<String>,
    /// `--json-schema`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<Value>,
    /// `--add-dir`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_dirs: Vec<String>,
    /// `--effort`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// `--mcp-config`: servers of the operator's list, by their names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_config: Option<McpConfig>,
    /// Goes on with the session of this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume_session: Option<SessionId>,
    /// Goes on with the conversation of this task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = Uuid)]
    pub continue_from_task_id: Option<TaskId>,
    /// `--fork-session`: on a copy of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork_session: Option<bool>,
    /// Goes on in another folder than the session was begun in: its transcript is copied there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub move_session: Option<bool>,
}

/// MCP servers, in the CLI's own shape.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpConfig {
    /// MCP servers by name. A server's command runs before the model does anything: so an entry is empty, or the one
    /// that the operator has under that name.
    pub mcp_servers: BTreeMap<String, Value>,
}

/// The CLI's own names, in the order of what they allow.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum PermissionMode {
    /// Reads and plans, changes nothing.
    Plan,
    /// Tools that are not allowed already are denied.
    #[serde(alias = "deny")]
    DontAsk,
    /// Tools that are not allowed already are asked for.
    #[serde(alias = "ask")]
    Default,
    /// Edits inside the working directory are allowed.
    AcceptEdits,
    /// The CLI judges each call.
    Auto,
    /// All tools are allowed.
    #[serde(alias = "allow")]
    BypassPermissions,
}

impl PermissionMode {
    /// Aliases of modes that a request may use.
    const ALIASES: [&str; 3] = ["ask", "allow", "deny"];

    /// True if allowing a tool, or calls of it, is no more than this mode: it is as much as the mode that would allow it.
    #[must_use]
    pub fn covers(self, rule: &str) -> bool {
        let name = rule.split('(').next().unwrap_or_default().trim();
        let needed = match name {
            "Read" | "Glob" | "Grep" | "LS" | "TodoWrite" => Self::Plan,
            "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => Self::AcceptEdits,
            _ => Self::BypassPermissions,
        };
        needed <= self
    }
}

impl utoipa::PartialSchema for PermissionMode {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let names = Self::VARIANTS.iter().map(|mode| mode.name()).chain(Self::ALIASES);
        let modes =
            utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::Type::String).enum_values(Some(names));
        let aliases = "Modes of the CLI, in the order of what they allow. `ask` is `default`, `allow` is `bypassPermissions`, `deny` is `dontAsk`.";
        modes.description(Some(aliases)).into()
    }
}

impl ToSchema for PermissionMode {}

/// Effort of the model.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "camelCase")]
pub enum Effort {
    /// The CLI's `low`.
    Low,
    /// The CLI's `medium`.
    Medium,
    /// The CLI's `high`.
    High,
    /// The CLI's `xhigh`.
    Xhigh,
    /// The CLI's `max`.
    Max,
}

/// A schema that no validator can read would fail only when the model has done its work.
pub(super) fn check_schema(field: &'static str, schema: &Value) -> Result<(), Invalid> {
    if !schema.is_object() {
        return invalid(field, "must be a JSON Schema, that is, an object");
    }
    if !json::is_shallow(schema) {
        return invalid(field, format!("must be nested at most {} levels deep", json::MAX_DEPTH));
    }
    if schema.to_string().len() > MAX_OPTION_BYTES {
        return invalid(field, format!("must be at most {MAX_OPTION_BYTES} bytes"));
    }
    match jsonschema::validator_for(schema) {
        Ok(_) => Ok(()),
        Err(error) => invalid(field, format!("is no JSON Schema: {error} (at \"{}\")", error.instance_path())),
    }
}

impl SdkOptions {
    /// Checks every rule that needs nothing but the options themselves.
    pub(super) fn validate(&self) -> Result<(), Invalid> {
        text("options.sdk.model", self.model.as_ref())?;
        text("options.sdk.fallbackModel", self.fallback_model.as_ref())?;
        within("options.sdk.maxTurns", self.max_turns, 1, 10_000)?;
        within("options.sdk.maxBudgetUsd", self.max_budget_usd, Usd::of(0.0001), Usd::of(100_000.0))?;
        texts("options.sdk.allowedTools", &self.allowed_tools, 200)?;
        texts("options.sdk.disallowedTools", &self.disallowed_tools, 200)?;
        text("options.sdk.systemPrompt", self.system_prompt.as_ref())?;
        text("options.sdk.appendSystemPrompt", self.append_system_prompt.as_ref())?;
        texts("options.sdk.addDirs", &self.add_dirs, 50)?;
        self.validate_session()?;
        self.output_schema.as_ref().map_or(Ok(()), |schema| check_schema("options.sdk.outputSchema", schema))
    }

    fn validate_session(&self) -> Result<(), Invalid> {
        let from = (self.resume_session, self.continue_from_task_id);
        if from.0.is_some() && from.1.is_some() {
            return invalid("options.sdk.resumeSession", "can't stand beside continueFromTaskId: name one of them");
        }
        if self.fork_session == Some(true) && from == (None, None) {
            return invalid("options.sdk.forkSession", "needs resumeSession or continueFromTaskId: what to fork");
        }
        if self.move_session == Some(true) && from == (None, None) {
            return invalid("options.sdk.moveSession", "needs resumeSession or continueFromTaskId: what to move");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_of_a_mode_is_read() {
        let names = PermissionMode::VARIANTS.iter().map(|mode| mode.name()).chain(PermissionMode::ALIASES);
        for name in names {
            serde_json::from_value::<PermissionMode>(name.into()).expect(name);
        }
    }
}
