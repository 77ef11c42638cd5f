//! Rules of keys.

use domain::{RuleId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A rule: calls of a tool that need no answer of a person.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleView {
    /// The rule.
    pub rule_id: RuleId,
    /// Tool, or calls of it, as the CLI writes them.
    pub rule: String,
    /// Name of the key whose tasks it is for.
    pub key: String,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those of this folder or repository, and below it.
    pub folder: Option<String>,
    /// Time at which it was stored.
    pub created_at: Timestamp,
    /// Name of the key that asked for it.
    pub created_by: String,
}

/// A rule that would have answered as people did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RuleSuggestion {
    /// Tool, or calls of it, as the CLI writes them.
    pub rule: String,
    /// Name of the key whose tasks it would be for.
    pub key: String,
    /// Only those with this tag.
    pub tag: Option<String>,
    /// Only those of this folder or repository.
    pub folder: Option<String>,
    /// Times that it was allowed, and never refused: interruptions that it would have saved.
    pub times: i64,
    /// Milliseconds that tasks have waited for these answers.
    pub waited_ms: i64,
}

/// Rules, and suggestions for new ones.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Rules {
    /// Rules, oldest first.
    pub rules: Vec<RuleView>,
    /// What people's newest answers suggest, those first that would have saved most.
    pub suggestions: Vec<RuleSuggestion>,
}
