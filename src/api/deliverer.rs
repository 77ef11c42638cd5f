//! Tells webhooks: takes what is due, sends it, and writes down what became of it. Any number of processes may do
//! so beside each other; what one of them took and never told of is due again after a time.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Semaphore;

use super::outbound::{Outbound, Outgoing};
use super::view::TaskView;
use crate::process::chance;
use crate::queue::{AreDue, Attempted, ClaimDeliveries, Dispatch, Find, Hub, Queue, QueueError};
use crate::task::RetryPolicy;

/// Deliveries under way at a time.
const TOGETHER: usize = 32;
/// Longer than any attempt takes.
const PATIENCE: Duration = Duration::from_secs(60);
/// A look at least so often: what waits for its time has no hint.
const LOOK: Duration = Duration::from_secs(1);
/// Between two looks: commits come by the hundred.
const PAUSE: Duration = Duration::from_millis(25);
/// After so many attempts a delivery has failed.
const MOST: i32 = 16;
/// The longest wait between two attempts, in milliseconds.
const MAX_DELAY_MS: i64 = 3_600_000;

/// Delivers for as long as the process lives. The first wait after a failure is `initial_delay`.
pub async fn deliver_forever(queue: Queue, hub: Hub, outbound: Outbound, initial_delay: Duration) {
    let initial_delay_ms = i64::try_from(initial_delay.as_millis()).unwrap_or(i64::MAX);
    let policy = RetryPolicy { initial_delay_ms, max_delay_ms: MAX_DELAY_MS, multiplier: 3.0 };
    let deliverer = Deliverer { queue, outbound, policy };
    let mut commits = hub.commits();
    let slots = Arc::new(Semaphore::new(TOGETHER));
    loop {
        // The hub outlives us.
        drop(tokio::time::timeout(LOOK, commits.changed()).await);
        tokio::time::sleep(PAUSE).await;
        while let Err(error) = deliverer.deliver(&slots).await {
            tracing::warn!(%error, "webhooks wait for the store");
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[derive(Clone)]
struct Deliverer {
    queue: Queue,
    outbound: Outbound,
    policy: RetryPolicy,
}

impl Deliverer {
    /// Everything that is due now, as far as there are slots.
    async fn deliver(&self, slots: &Arc<Semaphore>) -> Result<(), QueueError> {
        while slots.available_permits() > 0 && self.queue.ask(AreDue).await? {
            let limit = u32::try_from(slots.available_permits()).unwrap_or(1);
            for dispatch in self.queue.ask(ClaimDeliveries { limit, patience: PATIENCE }).await? {
                let slot = slots.clone().try_acquire_owned();
                let deliverer = self.clone();
                actix_web::rt::spawn(async move {
                    deliverer.attempt(dispatch).await;
                    drop(slot);
                });
            }
        }
        Ok(())
    }

    async fn attempt(&self, dispatch: Dispatch) {
        let body = match self.body(&dispatch).await {
            Ok(body) => body,
            // Due again after its time.
            Err(error) => return tracing::warn!(%error, "a delivery waits for the store"),
        };
        let (outbound, to_send, sent) = (self.outbound.clone(), dispatch.clone(), body.clone());
        let answer = actix_web::web::block(move || {
            let Dispatch { url, id, secret, .. } = &to_send;
            outbound.send(&Outgoing { url, id, secret: secret.as_deref(), body: &sent })
        });
        let answer = answer.await.unwrap_or_else(|error| Err(error.to_string()));
        let (status, error) = match answer {
            Ok(status @ 200..300) => (Some(status), None),
            Ok(status @ 300..400) => (Some(status), Some(format!("answered {status}; redirects are not followed"))),
            Ok(status) => (Some(status), Some(format!("answered {status}"))),
            Err(error) => (None, Some(error)),
        };
        let Dispatch { id, attempt, .. } = dispatch;
        if let Some(error) = &error {
            tracing::info!(delivery = id, taskId = %dispatch.task, attempt, error, "A webhook did not take its message");
        }
        let delay = self.policy.delay_ms(attempt, chance());
        let again = (attempt < MOST).then(|| Duration::from_millis(delay.unsigned_abs()));
        let attempted = Attempted { id, attempt, body, status, error, again };
        if let Err(error) = self.queue.ask(attempted).await {
            tracing::warn!(%error, "what became of a delivery is not stored; it is sent again");
        }
    }

    /// What is sent: the same at each attempt, once it was told what became of the first.
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
