//! The poll of a worker: its question about its tasks and about work, and the answer.

use std::time::Duration;

use super::messages::{Assignment, Claim, QueueError, answers};
use crate::process::boot_now;
use crate::store::views::Polled;
use domain::{BootInstant, Labels, LeaseKey, TaskId, TaskInput, Usd, WorkerInstanceId};

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
    /// Leases that it believes to hold.
    pub leases: Vec<LeaseKey>,
    /// Messages and interrupts that it has passed on already.
    pub heard: Vec<i64>,
    /// Budgets that it has passed on already.
    pub budgets: Vec<(TaskId, Usd)>,
    /// Its labels.
    pub labels: Labels,
    /// Tasks that it claims, should there be any. Where there is nothing, and nothing else to tell, the answer waits
    /// for the next submit of this process, and what that brings is claimed in its very transaction; or for a
    /// [`FlushPoll`].
    pub claim: Option<Claim>,
}

/// Asks for the answer to a [`PollQueue`] that waits for work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, actix::Message)]
#[rtype(result = "()")]
pub enum FlushPoll {
    /// In any case: something was committed, or has to be asked anew.
    Now,
    /// Where it may not be true any more, though nothing was committed.
    IfOld,
}

/// The answer to a [`PollQueue`].
#[derive(Clone, Debug)]
pub struct PollReply {
    /// Leases that it has lost.
    pub lost: Vec<LeaseKey>,
    /// Leases of the worker that it doesn't know of: the answer to a claim was lost.
    pub forgotten: Vec<LeaseKey>,
    /// True if there was something to claim.
    pub work: bool,
    /// Tasks at a time, where that was changed.
    pub concurrency: Option<u32>,
    /// Input for its tasks that they have not received, in order.
    pub said: Vec<(TaskId, TaskInput)>,
    /// Budgets of its tasks that have changed.
    pub budgets: Vec<(TaskId, Usd)>,
    /// True if it is to finish what it runs, and to end.
    pub drain: bool,
    /// Time for which this stays true where nothing is committed; `None` where that is not known.
    pub stays: Option<Duration>,
    /// Time before all that was claimed: the worker counts its leases from here.
    pub claimed_after: BootInstant,
    /// True if it has waited for too long to be true.
    pub is_old: bool,
    /// Tasks that it has claimed.
    pub claimed: Result<Vec<Assignment>, QueueError>,
}

impl PollReply {
    /// Returns the state of a worker's tasks, by the leases that it believes to hold and the budgets that it knows.
    pub(super) fn of(leases: &[LeaseKey], known: &[(TaskId, Usd)], polled: Polled) -> Self {
        let Polled { leases: held, work, concurrency, said, budgets, drain, stays } = polled;
        Self {
            lost: leases.iter().copied().filter(|key| !held.contains(key)).collect(),
            forgotten: held.into_iter().filter(|key| !leases.contains(key)).collect(),
            work,
            concurrency,
            said,
            budgets: budgets.into_iter().filter(|budget| !known.contains(budget)).collect(),
            drain,
            stays,
            claimed_after: boot_now(),
            is_old: false,
            claimed: Ok(Vec::new()),
        }
    }

    /// True if there is nothing to tell.
    pub(super) fn is_quiet(&self) -> bool {
        let is_told = self.said.is_empty() && self.budgets.is_empty();
        !self.work && !self.drain && self.lost.is_empty() && self.forgotten.is_empty() && is_told
    }
}
