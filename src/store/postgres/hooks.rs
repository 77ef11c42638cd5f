//! Statements on webhooks and their deliveries.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{Connection, readable};
use super::tx::{PostgresTx, only};
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::convert::{format_of, webhook_of};
use crate::store::rows::{ClaimDeliveriesRow, DeliveryEnd, WebhookRow};
use crate::store::tx::Hooks;
use crate::store::views::{Delivery, Dispatch, Webhook};
use domain::{Named as _, TaskId, Timestamp};

/// The columns of [`webhook`].
const COLUMNS: &str = "w.id, w.task_id, w.url, w.secret, w.events, w.created_at, w.failing_since, w.disabled_at, w.disabled_reason, w.key_name,
    w.format, w.tags, COALESCE(w.quiet, FALSE)";

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM webhooks w WHERE id = $1 AND task_id IS NULL"));

static OF_DELIVERY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM webhooks w JOIN deliveries d ON d.webhook_id = w.id WHERE d.id = $1 AND w.task_id IS NULL"
    )
});

static REGISTERED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM webhooks w WHERE task_id IS NULL AND ($1::text IS NULL OR key_name = $1) ORDER BY created_at, id LIMIT 10000"
    )
});

const UPDATE: &str = "UPDATE webhooks SET failing_since = $2, disabled_at = $3, disabled_reason = $4 WHERE id = $1";

/// Names in `events` stand between commas. A new message is due at once, whatever the clock of the machine that
/// writes it says. An address that is longer than any that is accepted is none: each message would be as long.
const TELL: &str =
    "INSERT INTO deliveries (id, task_id, url, secret, event, created_at, state, attempts, next_at, webhook_id, format, quiet, host)
    SELECT replace(gen_random_uuid()::text, '-', ''), task, url, secret, event, at, 'pending', 0, 0, webhook.id, format, quiet,
        lower(split_part(split_part(url, '://', 2), '/', 1))
    FROM unnest($1::uuid[], $2::text[], $3::int8[]) AS told(task, event, at)
    CROSS JOIN LATERAL (SELECT id, url, secret, events, disabled_at, format, quiet, tags FROM webhooks WHERE task_id = task
        UNION ALL SELECT id, url, secret, events, disabled_at, format, quiet, tags FROM webhooks WHERE task_id IS NULL
            AND (key_name IS NULL OR key_name = (SELECT key_name FROM tasks WHERE id = task))) webhook
    WHERE octet_length(url) <= 2048 AND disabled_at IS NULL AND strpos(events, ',' || event || ',') > 0
        AND (tags IS NULL OR EXISTS (SELECT 1 FROM task_tags t
            WHERE t.task_id = task AND strpos(tags, chr(31) || t.tag || chr(31)) > 0))";

/// Claims deliveries of each host, of the first that are due and whose host has not enough to do.
const CLAIM: &str = "UPDATE deliveries SET attempts = attempts + 1, next_at = $2 WHERE id IN
        (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY host ORDER BY created_at) AS place FROM
            (SELECT id, host, created_at FROM deliveries WHERE state = 'pending' AND next_at <= $1
                AND created_at <= $6 AND host <> ALL($4) ORDER BY next_at LIMIT 1000) due) placed
        WHERE place <= $5 LIMIT $3)
    RETURNING id, task_id, url, host, secret, event, created_at, attempts, body, format, COALESCE(quiet, FALSE),
        COALESCE((SELECT w.task_id IS NULL AND w.key_name IS NULL FROM webhooks w WHERE w.id = webhook_id), FALSE)";

const NEXT: &str = "SELECT next_at FROM deliveries WHERE state = 'pending' ORDER BY next_at LIMIT 1";

const GIVE_UP: &str = "UPDATE deliveries SET state = 'failed', ended_at = $2, last_error = $3
    WHERE webhook_id = $1 AND state = 'pending'";

const ATTEMPTED: &str =
    "UPDATE deliveries SET body = $3, last_status = $4, last_error = $5, state = $6, next_at = $7, ended_at = $8
    WHERE id = $1 AND attempts = $2 AND state = 'pending'";

const AGAIN: &str =
    "UPDATE deliveries SET state = 'pending', next_at = $3, ended_at = NULL WHERE id = $1 AND task_id = $2 RETURNING 1";

const OF_TASK: &str = "SELECT id, event, url, state, attempts, next_at, last_status, last_error, created_at, ended_at
    FROM deliveries WHERE task_id = $1 ORDER BY created_at, id";

fn webhook(row: &Row) -> Result<WebhookRow, Unread> {
    Ok(WebhookRow {
        id: get(row, 0)?,
        task_id: get(row, 1)?,
        url: get(row, 2)?,
        secret: get(row, 3)?,
        events: get(row, 4)?,
        created_at: get(row, 5)?,
        failing_since: get(row, 6)?,
        disabled_at: get(row, 7)?,
        disabled_reason: get(row, 8)?,
        key_name: get(row, 9)?,
        format: get(row, 10)?,
        tags: get(row, 11)?,
        quiet: get(row, 12)?,
    })
}

