//! Statements on webhooks and their deliveries.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::{Row, params};
use uuid::Uuid;

use super::query::{Db, name, time};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::convert::{format_of, webhook_of};
use crate::store::rows::{ClaimDeliveriesRow, DeliveryEnd, WebhookRow};
use crate::store::tx::Hooks;
use crate::store::views::{Delivery, Dispatch, Webhook};
use domain::{Named as _, TaskId, Timestamp};

const ADD: &str = "INSERT INTO webhooks (id, task_id, url, secret, events, created_at, key_name, format, tags, quiet)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";

/// The columns of [`webhook`].
const COLUMNS: &str = "w.id, w.task_id, w.url, w.secret, w.events, w.created_at, w.failing_since, w.disabled_at, w.disabled_reason, w.key_name,
    w.format, w.tags, COALESCE(w.quiet, FALSE)";

static FIND: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM webhooks w WHERE id = ?1 AND task_id IS NULL"));

static OF_DELIVERY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM webhooks w JOIN deliveries d ON d.webhook_id = w.id WHERE d.id = ?1 AND w.task_id IS NULL"
    )
});

static REGISTERED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS} FROM webhooks w WHERE task_id IS NULL AND (?1 IS NULL OR key_name = ?1) ORDER BY created_at, id LIMIT 10000"
    )
});

const UPDATE: &str = "UPDATE webhooks SET failing_since = ?2, disabled_at = ?3, disabled_reason = ?4 WHERE id = ?1";

/// Names in `events` stand between commas. A new message is due at once, whatever the clock of the machine that
/// writes it says. An address that is longer than any that is accepted is none: each message would be as long.
const TELL: &str =
    "INSERT INTO deliveries (id, task_id, url, secret, event, created_at, state, attempts, next_at, webhook_id, format, quiet, host)
    SELECT lower(hex(randomblob(16))), ?1, url, secret, ?2, ?3, 'pending', 0, 0, id, format, quiet,
        lower(substr(url, instr(url, '://') + 3, instr(substr(url, instr(url, '://') + 3) || '/', '/') - 1)) FROM webhooks
    WHERE (task_id = ?1 OR task_id IS NULL AND (key_name IS NULL OR key_name = (SELECT key_name FROM tasks WHERE id = ?1)))
        AND octet_length(url) <= 2048 AND disabled_at IS NULL AND instr(events, ',' || ?2 || ',')
        AND (tags IS NULL OR EXISTS (SELECT 1 FROM task_tags t
            WHERE t.task_id = ?1 AND instr(tags, char(31) || t.tag || char(31))))";

/// Claims deliveries of each host, of the first that are due and whose host has not enough to do.
const CLAIM: &str = "UPDATE deliveries SET attempts = attempts + 1, next_at = ?2 WHERE id IN
        (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY host ORDER BY created_at) AS place FROM
            (SELECT id, host, created_at FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND next_at <= ?1
                AND created_at <= ?6 AND host NOT IN (SELECT value FROM json_each(?4)) ORDER BY next_at LIMIT 1000))
        WHERE place <= ?5 LIMIT ?3)
    RETURNING id, task_id, url, host, secret, event, created_at, attempts, body, format, COALESCE(quiet, FALSE),
        COALESCE((SELECT w.task_id IS NULL AND w.key_name IS NULL FROM webhooks w WHERE w.id = webhook_id), FALSE)";

const NEXT: &str =
    "SELECT next_at FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' ORDER BY next_at LIMIT 1";

const GIVE_UP: &str = "UPDATE deliveries SET state = 'failed', ended_at = ?2, last_error = ?3
    WHERE webhook_id = ?1 AND state = 'pending'";

const ATTEMPTED: &str =
    "UPDATE deliveries SET body = ?3, last_status = ?4, last_error = ?5, state = ?6, next_at = ?7, ended_at = ?8
    WHERE id = ?1 AND attempts = ?2 AND state = 'pending'";

const AGAIN: &str =
    "UPDATE deliveries SET state = 'pending', next_at = ?3, ended_at = NULL WHERE id = ?1 AND task_id = ?2";

const OF_TASK: &str = "SELECT id, event, url, state, attempts, next_at, last_status, last_error, created_at, ended_at
    FROM deliveries WHERE task_id = ?1 ORDER BY created_at, id";

fn webhook(row: &Row<'_>) -> rusqlite::Result<WebhookRow> {
    Ok(WebhookRow {
        id: row.get(0)?,
        task_id: row.get::<_, Option<Uuid>>(1)?.map(TaskId::of),
        url: row.get(2)?,
        secret: row.get(3)?,
        events: row.get(4)?,
        created_at: time::at(row, 5)?,
        failing_since: time::maybe(row, 6)?,
        disabled_at: time::maybe(row, 7)?,
        disabled_reason: row.get(8)?,
        key_name: row.get(9)?,
        format: row.get(10)?,
        tags: row.get(11)?,
        quiet: row.get(12)?,
    })
}

