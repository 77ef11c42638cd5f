//! Webhooks and their deliveries. A delivery is made in the transaction of what it tells: none is lost, and none
//! tells what did not happen.

use rusqlite::{Row, params};
use sea_orm::ConnectionTrait;

use super::row::sql;
use super::{Change, Reader, StoreError, Tx};
use crate::queue::hooks::{
    AddWebhook, Attempted, ClaimDeliveries, Delivery, Dispatch, EnableWebhook, RemoveWebhook, RetryDelivery, Webhook,
};
use crate::task::{HookEvent, TaskId, Wall, WebhookOptions};

const ADD: &str = "INSERT INTO webhooks (id, task_id, url, secret, events, created_at)
    VALUES (lower(hex(randomblob(16))), ?1, ?2, ?3, ?4, ?5) RETURNING id";

/// Names in `events` stand between commas. A new message is due at once, whatever the clock of the machine that
/// writes it says.
const TELL: &str =
    "INSERT INTO deliveries (id, task_id, url, secret, event, created_at, state, attempts, next_at, webhook_id, host)
    SELECT lower(hex(randomblob(16))), ?1, url, secret, ?2, ?3, 'pending', 0, 0, id,
        lower(substr(url, instr(url, '://') + 3, instr(substr(url, instr(url, '://') + 3) || '/', '/') - 1)) FROM webhooks
    WHERE (task_id = ?1 OR task_id IS NULL) AND disabled_at IS NULL AND instr(events, ',' || ?2 || ',')";

/// Some of each host, of the first that are due and whose host has not enough to do.
const CLAIM: &str = "UPDATE deliveries SET attempts = attempts + 1, next_at = ?2 WHERE id IN
        (SELECT id FROM (SELECT id, ROW_NUMBER() OVER (PARTITION BY host ORDER BY created_at) AS place FROM
            (SELECT id, host, created_at FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND next_at <= ?1
                AND host NOT IN (SELECT value FROM json_each(?4)) ORDER BY next_at LIMIT 1000))
        WHERE place <= ?5 LIMIT ?3)
    RETURNING id, task_id, url, host, secret, event, created_at, attempts, body";

/// Whether anything may be due: what most looks find is nothing.
const IS_DUE: &str =
    "SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND next_at <= ?1 LIMIT 1";

const REGISTERED: &str = "SELECT w.id, w.failing_since FROM webhooks w JOIN deliveries d ON d.webhook_id = w.id WHERE d.id = ?1 AND w.task_id IS NULL";

const DISABLE: &str =
    "UPDATE webhooks SET disabled_at = ?2, disabled_reason = ?3 WHERE id = ?1 AND disabled_at IS NULL";

/// What waits for a webhook that is told nothing more.
const GIVE_UP: &str = "UPDATE deliveries SET state = 'failed', ended_at = ?2, last_error = ?3
    WHERE webhook_id = ?1 AND state = 'pending'";

const ATTEMPTED: &str =
    "UPDATE deliveries SET body = ?3, last_status = ?4, last_error = ?5, state = ?6, next_at = ?7, ended_at = ?8
    WHERE id = ?1 AND attempts = ?2 AND state = 'pending'";

const AGAIN: &str =
    "UPDATE deliveries SET state = 'pending', next_at = ?3, ended_at = NULL WHERE id = ?1 AND task_id = ?2";

/// Adds a webhook, of a task or of all.
pub fn add(tx: &Tx<'_>, task: Option<TaskId>, options: &WebhookOptions) -> Result<Webhook, StoreError> {
    let names: Vec<&str> = options.events().iter().map(|event| event.name()).collect();
    let events = format!(",{},", names.join(","));
    let id = tx.one(ADD, params![task, options.url, options.secret, events, tx.now.0], |row| row.get(0))?;
    Ok(Webhook {
        id: id.unwrap_or_default(),
        url: options.url.clone(),
        events: names.into_iter().map(str::to_owned).collect(),
        created_at: tx.now,
        failing_since: None,
        disabled: None,
    })
}

