//! Labels that tasks require and no worker has: who waits for them, and an alarm after a time.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Service;
use crate::queue::{LaneBacklog, Queue, QueueError, ReadBacklog, ReadClock, ReadWorkers};
use crate::telemetry::chain;

/// Time between two looks.
const LOOK: Duration = Duration::from_secs(5);

/// Returns those of the lanes of a backlog that no living worker takes, those first that wait longest.
///
/// # Errors
/// The queue's.
pub async fn unmatched(queue: &Queue, mut lanes: Vec<LaneBacklog>) -> Result<Vec<LaneBacklog>, QueueError> {
    if lanes.is_empty() {
        return Ok(lanes);
    }
    let (now, workers) = (queue.ask(ReadClock).await?, queue.ask(ReadWorkers).await?);
    lanes.retain(|waiting| !workers.iter().any(|worker| worker.takes(&waiting.lane, now)));
    lanes.sort_by_key(|waiting| waiting.oldest);
    Ok(lanes)
}

/// Says in the log which labels have been missing for this time, once each until a worker has them, for as long as the
/// process lives.
pub async fn alarm_forever(service: Service, after: Duration) {
    let mut told = BTreeSet::new();
    loop {
        tokio::time::sleep(LOOK.min(after)).await;
        if !service.leadership.is_ours() {
            told.clear();
            continue;
        }
        if let Err(error) = alarm(&service.queue, after, &mut told).await {
            tracing::debug!(error = chain(&error), "labels that no worker has are not looked for");
        }
    }
}

async fn alarm(queue: &Queue, after: Duration, told: &mut BTreeSet<String>) -> Result<(), QueueError> {
    let lanes = queue.ask(ReadBacklog).await?.lanes;
    let (unmatched, now) = (unmatched(queue, lanes).await?, queue.ask(ReadClock).await?);
    for waiting in unmatched.iter().filter(|waiting| waiting.oldest.plus(after) <= now) {
        if told.insert(waiting.lane.clone()) {
            let (requires, tasks, seconds) = (&waiting.lane, waiting.tasks, now.since_ms(waiting.oldest) / 1_000);
            tracing::warn!(
                requires,
                tasks,
                seconds,
                "Tasks wait for labels that no worker has; start one with --label"
            );
        }
    }
    let met: Vec<String> =
        told.iter().filter(|lane| unmatched.iter().all(|waiting| waiting.lane != **lane)).cloned().collect();
    for requires in met {
        told.remove(&requires);
        tracing::info!(requires, "Tasks no longer wait for labels that no worker has");
    }
    Ok(())
}
