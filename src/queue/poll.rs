//! What a worker asks about its tasks and about work, and the answer.

use super::messages::{Assignment, Claim, QueueError, answers};
use crate::store::views::Polled;
use domain::{LeaseKey, Said, TaskId, WorkerInstanceId};

answers! {
    PollQueue => PollReply;
}

/// A worker looks what there is, when it was hinted or from time to time, and claims what it can run.
#[derive(Clone, Debug)]
pub struct PollQueue {
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// The credential of its CLI.
    pub credential: String,
    /// What it believes to run.
    pub leases: Vec<LeaseKey>,
    /// Messages and interrupts that it has passed on already.
    pub heard: Vec<i64>,
    /// What it claims, should there be something. Where there is nothing, and nothing else to tell, the
    /// answer waits for the next submit of this process, and what that brings is claimed in its very
    /// transaction; or for a [`FlushPoll`].
    pub claim: Option<Claim>,
}

/// Asks for the answer to a [`PollQueue`] that waits for work.
#[derive(Clone, Copy, Debug, actix::Message)]
#[rtype(result = "()")]
pub struct FlushPoll;

/// The answer to a [`PollQueue`].
#[derive(Clone, Debug)]
pub struct PollReply {
    /// Not its own any more.
    pub lost: Vec<LeaseKey>,
    /// Leases of the worker that it doesn't know of: the answer to a claim was lost.
    pub forgotten: Vec<LeaseKey>,
    /// True if there was something to claim.
    pub work: bool,
    /// Tasks at a time, where that was changed.
    pub concurrency: Option<u32>,
    /// What was said to its tasks and not heard, in order.
    pub said: Vec<(TaskId, Said)>,
    /// What it has claimed.
    pub claimed: Result<Vec<Assignment>, QueueError>,
}

impl PollReply {
    /// What a worker that believes to hold these leases should know.
    pub(super) fn of(leases: &[LeaseKey], polled: Polled) -> Self {
        let Polled { leases: held, work, concurrency, said } = polled;
        Self {
            lost: leases.iter().copied().filter(|key| !held.contains(key)).collect(),
            forgotten: held.into_iter().filter(|key| !leases.contains(key)).collect(),
            work,
            concurrency,
            said,
            claimed: Ok(Vec::new()),
        }
    }

    /// True if there is nothing to tell.
    pub(super) fn is_quiet(&self) -> bool {
        !self.work && self.lost.is_empty() && self.forgotten.is_empty() && self.said.is_empty()
    }
}
