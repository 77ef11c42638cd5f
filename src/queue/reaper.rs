//! Takes back what dead workers held. Runs beside every queue; any number may run at once.
//!
//! A reconciler: it looks, ends what is left of processes, and then says so to the queue.
//! Where a worker is known to be dead (its process is gone, on this machine) that happens at
//! once; elsewhere when its lease has ended and its shim has had time to end the tree.

use std::time::Duration;

use super::ask::Queue;
use super::change_notifier::ChangeNotifier;
use super::messages::{Expire, FindAdopted, FindHoldings, HolderDied, QueueError, Settle, WorkerGone};
use super::reads::{ReadClock, ReadWorkers};
use super::rest::LONGEST_REST;
use crate::process::{EnvMarks, boot_now, end_all};
use crate::store::Leadership;
use crate::store::views::{HeldTree, Holdings, WorkerInfo};
use domain::WorkerInstanceId;

/// Time between two looks, while anything is held.
const INTERVAL: Duration = Duration::from_secs(1);

/// A worker of another machine that has said nothing for this long, and holds nothing, is gone: many of its heartbeats.
const SILENCE: Duration = Duration::from_secs(60);

/// Longest wait for the first look at the start.
const AT_START: Duration = Duration::from_secs(1);

/// Looks once, before a worker of this process claims: what was interrupted goes on first.
pub async fn reap_at_start(reaper: &Reaper) {
    match tokio::time::timeout(AT_START, reaper.reap()).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not look for tasks of dead workers");
        }
        Err(_) => tracing::debug!("tasks of dead workers are taken back while others start"),
    }
}

/// Looks from time to time, for as long as the process lives.
pub async fn reap_forever(reaper: Reaper) {
    let mut rest = reaper.hub.rest();
    loop {
        rest.look();
        let longest = match reaper.reap().await {
            Ok(true) => INTERVAL,
            Ok(false) => LONGEST_REST,
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "could not look for tasks of dead workers");
                INTERVAL
            }
        };
        rest.pause(INTERVAL, longest).await;
    }
}

/// Ends what is left of a worker's processes that is known to be dead, and of those that it has adopted, then gives its
/// tasks back. Returns their number; `None` where processes are left. One that has left by itself has none to be ended:
/// what it has handed over runs on.
///
/// # Errors
/// The queue's.
pub async fn reclaim(queue: &Queue, holder: WorkerInstanceId) -> Result<Option<usize>, QueueError> {
    // Looked up now that it is dead: it said so before its end, if it has left.
    if !queue.ask(ReadWorkers).await?.iter().any(|worker| worker.holder == holder) {
        return Ok(Some(0));
    }
    let mut marks = vec![EnvMarks::holder(holder)];
    for HeldTree { task, tree_holder, session, .. } in queue.ask(FindAdopted(holder)).await? {
        marks.extend(EnvMarks::of_attempt(task, session, tree_holder));
    }
    if !end_all(marks).await {
        return Ok(None);
    }
    queue.ask(HolderDied(holder)).await.map(Some)
}

/// See the [module](self).
#[derive(Clone)]
pub struct Reaper {
    /// The queue.
    pub queue: Queue,
    /// Told of commits.
    pub hub: ChangeNotifier,
    /// The worker of this process.
    pub me: WorkerInstanceId,
    /// Whether this process takes back what other machines have left.
    pub leadership: Leadership,
}

impl Reaper {
    /// Looks once. Returns true if anything is held that could be taken back without a commit before.
    async fn reap(&self) -> Result<bool, QueueError> {
        let Self { queue, me, leadership, .. } = self;
        let Holdings { workers, holders, expired, any_unsettled } = queue.ask(FindHoldings).await?;
        let is_any_held = !holders.is_empty() || any_unsettled;
        for worker in workers.iter().filter(|worker| worker.holder != *me && self.is_dead(worker)) {
            if !holders.contains(&worker.holder) {
                queue.ask(WorkerGone(worker.holder)).await?;
            } else if let Some(tasks @ 1..) = reclaim(queue, worker.holder).await? {
                tracing::warn!(workerId = worker.name, tasks, "took back the tasks of a worker that died");
            }
        }
        if !leadership.is_ours() {
            return Ok(is_any_held);
        }
        // Left by a process that died between two steps.
        if any_unsettled {
            queue.ask(Settle).await?;
        }
        for HeldTree { task, holder, tree_holder, session, .. } in expired {
            let expire = Expire { task, holder };
            // A task goes back only when it is certain that nothing of it is left on this machine.
            if end_all(EnvMarks::of_attempt(task, session, tree_holder)).await && queue.ask(expire).await? {
                tracing::warn!(taskId = %task, "took back a task whose lease ran out");
            }
        }
        if leadership.is_elected() {
            self.forget_silent(&workers, &holders).await?;
        }
        Ok(is_any_held)
    }

    /// True if the process is known to be gone. Where machines share a database, one of another boot may be at work on
    /// another machine: its lease decides.
    fn is_dead(&self, worker: &WorkerInfo) -> bool {
        let is_of_this_boot = worker.process.boot == boot_now().boot;
        worker.process.is_known_dead() && (is_of_this_boot || !self.leadership.is_elected())
    }

    /// Forgets workers of other machines that hold nothing, and have said nothing for long.
    async fn forget_silent(&self, workers: &[WorkerInfo], holders: &[WorkerInstanceId]) -> Result<(), QueueError> {
        let now = self.queue.ask(ReadClock).await?;
        for worker in workers {
            if worker.beat_at.plus(SILENCE) < now && !holders.contains(&worker.holder) {
                self.queue.ask(WorkerGone(worker.holder)).await?;
                tracing::info!(workerId = worker.name, host = worker.host, "forgot a worker that says nothing more");
            }
        }
        Ok(())
    }
}
