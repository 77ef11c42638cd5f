//! What is ready, who may have it, and the leases of those that have it.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::{Allowance, ClaimRow, Lenient, ReadyRow, TaskRow};
use domain::{BootInstant, LeaseKey, TaskId, Timestamp, WorkerInstanceId};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Claims {
    /// Makes tasks ready whose time has come. Returns them.
    async fn promote_due(&mut self, now: Timestamp) -> Result<Vec<TaskId>, StoreError>;

    /// Returns what decides how many tasks a worker may claim, and whether there are any that [`promote_due`](Self::promote_due)
    /// would make ready.
    async fn allowance(
        &mut self,
        holder: WorkerInstanceId,
        credential: &str,
        now: Timestamp,
    ) -> Result<Option<Allowance>, StoreError>;

    /// Makes those of these tasks running that are ready, each with one epoch, attempt and event more. Returns them as they
    /// are now, in no order.
    async fn claim(&mut self, claim: &ClaimRow<'_>) -> Result<Vec<Lenient<TaskRow>>, StoreError>;

    /// Moves the end of these leases.
    async fn renew(&mut self, leases: &[LeaseKey], expires: BootInstant) -> Result<(), StoreError>;

    /// Returns the leases of a worker.
    async fn leases_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<LeaseKey>, StoreError>;

    /// Returns the running tasks of a worker, held until the end of the transaction.
    async fn tasks_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<Lenient<TaskRow>>, StoreError>;

    /// Returns the lanes with requirements in which tasks are ready, at most [`MAX_LANES`](crate::store::rows::MAX_LANES).
    async fn lanes(&mut self) -> Result<Vec<String>, StoreError>;

    /// Returns the first ready tasks of each share in each of these lanes, by priority, then age: at most `limit` of each,
    /// in no order of shares and lanes. With their tags where `tags` is true.
    async fn ready(&mut self, limit: u32, tags: bool, lanes: &[String]) -> Result<Vec<ReadyRow>, StoreError>;

    /// Returns the folders in which tasks run, each with whether one of them needs it for itself.
    async fn busy_directories(&mut self) -> Result<Vec<(String, bool)>, StoreError>;

    /// Holds a pending task back until `due`, under this name.
    async fn hold(&mut self, id: TaskId, hold: &str, due: Timestamp) -> Result<(), StoreError>;

    /// Makes tasks ready that are held back under this name: the first of each share, by priority, then age; at most `limit`
    /// of each. Returns them.
    async fn release_holds(&mut self, hold: &str, limit: Option<i64>) -> Result<Vec<TaskId>, StoreError>;

    /// Makes a pending task ready.
    async fn wake(&mut self, id: TaskId) -> Result<(), StoreError>;
}
