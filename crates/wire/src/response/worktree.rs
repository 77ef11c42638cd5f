//! Worktrees of tasks.

use domain::{Status, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of worktrees.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Worktrees {
    /// Worktrees of this machine, those of the newest tasks first.
    pub worktrees: Vec<WorktreeView>,
    /// Start of the next page.
    pub next_cursor: Option<TaskId>,
}

/// State of a worktree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum WorktreeState {
    /// A task that has not ended works there.
    InUse,
    /// It has changes that are not committed, and stays for them.
    Uncommitted,
    /// Its task has asked that it stay.
    Kept,
    /// Everything in it is committed; it goes by itself.
    Clean,
    /// It can't be looked at.
    Unknown,
}

/// A worktree of a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorktreeView {
    /// The task.
    pub task_id: TaskId,
    /// Status of the task; `null` where it is not there any more.
    pub status: Option<Status>,
    /// First line of its instruction.
    pub title: Option<String>,
    /// Folder.
    pub path: String,
    /// Repository that it is of.
    pub repository: String,
    /// Branch.
    pub branch: String,
    /// State.
    pub state: WorktreeState,
    /// Files with changes that are not committed, the first 20.
    pub uncommitted: Vec<String>,
    /// Number of all of these.
    pub uncommitted_count: usize,
    /// Commits of its branch that no other branch or tag has.
    pub commits: usize,
    /// Bytes on the disk.
    pub bytes: u64,
    /// Reason for which it can't be looked at.
    pub problem: Option<String>,
}

/// A worktree that was removed.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorktreeRemoved {
    /// The task.
    pub task_id: TaskId,
    /// Branch.
    pub branch: String,
    /// True if the branch is gone as well; otherwise it has commits that are nowhere else.
    pub branch_removed: bool,
    /// Number of files whose changes were not committed, and are gone.
    pub discarded: usize,
}
