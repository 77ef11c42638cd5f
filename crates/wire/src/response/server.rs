//! What a server says of itself.

use std::collections::BTreeMap;

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The settings of a server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Settings {
    /// Every setting, in the order of the documentation.
    pub settings: Vec<SettingView>,
}

/// A setting as it is in force.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SettingView {
    /// The environment variable.
    pub name: String,
    /// Value; `null` where it has none, `set` for a secret.
    pub value: Option<String>,
    /// Value where it is not set.
    pub default: Option<String>,
    /// `default`, `file`, `environment` or `flag`.
    pub origin: String,
    /// Meaning, with the range.
    pub help: String,
}

/// What must be right before tasks can run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DoctorReport {
    /// True if nothing is missing.
    pub ok: bool,
    /// The findings, in order.
    pub findings: Vec<DoctorFinding>,
}

/// One thing that must be right.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DoctorFinding {
    /// Name of the thing.
    pub what: String,
    /// True if it is right.
    pub ok: bool,
    /// What was found; of something that is missing, what to do.
    pub message: String,
}

/// Points of time series, for charts. All have the same length.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Series {
    /// Seconds between two points.
    pub step: i64,
    /// The beginning of each step.
    pub at: Vec<Timestamp>,
    /// Values by the name of the series. `null` where nothing is known: that is before the history begins.
    pub series: BTreeMap<String, Vec<Option<f64>>>,
}
