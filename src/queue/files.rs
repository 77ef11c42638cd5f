//! Messages to [`QueueActor`](super::QueueActor) about files that clients send, and those that tasks leave.

use super::messages::answers;
use crate::store::rows::FileRow;
use crate::store::views::{FindFile, ListFiles, ReadArtifacts};
use domain::{Artifact, BlobId, FileId, TaskId, Timestamp};

answers! {
    PutFile => FilePut;
    RemoveFile => FileRemoved;
    RemoveIdleFiles => Vec<BlobId>;
    FindFile => Option<FileRow>;
    ListFiles => Vec<FileRow>;
    ReadTaskFiles => Vec<FileRow>;
    ReadArtifacts => Vec<Artifact>;
    ReadArtifact => Option<Artifact>;
    CountFileBytes => i64;
    FindUnnamedBlobs => Vec<BlobId>;
}

/// Stores a file whose content is there, or one whose content will come; the key has one of each id.
#[derive(Clone, Debug)]
pub struct PutFile {
    /// Name of the key.
    pub key: String,
    /// Digest of its content.
    pub id: FileId,
    /// Its content.
    pub blob: BlobId,
    /// Number of bytes that it has once it is complete.
    pub bytes: i64,
    /// True if all of it is there.
    pub complete: bool,
    /// Maximum number of stored bytes of the key.
    pub max_stored_bytes: Option<u64>,
}

/// The answer to a [`PutFile`].
#[derive(Clone, Debug)]
pub enum FilePut {
    /// Stored, with this content.
    Stored(FileRow),
    /// The key had it before, with a content of its own.
    Known(FileRow),
    /// The key has reached its number of bytes.
    KeyLimit {
        /// Maximum number of bytes.
        most: i64,
    },
}

/// Removes a file of a key.
#[derive(Clone, Debug)]
pub struct RemoveFile {
    /// Name of the key.
    pub key: String,
    /// The file.
    pub id: FileId,
    /// Its content; a file that has another one by now stays.
    pub blob: BlobId,
}

/// The answer to a [`RemoveFile`].
#[derive(Clone, Debug)]
pub enum FileRemoved {
    /// Removed. Nothing names its content any more.
    Done(FileRow),
    /// This task names it, and has not ended.
    InUse(TaskId),
    /// The key has no such file.
    Unknown,
}

/// Removes some files that nobody has used since, and that no task needs which has not ended. Answered with their contents.
#[derive(Clone, Copy, Debug)]
pub struct RemoveIdleFiles {
    /// Time of the last use.
    pub before: Timestamp,
    /// The same of those that are not complete.
    pub incomplete_before: Timestamp,
}

/// Reads the files that a task names, as far as they are there.
#[derive(Clone, Copy, Debug)]
pub struct ReadTaskFiles(pub TaskId);

/// Reads a file that a task has left.
#[derive(Clone, Debug)]
pub struct ReadArtifact {
    /// The task.
    pub task: TaskId,
    /// Its path.
    pub path: String,
}

/// Counts the bytes of all files and artifacts.
#[derive(Clone, Copy, Debug)]
pub struct CountFileBytes;

/// Finds those of these contents that neither a file nor an artifact names.
#[derive(Clone, Debug)]
pub struct FindUnnamedBlobs(pub Vec<BlobId>);
