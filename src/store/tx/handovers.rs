//! Attempts that one worker hands over to the next.

use async_trait::async_trait;

use crate::store::error::StoreError;
use domain::{Lease, LeaseKey, WorkerInstanceId};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Handovers {
    /// Notes that an attempt was handed over whose processes carry this worker's mark. Where it was handed over before,
    /// the mark that is known stays.
    async fn put_handover(&mut self, key: LeaseKey, tree_holder: WorkerInstanceId) -> Result<(), StoreError>;

    /// True if the attempt was handed over and the worker that holds it has left: nobody runs it now.
    async fn is_handed_over(&mut self, key: LeaseKey) -> Result<bool, StoreError>;

    /// Puts a running task under another worker's lease.
    async fn adopt(&mut self, key: LeaseKey, lease: &Lease, worker: &str) -> Result<(), StoreError>;
}