fn dispatch(row: &Row<'_>) -> rusqlite::Result<Dispatch> {
    Ok(Dispatch {
        id: row.get(0)?,
        task: row.get(1).map(TaskId::of)?,
        url: row.get(2)?,
        host: row.get(3)?,
        secret: row.get(4)?,
        event: name(row, 5)?,
        created_at: time::at(row, 6)?,
        attempt: row.get(7)?,
        body: row.get(8)?,
        format: format_of(row.get::<_, Option<String>>(9)?.as_deref()),
        quiet: row.get(10)?,
        of_all: row.get(11)?,
    })
}

fn delivery(row: &Row<'_>) -> rusqlite::Result<Delivery> {
    Ok(Delivery {
        id: row.get(0)?,
        event: name(row, 1)?,
        url: row.get(2)?,
        state: name(row, 3)?,
        attempts: row.get(4)?,
        next_at: time::at(row, 5)?,
        last_status: row.get(6)?,
        last_error: row.get(7)?,
        created_at: time::at(row, 8)?,
        ended_at: time::maybe(row, 9)?,
    })
}

/// The registered webhooks, of all keys or of one.
pub fn registered(db: Db<'_>, key: Option<&str>) -> Result<Vec<Webhook>, StoreError> {
    Ok(db.readable(&REGISTERED, [key], "webhook", webhook)?.into_iter().map(webhook_of).collect())
}

/// Reads when the next delivery is due.
pub fn next_delivery(db: Db<'_>) -> Result<Option<Timestamp>, StoreError> {
    db.one(NEXT, [], |row| time::at(row, 0))
}

/// The deliveries of a task, oldest first.
pub fn deliveries(db: Db<'_>, task: TaskId) -> Result<Vec<Delivery>, StoreError> {
    db.readable(OF_TASK, [task.as_bytes()], "delivery", delivery)
}

#[async_trait(?Send)]
impl Hooks for SqliteTx<'_> {
    async fn insert_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError> {
        let WebhookRow { id, task_id, url, secret, events, created_at, key_name, format, tags, quiet, .. } = row;
        let values =
            params![id, task_id.map(TaskId::uuid), url, secret, events, created_at.0, key_name, format, tags, quiet];
        self.db()?.execute(ADD, values)?;
        self.expect_webhooks();
        Ok(())
    }

    async fn remove_webhook(&mut self, id: &str, key: Option<&str>) -> Result<bool, StoreError> {
        let text = "DELETE FROM webhooks WHERE id = ?1 AND task_id IS NULL AND (?2 IS NULL OR key_name = ?2)";
        Ok(self.db()?.execute(text, params![id, key])? > 0)
    }

    async fn count_webhooks(&mut self, key: &str) -> Result<i64, StoreError> {
        let text = "SELECT COUNT(*) FROM webhooks WHERE task_id IS NULL AND key_name = ?1";
        Ok(self.db()?.one(text, [key], |row| row.get(0))?.unwrap_or(0))
    }

    async fn webhook(&mut self, id: &str) -> Result<Option<WebhookRow>, StoreError> {
        self.db()?.one(&FIND, [id], webhook)
    }

    async fn webhook_of(&mut self, delivery: &str) -> Result<Option<WebhookRow>, StoreError> {
        self.db()?.one(&OF_DELIVERY, [delivery], webhook)
    }

    async fn update_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError> {
        let (failing, disabled) = (row.failing_since.map(|at| at.0), row.disabled_at.map(|at| at.0));
        self.db()?.execute(UPDATE, params![row.id, failing, disabled, row.disabled_reason])?;
        Ok(())
    }

    async fn queue_deliveries(&mut self, task: TaskId, event: &str, now: Timestamp) -> Result<(), StoreError> {
        if self.any_webhooks()? {
            self.db()?.execute(TELL, params![task.as_bytes(), event, now.0])?;
        }
        Ok(())
    }

    async fn claim_deliveries(&mut self, claim: &ClaimDeliveriesRow<'_>) -> Result<Vec<Dispatch>, StoreError> {
        let ClaimDeliveriesRow { due_by, made_by, until, limit, per_host, busy } = *claim;
        let db = self.db()?;
        let busy = serde_json::json!(busy).to_string();
        // One that can't be read is due again after its time, and keeps no other waiting.
        db.readable(CLAIM, params![due_by.0, until.0, limit, busy, per_host, made_by.0], "delivery", dispatch)
    }

    async fn end_delivery(&mut self, end: &DeliveryEnd<'_>) -> Result<(), StoreError> {
        let DeliveryEnd { id, attempt, body, status, error, state, next_at, ended_at } = *end;
        let ended = ended_at.map(|at| at.0);
        self.db()?.execute(ATTEMPTED, params![id, attempt, body, status, error, state.name(), next_at.0, ended])?;
        Ok(())
    }

    async fn fail_deliveries(&mut self, webhook: &str, error: &str, now: Timestamp) -> Result<(), StoreError> {
        self.db()?.execute(GIVE_UP, params![webhook, now.0, error])?;
        Ok(())
    }

    async fn retry_delivery(&mut self, task: TaskId, id: &str, now: Timestamp) -> Result<bool, StoreError> {
        Ok(self.db()?.execute(AGAIN, params![id, task.as_bytes(), now.0])? > 0)
    }
}
