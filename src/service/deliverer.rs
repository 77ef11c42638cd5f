//! Tells webhooks: takes what is due, sends it, and writes down what became of it. Any number of processes may do
//! so beside each other; what one of them took and never told of is due again after a time.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use serde_json::json;
use tokio::sync::Semaphore;

use super::Service;
use super::outbound::{Outbound, Outgoing};
use crate::process::{BackOff, chance};
use crate::queue::{ClaimDeliveries, Dispatch, Find, Queue, QueueError, ReportDelivery};
use crate::telemetry::{self, Duty};
use domain::RetryPolicy;
use wire::response::TaskView;

/// Deliveries under way at a time.
const TOGETHER: usize = 32;
/// Maximum number of deliveries to one host at a time: one that accepts and never answers keeps no other waiting.
const PER_HOST: u32 = 4;
/// Longer than any attempt takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest time between two looks: a delivery that waits for its time has no hint.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks: commits come by the hundred.
const PAUSE: Duration = Duration::from_millis(25);
/// Number of attempts after which a delivery has failed.
const MOST: i32 = 16;
/// The longest wait between two attempts, in milliseconds.
const MAX_DELAY: Duration = Duration::from_secs(3_600);

/// Delivers for as long as the process lives. The first wait after a failure is `initial_delay`.
pub async fn deliver_forever(service: Service, initial_delay: Duration, disable_after: Duration) {
    let Service { queue, hub, outbound, vitals, leadership, stands_in_after, .. } = service;
    let policy = RetryPolicy { initial_delay, max_delay: MAX_DELAY, multiplier: 3.0 };
    let deliverer = Deliverer { queue, outbound, policy, disable_after, under_way: Arc::default() };
    let mut commits = hub.commits();
    let slots = Arc::new(Semaphore::new(TOGETHER));
    loop {
        // The hub outlives us.
        drop(tokio::time::timeout(LOOK, commits.changed()).await);
        tokio::time::sleep(PAUSE).await;
        let mut back_off = BackOff::default();
        while let Some(overdue) = leadership.delay(stands_in_after) {
            let delivered = deliverer.deliver(&slots, overdue).await;
            vitals.note(Duty::Webhooks, &delivered);
            let Err(error) = delivered else { break };
            tracing::warn!(error = crate::telemetry::chain(&error), "webhooks wait for the store");
            back_off.pause().await;
        }
        if !leadership.is_ours() {
            vitals.well(Duty::Webhooks);
        }
    }
}

#[derive(Clone)]
struct Deliverer {
    queue: Queue,
    outbound: Outbound,
    policy: RetryPolicy,
    /// Time after which a webhook of all tasks that has failed throughout is disabled.
    disable_after: Duration,
    /// Deliveries under way by host.
    under_way: Arc<Mutex<HashMap<String, u32>>>,
}

impl Deliverer {
    /// Delivers everything that is due now, as far as there are slots.
    async fn deliver(&self, slots: &Arc<Semaphore>, overdue: Duration) -> Result<(), QueueError> {
        while slots.available_permits() > 0 {
            let limit = u32::try_from(slots.available_permits()).unwrap_or(1);
            let busy = self.busy_hosts();
            let claim = ClaimDeliveries { limit, per_host: PER_HOST, busy, patience: PATIENCE, overdue };
            let claimed = self.queue.ask(claim).await?;
            if claimed.is_empty() {
                return Ok(());
            }
            for dispatch in claimed {
                let slot = slots.clone().try_acquire_owned();
                let deliverer = self.clone();
                *self.hosts().entry(dispatch.host.clone()).or_default() += 1;
                actix::spawn(async move {
                    let host = dispatch.host.clone();
                    if AssertUnwindSafe(deliverer.attempt(dispatch)).catch_unwind().await.is_err() {
                        tracing::error!(host, "A delivery panicked; it is due again after a while");
                    }
                    deliverer.left(&host);
                    drop(slot);
                });
            }
        }
        Ok(())
    }

    fn hosts(&self) -> MutexGuard<'_, HashMap<String, u32>> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn busy_hosts(&self) -> Vec<String> {
        self.hosts().iter().filter(|(_, count)| **count >= PER_HOST).map(|(host, _)| host.clone()).collect()
    }

    fn left(&self, host: &str) {
        let mut hosts = self.hosts();
        if let Some(count) = hosts.get_mut(host) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                hosts.remove(host);
            }
        }
    }

    async fn attempt(&self, dispatch: Dispatch) {
        let body = match self.body(&dispatch).await {
            Ok(body) => body,
            // Due again after its time.
            Err(error) => {
                return tracing::warn!(error = crate::telemetry::chain(&error), "a delivery waits for the store");
            }
        };
        let (outbound, to_send, sent) = (self.outbound.clone(), dispatch.clone(), body.clone());
        // Not among `process::blocking`: receivers that hang must not take the places of what waits for the disk.
        let answer = tokio::task::spawn_blocking(move || {
            let Dispatch { url, id, secret, .. } = &to_send;
            outbound.send(&Outgoing { url, id, secret: secret.as_deref(), body: &sent })
        });
        let (status, error) = match answer.await {
            Ok(Ok(status @ 200..300)) => (Some(status), None),
            Ok(Ok(status @ 300..400)) => (Some(status), Some(format!("answered {status}; redirects are not followed"))),
            Ok(Ok(status)) => (Some(status), Some(format!("answered {status}"))),
            Ok(Err(error)) => (None, Some(error.to_string())),
            Err(failed) => (None, Some(failed.to_string())),
        };
        let Dispatch { id, attempt, .. } = dispatch;
        telemetry::meters().delivery(if error.is_none() { "delivered" } else { "failed" });
        if let Some(error) = &error {
            tracing::info!(delivery = id, taskId = %dispatch.task, attempt, error, "A webhook did not take its message");
        }
        let delay = self.policy.delay(attempt, chance());
        // Who is gone asks for nothing more (Standard Webhooks).
        let gone = status == Some(410);
        let again = (attempt < MOST && !gone).then_some(delay);
        let disable_after = self.disable_after;
        let attempted = ReportDelivery { id, attempt, body, status, error, again, gone, disable_after };
        if let Err(error) = self.queue.ask(attempted).await {
            tracing::warn!(
                error = crate::telemetry::chain(&error),
                "what became of a delivery is not stored; it is sent again"
            );
        }
    }

    /// Returns the body of a message: the same at each attempt, once the result of the first is stored.
    async fn body(&self, dispatch: &Dispatch) -> Result<String, QueueError> {
        if let Some(body) = &dispatch.body {
            return Ok(body.clone());
        }
        let task = self.queue.ask(Find(dispatch.task)).await?;
        let data = task.as_ref().map(TaskView::of);
        let kind = format!("task.{}", dispatch.event);
        Ok(json!({ "type": kind, "timestamp": dispatch.created_at, "data": data }).to_string())
    }
}