/// Whoever wants to hear it is told.
pub fn tell(tx: &Tx<'_>, task: TaskId, event: HookEvent) -> Result<(), StoreError> {
    tx.execute(TELL, params![task, event.name(), tx.now.0])?;
    Ok(())
}

impl Change for AddWebhook {
    type Answer = Webhook;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Webhook, StoreError> {
        add(tx, None, &self.0)
    }
}

impl Change for RemoveWebhook {
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        Ok(tx.execute("DELETE FROM webhooks WHERE id = ?1 AND task_id IS NULL", [&self.0])? > 0)
    }
}

impl Change for ClaimDeliveries {
    type Answer = Vec<Dispatch>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Dispatch>, StoreError> {
        if tx.one(IS_DUE, [tx.now.0], |_| Ok(()))?.is_none() {
            return Ok(Vec::new());
        }
        let until = tx.now.plus_ms(i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX));
        let busy = serde_json::json!(self.busy).to_string();
        let claimed = tx.all(CLAIM, params![tx.now.0, until.0, self.limit, busy, self.per_host], |row| {
            // One that can't be read is due again after its time, and keeps no other waiting.
            Ok(dispatch(row).inspect_err(|error| tracing::warn!(%error, "A delivery can't be read")).ok())
        })?;
        Ok(claimed.into_iter().flatten().collect())
    }
}

fn dispatch(row: &Row<'_>) -> rusqlite::Result<Dispatch> {
    Ok(Dispatch {
        id: row.get(0)?,
        task: row.get(1)?,
        url: row.get(2)?,
        host: row.get(3)?,
        secret: row.get(4)?,
        event: row.get(5)?,
        created_at: Wall(row.get(6)?),
        attempt: row.get(7)?,
        body: row.get(8)?,
    })
}

impl Change for Attempted {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let (state, next) = match (&self.error, self.again) {
            (None, _) => ("delivered", tx.now),
            (Some(_), None) => ("failed", tx.now),
            (Some(_), Some(again)) => ("pending", tx.now.plus_ms(i64::try_from(again.as_millis()).unwrap_or(i64::MAX))),
        };
        let ended = (state != "pending").then_some(tx.now.0);
        let Self { id, attempt, body, status, error, .. } = self;
        tx.execute(ATTEMPTED, params![id, attempt, body, status, error, state, next.0, ended])?;
        self.judge_webhook(tx)
    }
}

