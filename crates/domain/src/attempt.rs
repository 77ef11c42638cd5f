//! How an attempt ends.

use serde::{Deserialize, Serialize};

/// How an attempt ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttemptOutcome {
    /// With a result.
    Completed,
    /// With a failure of its own.
    Failed,
    /// The CLI or the worker died.
    Crashed,
    /// It was given back, at no cost.
    Released,
    /// The task was called off.
    Cancelled,
}

impl AttemptOutcome {
    /// The name in JSON and in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Crashed => "crashed",
            Self::Released => "released",
            Self::Cancelled => "cancelled",
        }
    }
}
