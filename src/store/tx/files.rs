//! Files that clients have sent, and files that tasks have left.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::FileRow;
use domain::{Artifact, FileId, TaskId, Timestamp};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Files {
    /// Returns the file of this id of a key; where `any` is true and it has none, that of another key.
    async fn file(&mut self, key: &str, id: &FileId, any: bool) -> Result<Option<FileRow>, StoreError>;

    /// Writes a file, in place of the one of the same id and key.
    async fn put_file(&mut self, row: &FileRow) -> Result<(), StoreError>;

    /// Removes a file.
    async fn remove_file(&mut self, key: &str, id: &FileId) -> Result<(), StoreError>;

    /// Returns a task that names a file and has not ended.
    async fn user_of_file(&mut self, key: &str, id: &FileId) -> Result<Option<TaskId>, StoreError>;

    /// Returns files that were used before this time, those that are not complete before the other one; none that a task
    /// names which has not ended.
    async fn idle_files(
        &mut self,
        before: Timestamp,
        incomplete_before: Timestamp,
        limit: i64,
    ) -> Result<Vec<FileRow>, StoreError>;

    /// Notes that a task names a file of this key.
    async fn insert_task_file(&mut self, task: TaskId, key: &str, id: &FileId) -> Result<(), StoreError>;

    /// Writes the files that a task has left, in place of what an attempt before has left. Returns the bytes of those.
    async fn put_artifacts(&mut self, task: TaskId, artifacts: &[Artifact]) -> Result<i64, StoreError>;
}
