//! Webhooks and their deliveries. A delivery is made in the transaction of what it tells: none is lost, and none
//! tells what did not happen.

use std::time::Duration;

use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::hooks::{
    AddWebhook, ClaimDeliveries, EnableWebhook, RemoveWebhook, ReportDelivery, RetryDelivery, Sent,
};
use crate::store::StoreError;
use crate::store::convert::{text_of_tags, webhook_of};
use crate::store::rows::{ClaimDeliveriesRow, DeliveryEnd, WebhookRow};
use crate::store::views::{Dispatch, Webhook};
use domain::{Named as _, TaskId, Timestamp};
use wire::{DeliveryState, HookEvent, WebhookOptions};

/// Adds a webhook: of a task, of the tasks of a key, or of all tasks.
pub async fn add(
    unit: &mut Unit<'_>,
    task: Option<TaskId>,
    key: Option<&str>,
    options: &WebhookOptions,
) -> Result<Webhook, StoreError> {
    let names: Vec<&str> = options.events().iter().map(|event| event.name()).collect();
    let row = WebhookRow {
        id: uuid::Uuid::new_v4().simple().to_string(),
        key_name: key.map(str::to_owned),
        task_id: task,
        url: options.url.clone(),
        secret: options.secret.clone(),
        events: format!(",{},", names.join(",")),
        format: options.format.is_for_people().then(|| options.format.name().to_owned()),
        tags: text_of_tags(&options.tags),
        quiet: options.quiet,
        created_at: unit.now,
        failing_since: None,
        disabled_at: None,
        disabled_reason: None,
    };
    unit.tx.insert_webhook(&row).await?;
    Ok(webhook_of(row))
}

/// Queues a message about an event for each webhook that wants it.
pub async fn tell(unit: &mut Unit<'_>, task: TaskId, event: HookEvent) -> Result<(), StoreError> {
    unit.tx.queue_deliveries(task, event.name(), unit.now).await
}

impl Change for AddWebhook {
    type Answer = Option<Webhook>;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Option<Webhook>, StoreError> {
        let key = self.key.as_deref();
        if let (Some(key), Some(most)) = (key, self.most)
            && unit.tx.count_webhooks(key).await? >= i64::from(most)
        {
            return Ok(None);
        }
        add(unit, None, key, &self.webhook).await.map(Some)
    }
}

impl Change for RemoveWebhook {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        unit.tx.remove_webhook(&self.id, self.key.as_deref()).await
    }
}

impl Change for EnableWebhook {
    type Answer = Option<Webhook>;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Option<Webhook>, StoreError> {
        let is_own = |row: &WebhookRow| self.key.is_none() || row.key_name == self.key;
        let Some(mut row) = unit.tx.webhook(&self.id).await?.filter(is_own) else { return Ok(None) };
        if self.enabled {
            (row.failing_since, row.disabled_at, row.disabled_reason) = (None, None, None);
        } else if row.disabled_at.is_none() {
            row.disabled_at = Some(unit.now);
            row.disabled_reason = Some("somebody asked for it".to_owned());
        }
        unit.tx.update_webhook(&row).await?;
        Ok(Some(webhook_of(row)))
    }
}

impl Change for ClaimDeliveries {
    type Answer = Vec<Dispatch>;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Vec<Dispatch>, StoreError> {
        let until = unit.now.plus(self.patience);
        let due_by = unit.now.minus(self.overdue);
        // A new message is due whatever the clock of the machine that stored it says.
        let made_by = if self.overdue.is_zero() { Timestamp(i64::MAX) } else { due_by };
        let (limit, per_host) = (self.limit, self.per_host);
        let claim = ClaimDeliveriesRow { due_by, made_by, until, limit, per_host, busy: &self.busy };
        unit.tx.claim_deliveries(&claim).await
    }
}

impl Change for ReportDelivery {
    type Answer = ();

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        let again = |again: &Option<Duration>, state| match again {
            Some(again) => (DeliveryState::Pending, unit.now.plus(*again)),
            None => (state, unit.now),
        };
        let (error, (state, next_at)) = match &self.sent {
            Sent::Delivered => (None, (DeliveryState::Delivered, unit.now)),
            Sent::Failed { error, again: after, .. } => (Some(error), again(after, DeliveryState::Failed)),
            Sent::Not { why, again: after } => (Some(why), again(after, DeliveryState::Delivered)),
        };
        let end = DeliveryEnd {
            id: &self.id,
            attempt: self.attempt,
            body: self.body.as_deref(),
            status: self.status,
            error: error.map(String::as_str),
            state,
            next_at,
            ended_at: (state != DeliveryState::Pending).then_some(unit.now),
        };
        unit.tx.end_delivery(&end).await?;
        self.judge_webhook(unit).await
    }
}

impl ReportDelivery {
    /// A registered webhook that is gone, or has failed for days, is told nothing more until it is enabled again.
    async fn judge_webhook(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        if matches!(self.sent, Sent::Not { .. }) {
            return Ok(());
        }
        let Some(mut row) = unit.tx.webhook_of(&self.id).await? else { return Ok(()) };
        let Sent::Failed { error, gone, .. } = &self.sent else {
            if row.failing_since.take().is_some() {
                unit.tx.update_webhook(&row).await?;
            }
            return Ok(());
        };
        let since = *row.failing_since.get_or_insert(unit.now);
        // Nothing where the clock was set back meanwhile.
        let lasts = u128::from(unit.now.since_ms(since).max(0).unsigned_abs());
        let reason = match gone {
            true => Some("the receiver answered 410 Gone".to_owned()),
            false => (lasts >= self.disable_after.as_millis())
                .then(|| format!("each message has failed since {since}, the last: {error}")),
        };
        if let Some(reason) = reason.filter(|_| row.disabled_at.is_none()) {
            tracing::warn!(webhookId = row.id, reason, "A webhook is disabled");
            (row.disabled_at, row.disabled_reason) = (Some(unit.now), Some(reason));
            unit.tx.fail_deliveries(&row.id, "its webhook was disabled", unit.now).await?;
        }
        unit.tx.update_webhook(&row).await
    }
}

impl Change for RetryDelivery {
    type Answer = bool;

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        unit.tx.retry_delivery(self.task, &self.id, unit.now).await
    }
}
