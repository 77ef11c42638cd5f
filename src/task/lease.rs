//! The right to work on a task, for a time.

use serde::{Deserialize, Serialize};

use super::{BootInstant, TaskId};

/// One life of one worker: made anew at each start, so that a worker that came back is never
/// taken for the one that died.
pub type HolderId = uuid::Uuid;

/// The right of one holder to run one attempt until `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who holds it.
    pub holder: HolderId,
    /// When it ends, unless renewed.
    pub expires: BootInstant,
}

/// What a worker shows with every write about a running task. A write whose epoch is not the
/// task's newest changes nothing (fencing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseKey {
    /// The task.
    pub task: TaskId,
    /// The epoch under which it was claimed.
    pub epoch: i64,
}
