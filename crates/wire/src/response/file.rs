//! Files that clients send, and files that tasks leave.

use domain::{FileId, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A file that was sent.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileView {
    /// SHA-256 of its content: what a task names it by.
    pub file_id: FileId,
    /// Name of the key that has sent it.
    pub key: String,
    /// Number of bytes that it has once it is complete.
    pub bytes: i64,
    /// Number of bytes that are there.
    pub received: i64,
    /// True if all of it is there.
    pub complete: bool,
    /// Time at which it was first sent.
    pub created_at: Timestamp,
    /// Time at which it was last sent, or named by a task.
    pub used_at: Timestamp,
}

/// A page of files.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Files {
    /// Files, those first that were sent last.
    pub files: Vec<FileView>,
    /// Start of the next page.
    pub next_cursor: Option<String>,
}

/// A file that is gone.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileRemoved {
    /// The file.
    pub file_id: FileId,
    /// Number of bytes that it had.
    pub bytes: i64,
}

/// A file that a task has left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ArtifactView {
    /// Path below the folder of the task.
    pub path: String,
    /// Number of bytes.
    pub bytes: i64,
    /// SHA-256 of its content.
    pub sha256: FileId,
    /// Path of its content on this server.
    pub url: String,
}

/// A page of the files that a task has left.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Artifacts {
    /// The task.
    pub task_id: TaskId,
    /// The files, by their paths.
    pub artifacts: Vec<ArtifactView>,
    /// Start of the next page.
    pub next_cursor: Option<String>,
}
