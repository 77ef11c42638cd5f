//! What a search in conversations finds.

use domain::{EventKind, Status, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// An event that has what was looked for.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchHit {
    /// Its task.
    pub task_id: TaskId,
    /// First line of the task's instruction, at most 120 characters.
    pub title: String,
    /// Status of the task.
    pub status: Status,
    /// Number of the event in its task.
    pub seq: i64,
    /// Time at which it was stored.
    pub at: Timestamp,
    /// Kind of the event.
    pub kind: EventKind,
    /// The part of its text around what was looked for, on one line.
    pub excerpt: String,
}

/// A page of events that were found.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SearchPage {
    /// The words that were looked for: each begins a word of every event below.
    pub terms: Vec<String>,
    /// Events, newest first.
    pub hits: Vec<SearchHit>,
    /// Start of the next page.
    pub next_cursor: Option<i64>,
}
