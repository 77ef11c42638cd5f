//! Tasks that were made from inside a running task.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::FamilyRow;
use domain::TaskId;

/// See the [module](self).
#[async_trait(?Send)]
pub trait Children {
    /// Inserts a task as the child of another; `depth` is the number of tasks above it.
    async fn insert_child(&mut self, task: TaskId, parent: TaskId, depth: i64) -> Result<(), StoreError>;

    /// Returns what is known of the tasks above a task and below it.
    async fn family(&mut self, task: TaskId) -> Result<FamilyRow, StoreError>;

    /// Returns the children of a task that have not ended.
    async fn live_children(&mut self, task: TaskId) -> Result<Vec<TaskId>, StoreError>;

    /// Sets what the running attempt of a task has reserved to what its children have left of its budget.
    async fn settle_reserve(&mut self, task: TaskId) -> Result<(), StoreError>;
}
