//! Refusals: reasons for which a request is not carried out. Knows no HTTP: `api` gives each kind its status.

use domain::Invalid;
use serde_json::{Value, json};

use crate::queue::QueueError;

/// Kind of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A field breaks a rule.
    Invalid,
    /// The server's settings forbid it.
    Forbidden,
    /// The subject does not exist.
    Unknown,
    /// The state of something else forbids it.
    Conflict,
    /// It is larger than it may be.
    TooLarge,
    /// There is no room now.
    Full,
    /// A needed part does not answer now.
    Unavailable,
}

/// A refusal: a stable code for programs, a sentence for people that says what to do, and details.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub kind: Kind,
    /// A stable name for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Details for programs: an object.
    pub details: Value,
}

impl Refusal {
    /// A refusal of this kind.
    pub fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self { kind, code, message: message.into(), details: json!({}) }
    }

    /// The same with details for programs.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// The same with more to say.
    #[must_use]
    pub fn and(mut self, more: &str) -> Self {
        self.message.push_str(more);
        self
    }

    /// A field that breaks a rule.
    pub fn invalid(field: &str, rule: impl Into<String>) -> Self {
        let rule = rule.into();
        Self::new(Kind::Invalid, "INVALID_INPUT", format!("{field}: {rule}"))
            .with(json!({ "field": field, "rule": rule }))
    }

    /// Refusal of something that the server's settings forbid.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Forbidden, code, message)
    }

    /// Refusal where there is no such task.
    pub fn no_task(id: impl std::fmt::Display) -> Self {
        let id = id.to_string();
        Self::new(Kind::Unknown, "TASK_NOT_FOUND", format!("there is no task {id}")).with(json!({ "taskId": id }))
    }

    /// The same about a part of the request.
    #[must_use]
    pub fn below(mut self, part: &str) -> Self {
        if let Some(field) = self.details["field"].as_str() {
            self.message = format!("{part}.{}", self.message);
            self.details["field"] = json!(format!("{part}.{field}"));
        }
        self
    }

    /// The process accepts nothing new.
    pub fn draining() -> Self {
        Self::new(Kind::Unavailable, "DRAINING", "the server is stopping; try again on the next one")
    }

    /// True if the same may be right in a moment.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self.kind, Kind::Full | Kind::Unavailable)
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Invalid> for Refusal {
    fn from(invalid: Invalid) -> Self {
        Self::invalid(invalid.field, invalid.rule)
    }
}

impl From<QueueError> for Refusal {
    fn from(error: QueueError) -> Self {
        let chain = crate::telemetry::chain(&error);
        tracing::warn!(error = %chain, "The store did not answer");
        Self::new(Kind::Unavailable, "STORE_UNAVAILABLE", format!("nothing was confirmed; try again ({error})"))
    }
}
