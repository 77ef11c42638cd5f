//! Webhooks and their deliveries. A delivery is made in the transaction of what it tells: none is lost, and none
//! tells what did not happen.

use rusqlite::{Row, params};
use sea_orm::ConnectionTrait;

use super::row::sql;
use super::{Change, Reader, StoreError, Tx};
use crate::process::wall_now;
use crate::queue::hooks::{
    AddWebhook, Attempted, ClaimDeliveries, Delivery, Dispatch, RemoveWebhook, RetryDelivery, Webhook,
};
use crate::task::{HookEvent, TaskId, Wall, WebhookOptions};

const ADD: &str = "INSERT INTO webhooks (id, task_id, url, secret, events, created_at)
    VALUES (lower(hex(randomblob(16))), ?1, ?2, ?3, ?4, ?5) RETURNING id";

/// Names in `events` stand between commas.
const TELL: &str = "INSERT INTO deliveries (id, task_id, url, secret, event, created_at, state, attempts, next_at)
    SELECT lower(hex(randomblob(16))), ?1, url, secret, ?2, ?3, 'pending', 0, ?3 FROM webhooks
    WHERE (task_id = ?1 OR task_id IS NULL) AND instr(events, ',' || ?2 || ',')";

const CLAIM: &str = "UPDATE deliveries SET attempts = attempts + 1, next_at = ?2 WHERE id IN
        (SELECT id FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND next_at <= ?1 ORDER BY next_at LIMIT ?3)
    RETURNING id, task_id, url, secret, event, created_at, attempts, body";

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
        let until = tx.now.plus_ms(i64::try_from(self.patience.as_millis()).unwrap_or(i64::MAX));
        tx.all(CLAIM, params![tx.now.0, until.0, self.limit], dispatch)
    }
}

fn dispatch(row: &Row<'_>) -> rusqlite::Result<Dispatch> {
    Ok(Dispatch {
        id: row.get(0)?,
        task: row.get(1)?,
        url: row.get(2)?,
        secret: row.get(3)?,
        event: row.get(4)?,
        created_at: Wall(row.get(5)?),
        attempt: row.get(6)?,
        body: row.get(7)?,
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
        Ok(())
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
        let text = "SELECT id, url, events, created_at FROM webhooks WHERE task_id IS NULL ORDER BY created_at, id";
        let rows = self.db().query_all_raw(sql(text, [])).await?;
        let webhook = |row: &sea_orm::QueryResult| -> Result<Webhook, StoreError> {
            let events: String = row.try_get_by_index(2)?;
            Ok(Webhook {
                id: row.try_get_by_index(0)?,
                url: row.try_get_by_index(1)?,
                events: events.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect(),
                created_at: Wall(row.try_get_by_index(3)?),
            })
        };
        rows.iter().map(webhook).collect()
    }

    /// Whether anything is to be delivered now.
    pub async fn are_due(&self) -> Result<bool, StoreError> {
        let text =
            "SELECT 1 FROM deliveries INDEXED BY deliveries_due WHERE state = 'pending' AND next_at <= ?1 LIMIT 1";
        Ok(self.db().query_one_raw(sql(text, [wall_now().0.into()])).await?.is_some())
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