impl Attempted {
    /// A webhook of all tasks that is gone, or has failed for days, is told nothing more until somebody says so.
    fn judge_webhook(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let found =
            tx.one(REGISTERED, [&self.id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
        let Some((webhook, since)) = found else { return Ok(()) };
        let Some(error) = &self.error else {
            if since.is_some() {
                tx.execute("UPDATE webhooks SET failing_since = NULL WHERE id = ?1", [webhook])?;
            }
            return Ok(());
        };
        let since = Wall(since.unwrap_or(tx.now.0));
        tx.execute("UPDATE webhooks SET failing_since = ?2 WHERE id = ?1", params![webhook, since.0])?;
        // Not where the clock was set back meanwhile.
        let lasts = u128::from(tx.now.since_ms(since).max(0).unsigned_abs());
        let reason = match self.gone {
            true => "the receiver answered 410 Gone".to_owned(),
            false if lasts >= self.disable_after.as_millis() => {
                format!("each message has failed since {since}, the last: {error}")
            }
            false => return Ok(()),
        };
        tracing::warn!(webhookId = webhook, reason, "A webhook is disabled");
        tx.execute(DISABLE, params![webhook, tx.now.0, reason])?;
        tx.execute(GIVE_UP, params![webhook, tx.now.0, "its webhook was disabled"])?;
        Ok(())
    }
}

impl Change for EnableWebhook {
    type Answer = Option<Webhook>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Webhook>, StoreError> {
        let text = match self.enabled {
            true => {
                "UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL
                WHERE id = ?1 AND task_id IS NULL AND ?2 IS NOT NULL"
            }
            false => {
                "UPDATE webhooks SET disabled_at = COALESCE(disabled_at, ?2),
                disabled_reason = COALESCE(disabled_reason, 'somebody asked for it') WHERE id = ?1 AND task_id IS NULL"
            }
        };
        tx.execute(text, params![self.id, tx.now.0])?;
        let found = format!("SELECT {WEBHOOK} FROM webhooks WHERE id = ?1 AND task_id IS NULL");
        tx.one(&found, [&self.id], |row| {
            let (since, at, why): (Option<i64>, Option<i64>, Option<String>) = (row.get(4)?, row.get(5)?, row.get(6)?);
            Ok(webhook(row.get(0)?, row.get(1)?, &row.get::<_, String>(2)?, row.get(3)?, since, at.zip(why)))
        })
    }
}

/// The columns of [`webhook`].
const WEBHOOK: &str = "id, url, events, created_at, failing_since, disabled_at, COALESCE(disabled_reason, '')";

fn webhook(
    id: String,
    url: String,
    events: &str,
    created_at: i64,
    failing_since: Option<i64>,
    disabled: Option<(i64, String)>,
) -> Webhook {
    Webhook {
        id,
        url,
        events: events.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
        created_at: Wall(created_at),
        failing_since: failing_since.map(Wall),
        disabled: disabled.map(|(at, why)| (Wall(at), why)),
    }
}

impl Change for RetryDelivery {
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        Ok(tx.execute(AGAIN, params![self.id, self.task, tx.now.0])? > 0)
    }
}

impl Reader {
    /// The webhooks of all tasks.
    pub async fn webhooks(&self) -> Result<Vec<Webhook>, StoreError> {
        let text = format!("SELECT {WEBHOOK} FROM webhooks WHERE task_id IS NULL ORDER BY created_at, id LIMIT 10000");
        let rows = self.db().query_all_raw(sql(&text, [])).await?;
        let read = |row: &sea_orm::QueryResult| -> Result<Webhook, sea_orm::DbErr> {
            let (events, at): (String, Option<i64>) = (row.try_get_by_index(2)?, row.try_get_by_index(5)?);
            let disabled = at.zip(row.try_get_by_index(6)?);
            let (id, url, created_at) = (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(3)?);
            Ok(webhook(id, url, &events, created_at, row.try_get_by_index(4)?, disabled))
        };
        // Each by itself: one that can't be read takes no other with it.
        Ok(rows
            .iter()
            .filter_map(|row| read(row).inspect_err(|error| tracing::warn!(%error, "A webhook can't be read")).ok())
            .collect())
    }

    /// The deliveries of a task.
    pub async fn deliveries(&self, task: TaskId) -> Result<Vec<Delivery>, StoreError> {
        let text = "SELECT id, event, url, state, attempts, next_at, last_status, last_error, created_at, ended_at
            FROM deliveries WHERE task_id = ?1 ORDER BY created_at, id";
        let rows = self.db().query_all_raw(sql(text, [task.into()])).await?;
        let delivery = |row: &sea_orm::QueryResult| -> Result<Delivery, StoreError> {
            let ended: Option<i64> = row.try_get_by_index(9)?;
            Ok(Delivery {
                id: row.try_get_by_index(0)?,
                event: row.try_get_by_index(1)?,
                url: row.try_get_by_index(2)?,
                state: row.try_get_by_index(3)?,
                attempts: row.try_get_by_index(4)?,
                next_at: Wall(row.try_get_by_index(5)?),
                last_status: row.try_get_by_index(6)?,
                last_error: row.try_get_by_index(7)?,
                created_at: Wall(row.try_get_by_index(8)?),
                ended_at: ended.map(Wall),
            })
        };
        rows.iter().map(delivery).collect()
    }
}
