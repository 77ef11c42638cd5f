//! What the recorded history says of the promises.

use domain::{TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The history of the server, held against the promises.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Proof {
    /// True if no promise is broken.
    pub ok: bool,
    /// Time of the check; an answer may be some seconds old.
    pub checked_at: Timestamp,
    /// Milliseconds that it took.
    pub took_ms: i64,
    /// Changes that were looked at.
    pub changes: i64,
    /// Tasks that stand.
    pub tasks: i64,
    /// Attempts that began.
    pub attempts: i64,
    /// The promises.
    pub promises: Vec<PromiseState>,
}

/// A promise, and whether it was kept.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PromiseState {
    /// Number, as in ARCHITECTURE.md.
    pub number: u8,
    /// The promise in a few words.
    pub text: String,
    /// Evidence of each break; of very many, the first hundred.
    pub broken: Vec<String>,
}

/// All that was done with a task, held against the promises that its own history can show.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskProof {
    /// The task.
    pub task_id: TaskId,
    /// True if no promise is broken.
    pub ok: bool,
    /// What was done, in the order of the commits.
    pub steps: Vec<ProofStep>,
    /// The promises.
    pub promises: Vec<PromiseState>,
}

/// Something that was done with a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProofStep {
    /// Time.
    pub at: Timestamp,
    /// Number of the commit; `null` for what a process saw.
    pub commit: Option<i64>,
    /// `submit`, `claim`, `renew`, `finish`, `release`, `takeBack`, `cancel`, `born`, `dead` and the like.
    pub what: String,
    /// The same in words.
    pub text: String,
}
