//! Health.

use std::collections::BTreeMap;

use domain::{FailureClass, Name, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// True if the server takes and does work.
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
#[strum(serialize_all = "lowercase")]
pub enum HealthStatus {
    /// Everything works.
    Healthy,
    /// One of its duties fails.
    Unhealthy,
    /// The server stops: it accepts nothing new.
    Draining,
}

/// Health of the server.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Health {
    /// True if it takes and does work.
    pub status: HealthStatus,
    /// Time of the answer.
    pub timestamp: Timestamp,
    /// Counts of tasks, as they were last read.
    pub queue: QueueCounts,
    /// `inline`, `standalone` or `managed`.
    pub worker_mode: String,
    /// The workers.
    pub workers: WorkerCounts,
    /// Each duty, and whether it is done.
    pub checks: BTreeMap<String, Check>,
    /// Faults of the program since its start, each of which cost a request or the restart of an actor.
    pub panics: u64,
    /// Reason for which it is not healthy.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Credentials with which nothing is started for a time.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<ParkedCredential>,
}

/// Counts of tasks; `null` where they were never read.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct QueueCounts {
    /// Tasks that have not ended.
    pub size: Option<i64>,
    /// Tasks that wait.
    pub pending: Option<i64>,
    /// Tasks that run.
    pub running: Option<i64>,
    /// Tasks that have ended with a result.
    pub completed: Option<i64>,
    /// Tasks that have ended without one.
    pub failed: Option<i64>,
}

/// The workers, in short.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkerCounts {
    /// Number of workers.
    pub count: usize,
    /// True if tasks can be started.
    pub healthy: bool,
}

/// A duty.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Check {
    /// True if it is done.
    pub ok: bool,
    /// Milliseconds since it began to fail. Left out where it works, or where that is not known.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failing_ms: Option<u64>,
    /// Error. Left out where it works.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// The process answers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Alive {
    /// `alive`.
    pub status: String,
}

/// True if the server takes tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// True if it takes and does work.
    pub status: HealthStatus,
    /// Each duty, and whether it is done.
    pub checks: BTreeMap<String, Check>,
    /// Reason for which they are not healthy.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A credential with which nothing is started for a time: its account has reached a limit, or it was refused.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ParkedCredential {
    /// A name that tells it from others and doesn't give it away.
    pub credential: String,
    /// End of the parking.
    pub until: Timestamp,
    /// `usage_limit` or `auth`.
    #[schema(value_type = String)]
    pub class: Name<FailureClass>,
    /// Message of the CLI.
    pub message: String,
}
