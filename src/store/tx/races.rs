//! Races: tasks that do the same, of which one wins.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::views::Race;
use domain::TaskId;

/// See the [module](self).
#[async_trait(?Send)]
pub trait Races {
    /// Inserts a task into a race, which has the name of its first task; the judge at place 0.
    async fn insert_race_entry(&mut self, race: TaskId, task: TaskId, place: i64) -> Result<(), StoreError>;

    /// Returns the race that a task is in.
    async fn race(&mut self, task: TaskId) -> Result<Option<Race>, StoreError>;

    /// Writes down who has won; `None`: nobody. A race that was decided stays so.
    async fn decide_race(&mut self, race: TaskId, winner: Option<TaskId>) -> Result<(), StoreError>;
}
