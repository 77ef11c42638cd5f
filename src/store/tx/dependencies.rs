//! Tasks that others depend on.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::DependencyRow;
use domain::{Name, Status, TaskId, Timestamp};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Dependencies {
    /// Returns the status of each of these tasks that is there, and the name of its key.
    async fn statuses(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, String, Name<Status>)>, StoreError>;

    /// Inserts a dependency.
    async fn insert_dependency(&mut self, row: &DependencyRow) -> Result<(), StoreError>;

    /// Notes that a new task waits for `open` of its dependencies, and then for a time.
    async fn insert_wait(&mut self, task: TaskId, open: i64, run_at: Option<Timestamp>) -> Result<(), StoreError>;

    /// Changes the time of a task that waits for its dependencies. Returns false where it waits for none.
    async fn put_wait(&mut self, task: TaskId, run_at: Option<Timestamp>) -> Result<bool, StoreError>;

    /// Forgets that a task waits for its dependencies.
    async fn end_wait(&mut self, task: TaskId) -> Result<(), StoreError>;

    /// Returns the newest retry of a task.
    async fn newest_retry(&mut self, task: TaskId) -> Result<Option<TaskId>, StoreError>;

    /// Makes a retry stand for its task where dependents wait for one: their dependency is open again. Returns these
    /// dependents.
    async fn repoint(&mut self, task: TaskId, retry: TaskId) -> Result<Vec<TaskId>, StoreError>;

    /// Notes that a task has ended whose dependents have to be told, where it has any.
    async fn add_unsettled(&mut self, task: TaskId) -> Result<(), StoreError>;

    /// Returns a task that has ended and whose dependents have not all been told, with its status.
    async fn next_unsettled(&mut self) -> Result<Option<(TaskId, Name<Status>)>, StoreError>;

    /// Forgets that dependents of a task have to be told.
    async fn remove_unsettled(&mut self, task: TaskId) -> Result<(), StoreError>;

    /// Returns open dependencies on a task, at most `limit`.
    async fn open_dependencies_on(&mut self, task: TaskId, limit: i64) -> Result<Vec<DependencyRow>, StoreError>;

    /// Returns the dependencies of a task, in order.
    async fn dependencies_of(&mut self, task: TaskId) -> Result<Vec<DependencyRow>, StoreError>;

    /// Writes the states of these dependencies.
    async fn put_dependency_states(&mut self, rows: &[DependencyRow]) -> Result<(), StoreError>;

    /// Notes for each of these tasks that one more dependency is met: a task may be named several times. Returns those
    /// that wait for none any more.
    async fn count_met(&mut self, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError>;

    /// Lets these pending tasks start, each not before its time, and forgets that they wait. Returns them with their times.
    async fn end_waits(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Option<Timestamp>)>, StoreError>;
}
