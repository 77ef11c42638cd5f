//! Takes back what dead workers held. Runs beside every queue; any number may run at once.
//!
//! A reconciler: it looks, ends what is left of processes, and then says so to the queue.
//! Where a worker is known to be dead (its process is gone, on this machine) that happens at
//! once; elsewhere when its lease has ended and its shim has had time to end the tree.

use std::time::Duration;

use super::ask::Queue;
use super::messages::{Expire, FindExpired, FindHolders, HolderDied, QueueError, WorkerGone};
use super::reads::ReadWorkers;
use crate::process::{EnvMarks, end_all};
use domain::WorkerInstanceId;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Longest wait for the first look at the start.
const AT_START: Duration = Duration::from_secs(1);

/// Looks once, before a worker of this process claims: what was interrupted goes on first.
pub async fn reap_at_start(queue: &Queue, me: WorkerInstanceId) {
    match tokio::time::timeout(AT_START, reap(queue, me)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not look for tasks of dead workers");
        }
        Err(_) => tracing::debug!("tasks of dead workers are taken back while others start"),
    }
}

/// Looks from time to time, for as long as the process lives.
pub async fn reap_forever(queue: Queue, me: WorkerInstanceId) {
    let mut look = tokio::time::interval(INTERVAL);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        look.tick().await;
        if let Err(error) = reap(&queue, me).await {
            tracing::warn!(error = crate::telemetry::chain(&error), "could not look for tasks of dead workers");
        }
    }
}

async fn reap(queue: &Queue, me: WorkerInstanceId) -> Result<(), QueueError> {
    let workers = queue.ask(ReadWorkers).await?;
    let dead = workers.iter().filter(|worker| worker.holder != me && worker.process.is_known_dead());
    let holders = queue.ask(FindHolders).await?;
    for worker in dead {
        if !holders.contains(&worker.holder) {
            queue.ask(WorkerGone(worker.holder)).await?;
        } else if end_all(vec![EnvMarks::holder(worker.holder)]).await {
            let tasks = queue.ask(HolderDied(worker.holder)).await?;
            tracing::warn!(workerId = worker.name, tasks, "took back the tasks of a worker that died");
        }
    }
    for (task, holder, session) in queue.ask(FindExpired).await? {
        let expire = Expire { task, holder };
        // A task goes back only when it is certain that nothing of it is left on this machine.
        if end_all(EnvMarks::of_attempt(task, session, holder)).await && queue.ask(expire).await? {
            tracing::warn!(taskId = %task, "took back a task whose lease ran out");
        }
    }
    Ok(())
}
