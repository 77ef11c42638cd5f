//! Questions of a running task, their answers, and further messages.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Invalid, Timestamp, json};

/// The longest text that comes with an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// Question of a task: may this tool be used with this input?
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// Name within the task: the CLI's, from when it was first asked.
    pub request_id: String,
    /// The tool; `AskUserQuestion` where the model itself asks.
    pub tool: String,
    /// Input of the tool.
    pub input: Value,
    /// Rules that the CLI suggests to allow from now on, in its own shape.
    pub suggestions: Value,
    /// Time at which it was first asked.
    pub asked_at: Timestamp,
    /// Time at which it is denied automatically.
    pub deadline: Timestamp,
    /// Answer, once there is one.
    pub answer: Option<Decision>,
}

/// An answer to a [`Question`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Decision {
    /// Allow or deny.
    pub behavior: Behavior,
    /// Reason for the model, with a denial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// Input to use instead, with a permission.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_input: Option<Value>,
    /// Scope of a permission.
    #[serde(default)]
    pub scope: Scope,
}

/// Allow or deny, by the CLI's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Behavior {
    /// The call is made.
    Allow,
    /// The call is not made.
    Deny,
}

/// Scope of a permission.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// This call.
    #[default]
    Once,
    /// All calls like it in this task.
    Session,
}

impl Decision {
    /// The answer of a question whose time has passed.
    #[must_use]
    pub fn too_late() -> Self {
        let message = Some("Nobody answered in time.".to_owned());
        Self { behavior: Behavior::Deny, message, updated_input: None, scope: Scope::Once }
    }

    /// Checks what needs nothing but the answer itself.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.message.as_ref().is_some_and(|message| message.len() > MAX_ANSWER_BYTES) {
            return Err(Invalid::new("message", format!("must have at most {MAX_ANSWER_BYTES} bytes")));
        }
        let denied = self.behavior == Behavior::Deny;
        match &self.updated_input {
            Some(_) if denied => Err(Invalid::new("updatedInput", "goes with \"behavior\": \"allow\" only")),
            Some(input) if !input.is_object() => Err(Invalid::new("updatedInput", "must be an object")),
            Some(input) if !json::is_shallow(input) => {
                Err(Invalid::new("updatedInput", format!("must be nested at most {} levels deep", json::MAX_DEPTH)))
            }
            _ if denied && self.scope == Scope::Session => {
                Err(Invalid::new("scope", "session goes with \"behavior\": \"allow\" only"))
            }
            _ => Ok(()),
        }
    }
}

impl Question {
    /// True if a yes or a no answers it; what the model itself asks has answers of its own.
    #[must_use]
    pub fn takes_a_decision(&self) -> bool {
        self.tool != "AskUserQuestion"
    }

    /// Returns the rules that a permission for the session adds, as the CLI writes them: `Bash(touch a)`, `Write`.
    #[must_use]
    pub fn session_rules(&self) -> Vec<String> {
        session_rules(&self.tool, &self.suggestions)
    }

    /// Returns the question as part of the task's view.
    #[must_use]
    pub fn waiting_for(&self) -> Value {
        json!({
            "type": "permission", "requestId": self.request_id, "toolName": self.tool,
            "since": self.asked_at, "deadline": self.deadline,
        })
    }
}

/// Returns the rules that a permission for the session adds, by the CLI's suggestions; the tool where it suggests
/// nothing.
#[must_use]
pub fn session_rules(tool: &str, suggestions: &Value) -> Vec<String> {
    let suggested = suggestions.as_array().into_iter().flatten();
    let rules = suggested
        .filter(|one| one["type"] == "addRules" && one["behavior"] == "allow")
        .flat_map(|one| one["rules"].as_array().into_iter().flatten());
    let rule = |rule: &Value| match (rule["toolName"].as_str()?, rule["ruleContent"].as_str()) {
        (tool, Some(content)) => Some(format!("{tool}({content})")),
        (tool, None) => Some(tool.to_owned()),
    };
    let rules: Vec<_> = rules.filter_map(rule).collect();
    if rules.is_empty() { vec![tool.to_owned()] } else { rules }
}

/// Input from people that a running task has not received yet.
#[derive(Clone, Debug, PartialEq)]
pub enum TaskInput {
    /// The answer to a question.
    Answer {
        /// The question.
        request_id: String,
        /// Answer.
        decision: Decision,
    },
    /// A further turn.
    Message {
        /// Number, in the order of their coming.
        id: i64,
        /// Word for word.
        text: String,
    },
    /// Stop the turn.
    Interrupt {
        /// Number.
        id: i64,
    },
}

impl TaskInput {
    /// Number, where it has one.
    #[must_use]
    pub const fn number(&self) -> Option<i64> {
        match self {
            Self::Answer { .. } => None,
            Self::Message { id, .. } | Self::Interrupt { id } => Some(*id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_yes_for_the_session_is_what_the_cli_suggests_or_the_tool() {
        let mut question = Question {
            request_id: "q".into(),
            tool: "Bash".into(),
            input: json!({}),
            suggestions: json!([
                { "type": "addRules", "behavior": "allow", "rules": [{ "toolName": "Bash", "ruleContent": "touch a" }] },
                { "type": "setMode", "mode": "acceptEdits" },
            ]),
            asked_at: Timestamp(0),
            deadline: Timestamp(1),
            answer: None,
        };
        assert_eq!(question.session_rules(), ["Bash(touch a)"]);
        question.suggestions = Value::Null;
        assert_eq!(question.session_rules(), ["Bash"]);
    }

    #[test]
    fn a_no_brings_no_input() {
        let decision: Decision =
            serde_json::from_value(json!({ "behavior": "deny", "updatedInput": {} })).expect("a decision");
        assert_eq!(decision.validate().map_err(|invalid| invalid.field), Err("updatedInput"));
    }
}
