//! Files, as they are read.

use domain::{BlobId, FileId, TaskId};

/// Finds a file of a key.
#[derive(Clone, Debug)]
pub struct FindFile {
    /// Name of the key.
    pub key: String,
    /// The file.
    pub id: FileId,
    /// True if that of another key will do where the key has none.
    pub any: bool,
}

/// Lists files, those first that were sent last.
#[derive(Clone, Debug)]
pub struct ListFiles {
    /// Name of the key; with none, of all.
    pub key: Option<String>,
    /// The content before which they were sent.
    pub before: Option<BlobId>,
    /// Maximum number of them.
    pub limit: i64,
}

/// Reads files that a task has left, by their paths.
#[derive(Clone, Debug)]
pub struct ReadArtifacts {
    /// The task.
    pub task: TaskId,
    /// The path behind which they stand.
    pub after: String,
    /// Maximum number of them.
    pub limit: i64,
}
