//! Ends of attempts.

use serde::{Deserialize, Serialize};

/// Outcome of an attempt.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "snake_case")]
pub enum AttemptOutcome {
    /// Ended with a result.
    Completed,
    /// Ended with a failure of its own.
    Failed,
    /// The CLI or the worker died.
    Crashed,
    /// Given back, at no cost.
    Released,
    /// The task was called off.
    Cancelled,
}
