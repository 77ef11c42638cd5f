//! Messages to a worker.

use std::time::Duration;

use actix::prelude::*;

use domain::{BootInstant, LeaseKey};

/// Hint that there may be work, or that a task may have been cancelled.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Hint;

/// Asks how it is.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "WorkerStatus")]
pub struct ReadStatus;

/// Status of a worker.
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
    /// Longest time for running tasks.
    pub limit: Duration,
    /// True if running attempts go on without the worker, for another one.
    pub hand_over: bool,
}

/// Gives everything back now. Senders of [`Drain`] are answered when that is done.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct StopNow;

/// An attempt is over and reported.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RunEnded(pub LeaseKey);

/// The process of an attempt is held for another worker.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct RunHeld(pub LeaseKey);

/// The worker says goodbye to the store: from here on it beats and renews no more. Answered with the attempts that are held
/// for another worker.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<LeaseKey>")]
pub struct SayGoodbye;

/// The store knows that attempts are handed over. Answered when they are left.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct LeaveHeld {
    /// Those that were lost before.
    pub lost: Vec<LeaseKey>,
    /// Time that another worker has.
    pub until: BootInstant,
}
