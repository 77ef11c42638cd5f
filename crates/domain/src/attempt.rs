//! How an attempt ends.

use serde::{Deserialize, Serialize};

/// How an attempt ended.
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
