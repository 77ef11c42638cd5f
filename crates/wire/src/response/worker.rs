//! Workers.

use domain::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// State of a worker process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum WorkerState {
    /// The process has begun and has not said hello yet.
    Starting,
    /// The process runs and is linked.
    Running,
    /// The process runs, but its link is gone.
    Unlinked,
    /// The process ends after its running tasks.
    Draining,
    /// The process has ended and is started again soon.
    Restarting,
    /// The process ends too often, and is started again at a slow pace.
    CrashLooping,
}

/// A worker.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worker {
    /// Name.
    pub worker_id: String,
    /// Process id; of the process that ended last, where none runs.
    pub pid: u32,
    /// Start of the process.
    pub start_time: Timestamp,
    /// Milliseconds since then; 0 where none runs.
    pub uptime: i64,
    /// Number of restarts.
    pub restart_count: u32,
    /// True while it is heard of.
    pub connected: bool,
    /// State.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<WorkerState>,
    /// Of a managed worker: true if it ends too often.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_looping: Option<bool>,
    /// Name of its machine.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// Milliseconds since its last heartbeat in the store.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_beat_ms: Option<i64>,
    /// Its labels.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// Version of its program.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Tasks that it runs.
    pub running: i64,
    /// Maximum number of tasks at a time.
    pub concurrency: i64,
    /// The duty that it fails at, and why.
    pub failing: Option<String>,
}

/// All workers.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Workers {
    /// True if tasks can be started.
    pub healthy: bool,
    /// Number of workers.
    pub worker_count: usize,
    /// The workers.
    pub workers: Vec<Worker>,
}

/// A worker that was stopped.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkerStopped {
    /// True.
    pub success: bool,
    /// Name.
    pub worker_id: String,
    /// Description of what was done, for people.
    pub message: String,
}
