//! Statements that end what is old.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::tx::{PostgresTx, only};
use super::value::{get, params};
use crate::store::StoreError;
use crate::store::tx::Retention;
use domain::{TaskId, Timestamp};

/// Ids begin with the time of their making, so no older task stands behind this one. One that
/// another goes on with stays as long as that: they share a folder. One that another depends on stays until that has
/// ended. So does the one of the newest event, so that the order of all events goes on from there.
const OLD: &str = "SELECT id FROM tasks
    WHERE id < $1 AND status IN ('completed', 'failed', 'cancelled') AND completed_at < $2
    AND NOT EXISTS (SELECT 1 FROM tasks later WHERE later.continued_from = tasks.id)
    AND NOT EXISTS (SELECT 1 FROM dependencies d JOIN tasks later ON later.id = d.task_id
        WHERE d.on_task = tasks.id AND later.status IN ('pending', 'running'))
    AND id IS DISTINCT FROM (SELECT task_id FROM events ORDER BY n DESC LIMIT 1) ORDER BY id LIMIT $3";

/// Removes a task. Returns its key, its status, and the bytes that it had.
const REMOVE: &str = "DELETE FROM tasks WHERE id = $1 RETURNING key_name, status,
    (octet_length(spec) + COALESCE((SELECT SUM(octet_length(data)) FROM events WHERE task_id = $1), 0)
        + COALESCE((SELECT SUM(bytes) FROM artifacts WHERE task_id = $1), 0))::bigint";

/// Tables with rows of a task.
const PARTS: [&str; 19] = [
    "DELETE FROM artifacts WHERE task_id = $1",
    "DELETE FROM task_files WHERE task_id = $1",
    "DELETE FROM transcripts WHERE task_id = $1",
    "DELETE FROM events WHERE task_id = $1",
    "DELETE FROM attempts WHERE task_id = $1",
    "DELETE FROM dependencies WHERE task_id = $1",
    "DELETE FROM waits WHERE task_id = $1",
    "DELETE FROM handovers WHERE task_id = $1",
    "DELETE FROM race_entries WHERE task_id = $1",
    "DELETE FROM child_tasks WHERE task_id = $1",
    "DELETE FROM touches WHERE task_id = $1",
    "DELETE FROM unsettled WHERE task_id = $1",
    "DELETE FROM questions WHERE task_id = $1",
    "DELETE FROM changes WHERE task_id = $1",
    "DELETE FROM messages WHERE task_id = $1",
    "DELETE FROM task_tags WHERE task_id = $1",
    "DELETE FROM webhooks WHERE task_id = $1",
    "DELETE FROM deliveries WHERE task_id = $1",
    "DELETE FROM idempotency_keys WHERE task_id = $1",
];

/// The newest entry stays, for the high-water mark.
const HISTORY: &str = "DELETE FROM history WHERE seq < COALESCE(
    (SELECT MIN(seq) FROM history WHERE at >= (SELECT created_at FROM tasks ORDER BY id LIMIT 1)),
    (SELECT MAX(seq) FROM history))";

#[async_trait(?Send)]
impl Retention for PostgresTx<'_> {
    async fn old_tasks(&mut self, before: Timestamp, limit: i64) -> Result<Vec<TaskId>, StoreError> {
        self.all(OLD, params![TaskId::first_of(before), before, limit], only).await
    }

    async fn remove_task(&mut self, id: TaskId) -> Result<(), StoreError> {
        let read = |row: &Row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?));
        let removed: Option<(String, String, i64)> = self.one(REMOVE, params![id], read).await?;
        if let Some((key, status, bytes)) = removed {
            self.count(&key, &status, -1);
            *self.sums().bytes.entry(key).or_default() -= bytes;
        }
        self.forget(&[id]);
        for part in PARTS {
            self.defer_of(id, part, params![id]);
        }
        Ok(())
    }

    async fn trim_history(&mut self) -> Result<(), StoreError> {
        self.defer(HISTORY, []);
        Ok(())
    }
}
