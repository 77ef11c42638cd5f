//! Files that running tasks change.

use async_trait::async_trait;

use crate::store::error::StoreError;
use domain::TaskId;

/// See the [module](self).
#[async_trait(?Send)]
pub trait Touches {
    /// Notes that a task changes the file at this place. Returns other tasks of its key that run and change it too, at most
    /// [`MAX_CONFLICTS`](crate::store::rows::MAX_CONFLICTS): none where that was noted before, nor contenders of its race.
    async fn touch(&mut self, task: TaskId, place: &str) -> Result<Vec<TaskId>, StoreError>;
}
