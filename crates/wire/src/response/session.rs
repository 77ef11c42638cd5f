//! Conversations.

use domain::{SessionId, Status, TaskId, Timestamp, Usd};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A conversation: the tasks of a Claude session.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session.
    pub session_id: SessionId,
    /// Name of the client's key.
    pub key: String,
    /// Folder in which its newest task works.
    pub working_directory: Option<String>,
    /// Number of its tasks.
    pub task_count: i64,
    /// Its tasks, oldest first; of many the first and the newest.
    pub tasks: Vec<SessionTask>,
    /// Turns of all tasks.
    pub num_turns: i64,
    /// US dollars of all tasks.
    pub cost_usd: Option<Usd>,
}

/// A task of a conversation.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionTask {
    /// The task.
    pub task_id: TaskId,
    /// First line of the instruction, at most 120 characters.
    pub title: String,
    /// Status of the task.
    pub status: Status,
    /// Time at which it was stored.
    pub created_at: Timestamp,
}

/// A page of conversations.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SessionPage {
    /// Conversations, by their newest task, newest first.
    pub sessions: Vec<SessionView>,
    /// Start of the next page.
    pub next_cursor: Option<TaskId>,
}
