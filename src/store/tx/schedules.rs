//! Schedules.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::{ScheduleRow, ScheduleRunRow};
use domain::{ScheduleId, Timestamp};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Schedules {
    /// True if there is such a schedule.
    async fn has_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError>;

    /// True if this firing is the next one of an enabled schedule; `None` asks whether the schedule is there.
    async fn is_next_firing(&mut self, id: ScheduleId, due: Option<Timestamp>) -> Result<bool, StoreError>;

    /// Stores a schedule. The next firing of one that was there stays, unless its timetable was changed.
    async fn put_schedule(&mut self, row: &ScheduleRow) -> Result<(), StoreError>;

    /// Number of schedules of a key.
    async fn count_schedules(&mut self, key: &str) -> Result<i64, StoreError>;

    /// Removes a schedule with what it has done. Returns whether there was one.
    async fn remove_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError>;

    /// Stores what a schedule has done; the oldest beyond some are forgotten.
    async fn insert_schedule_run(&mut self, row: &ScheduleRunRow<'_>) -> Result<(), StoreError>;

    /// Sets the next firing; with `was`, only where that is the next one now. Returns whether it was set.
    async fn set_next_firing(
        &mut self,
        id: ScheduleId,
        was: Option<Timestamp>,
        next: Option<Timestamp>,
    ) -> Result<bool, StoreError>;
}