fn dispatch(row: &Row) -> Result<Dispatch, Unread> {
    Ok(Dispatch {
        id: get(row, 0)?,
        task: get(row, 1)?,
        url: get(row, 2)?,
        host: get(row, 3)?,
        secret: get(row, 4)?,
        event: get(row, 5)?,
        created_at: get(row, 6)?,
        attempt: get(row, 7)?,
        body: get(row, 8)?,
        format: format_of(get::<Option<String>>(row, 9)?.as_deref()),
        quiet: get(row, 10)?,
        of_all: get(row, 11)?,
    })
}

fn delivery(row: &Row) -> Result<Delivery, Unread> {
    Ok(Delivery {
        id: get(row, 0)?,
        event: get(row, 1)?,
        url: get(row, 2)?,
        state: get(row, 3)?,
        attempts: get(row, 4)?,
        next_at: get(row, 5)?,
        last_status: get(row, 6)?,
        last_error: get(row, 7)?,
        created_at: get(row, 8)?,
        ended_at: get(row, 9)?,
    })
}

/// The registered webhooks, of all keys or of one.
pub async fn registered(db: &Connection, key: Option<&str>) -> Result<Vec<Webhook>, StoreError> {
    let rows = db.readable(&REGISTERED, &params![key], "webhook", webhook).await?;
    Ok(rows.into_iter().map(webhook_of).collect())
}

/// Reads when the next delivery is due.
pub async fn next_delivery(db: &Connection) -> Result<Option<Timestamp>, StoreError> {
    db.one(NEXT, &[], only).await
}

/// The deliveries of a task, oldest first.
pub async fn deliveries(db: &Connection, task: TaskId) -> Result<Vec<Delivery>, StoreError> {
    db.readable(OF_TASK, &params![task], "delivery", delivery).await
}

#[async_trait(?Send)]
impl Hooks for PostgresTx<'_> {
    async fn insert_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError> {
        let WebhookRow { id, task_id, url, secret, events, created_at, key_name, format, tags, quiet, .. } = row;
        let values = params![id, *task_id, url, secret, events, *created_at, key_name, format, tags, *quiet];
        self.insert_values(
            "webhooks",
            "id, task_id, url, secret, events, created_at, key_name, format, tags, quiet",
            values.into(),
        );
        Ok(())
    }

    async fn remove_webhook(&mut self, id: &str, key: Option<&str>) -> Result<bool, StoreError> {
        let text = "DELETE FROM webhooks WHERE id = $1 AND task_id IS NULL AND ($2::text IS NULL OR key_name = $2) RETURNING 1";
        self.any(text, params![id, key]).await
    }

    async fn count_webhooks(&mut self, key: &str) -> Result<i64, StoreError> {
        let text = "SELECT COUNT(*) FROM webhooks WHERE task_id IS NULL AND key_name = $1";
        Ok(self.one(text, params![key], only).await?.unwrap_or(0))
    }

    async fn webhook(&mut self, id: &str) -> Result<Option<WebhookRow>, StoreError> {
        self.one(&FIND, params![id], webhook).await
    }

    async fn webhook_of(&mut self, delivery: &str) -> Result<Option<WebhookRow>, StoreError> {
        self.one(&OF_DELIVERY, params![delivery], webhook).await
    }

    async fn update_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError> {
        self.fence();
        self.defer(UPDATE, params![&row.id, row.failing_since, row.disabled_at, &row.disabled_reason]);
        Ok(())
    }

    async fn queue_deliveries(&mut self, task: TaskId, event: &str, now: Timestamp) -> Result<(), StoreError> {
        self.defer_row(task, TELL, params![task, event, now]);
        Ok(())
    }

    async fn claim_deliveries(&mut self, claim: &ClaimDeliveriesRow<'_>) -> Result<Vec<Dispatch>, StoreError> {
        let ClaimDeliveriesRow { due_by, made_by, until, limit, per_host, busy } = *claim;
        let busy = Value::texts(busy.iter().cloned());
        let values = [due_by.into(), until.into(), limit.into(), busy, per_host.into(), made_by.into()];
        // One that can't be read is due again after its time, and keeps no other waiting.
        Ok(readable(&self.rows(CLAIM, values).await?, "delivery", dispatch))
    }

    async fn end_delivery(&mut self, end: &DeliveryEnd<'_>) -> Result<(), StoreError> {
        let DeliveryEnd { id, attempt, body, status, error, state, next_at, ended_at } = *end;
        self.defer(ATTEMPTED, params![id, attempt, body, status, error, state.name(), next_at, ended_at]);
        Ok(())
    }

    async fn fail_deliveries(&mut self, webhook: &str, error: &str, now: Timestamp) -> Result<(), StoreError> {
        self.fence();
        self.defer(GIVE_UP, params![webhook, now, error]);
        Ok(())
    }

    async fn retry_delivery(&mut self, task: TaskId, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        self.any(AGAIN, params![id, task, now]).await
    }
}
