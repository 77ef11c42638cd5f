//! Statements that end what is old.

use async_trait::async_trait;
use rusqlite::params;

use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::tx::Retention;
use domain::{TaskId, Timestamp};

/// Ids begin with the time of their making, so no older task stands behind this one. One that
/// another goes on with stays as long as that: they share a folder. One that another depends on stays until that has
/// ended. So does the one of the newest event, so that the order of all events goes on from there.
const OLD: &str = "SELECT id FROM tasks
    WHERE id < ?1 AND status IN ('completed', 'failed', 'cancelled') AND completed_at < ?2
    AND NOT EXISTS (SELECT 1 FROM tasks later WHERE later.continued_from = tasks.id)
    AND NOT EXISTS (SELECT 1 FROM dependencies d JOIN tasks later ON later.id = d.task_id
        WHERE d.on_task = tasks.id AND later.status IN ('pending', 'running'))
    AND id <> (SELECT task_id FROM events ORDER BY n DESC LIMIT 1) ORDER BY id LIMIT ?3";

/// Takes the bytes of a task from its key.
const FREE: &str = "UPDATE key_bytes SET bytes = MAX(0, bytes
        - COALESCE((SELECT octet_length(spec) FROM tasks WHERE id = ?1), 0)
        - COALESCE((SELECT SUM(octet_length(data)) FROM events WHERE task_id = ?1), 0)
        - COALESCE((SELECT SUM(bytes) FROM artifacts WHERE task_id = ?1), 0))
    WHERE key_name = (SELECT key_name FROM tasks WHERE id = ?1)";

/// Tables with rows of a task; its own row last.
const PARTS: [&str; 20] = [
    "DELETE FROM artifacts WHERE task_id = ?1",
    "DELETE FROM task_files WHERE task_id = ?1",
    "DELETE FROM transcripts WHERE task_id = ?1",
    "DELETE FROM events WHERE task_id = ?1",
    "DELETE FROM attempts WHERE task_id = ?1",
    "DELETE FROM dependencies WHERE task_id = ?1",
    "DELETE FROM waits WHERE task_id = ?1",
    "DELETE FROM handovers WHERE task_id = ?1",
    "DELETE FROM race_entries WHERE task_id = ?1",
    "DELETE FROM child_tasks WHERE task_id = ?1",
    "DELETE FROM touches WHERE task_id = ?1",
    "DELETE FROM unsettled WHERE task_id = ?1",
    "DELETE FROM questions WHERE task_id = ?1",
    "DELETE FROM changes WHERE task_id = ?1",
    "DELETE FROM messages WHERE task_id = ?1",
    // A tag that the task no longer names finds nothing, and costs nothing.
    "DELETE FROM task_tags WHERE task_id = ?1 AND tag IN
        (SELECT value FROM json_each((SELECT CASE WHEN json_valid(spec) THEN spec ELSE '{}' END FROM tasks WHERE id = ?1), '$.tags'))",
    "DELETE FROM webhooks WHERE task_id = ?1",
    "DELETE FROM deliveries WHERE task_id = ?1",
    "DELETE FROM idempotency_keys WHERE task_id = ?1",
    "DELETE FROM tasks WHERE id = ?1",
];

/// The newest entry stays, for the high-water mark.
const HISTORY: &str = "DELETE FROM history WHERE seq < COALESCE(
    (SELECT MIN(seq) FROM history WHERE at >= (SELECT created_at FROM tasks ORDER BY id LIMIT 1)),
    (SELECT MAX(seq) FROM history))";

#[async_trait(?Send)]
impl Retention for SqliteTx<'_> {
    async fn old_tasks(&mut self, before: Timestamp, limit: i64) -> Result<Vec<TaskId>, StoreError> {
        self.db()?
            .all(OLD, params![TaskId::first_of(before).as_bytes(), before.0, limit], |row| row.get(0).map(TaskId::of))
    }

    async fn remove_task(&mut self, id: TaskId) -> Result<(), StoreError> {
        if let Some((key, status)) = self.counted_as(id)? {
            self.count(&key, &status, -1);
        }
        let db = self.db()?;
        db.execute(FREE, [id.as_bytes()])?;
        for part in PARTS {
            db.execute(part, [id.as_bytes()])?;
        }
        Ok(())
    }

    async fn trim_history(&mut self) -> Result<(), StoreError> {
        self.db()?.execute(HISTORY, [])?;
        Ok(())
    }
}
