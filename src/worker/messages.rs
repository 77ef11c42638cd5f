//! What a worker is told and asked.

use std::time::Duration;

use actix::prelude::*;

use domain::LeaseKey;

/// There may be work, or a task may have been cancelled.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Hint;

/// Asks how it is.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "WorkerStatus")]
pub struct Status;

/// How a worker is.
#[derive(Clone, Copy, Debug, MessageResponse)]
pub struct WorkerStatus {
    /// Tasks that it runs.
    pub running: usize,
    /// Tasks that it may run at a time.
    pub concurrency: u32,
}

/// Claims no more; waits for what runs, at most for `limit`, and gives the rest back.
/// Answered when nothing runs any more.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Drain {
    /// How long what runs may go on.
    pub limit: Duration,
}

/// Gives everything back now. Senders of [`Drain`] are answered when that is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopNow;

/// An attempt is over and reported.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RunEnded(pub LeaseKey);
