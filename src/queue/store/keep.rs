//! Keeping the database: a copy of it, and the end of what is old.

use std::path::Path;

use rusqlite::params;
use sea_orm::ConnectionTrait;

use super::row::sql;
use super::{Change, Reader, StoreError, Tx};
use crate::queue::messages::Prune;
use crate::task::{Did, TaskId};

/// Tasks of one transaction: others wait for its end.
const BATCH: i64 = 200;

/// Ids begin with the time of their making, so no older task stands behind this one. One that
/// another goes on with stays as long as that: they share a folder. So does the one of the newest event, so that
/// the order of all events goes on from there.
const OLD: &str = "SELECT id FROM tasks
    WHERE id < ?1 AND status IN ('completed', 'failed', 'cancelled') AND completed_at < ?2
    AND NOT EXISTS (SELECT 1 FROM tasks later WHERE later.continued_from = tasks.id)
    AND id <> (SELECT task_id FROM events ORDER BY n DESC LIMIT 1) ORDER BY id LIMIT ?3";

/// Everything of a task; its own row last.
const PARTS: [&str; 10] = [
    "DELETE FROM events WHERE task_id = ?1",
    "DELETE FROM attempts WHERE task_id = ?1",
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

/// The history begins with the oldest task that is left; its newest row stays, for the mark.
const HISTORY: &str = "DELETE FROM history WHERE seq < COALESCE(
    (SELECT MIN(seq) FROM history WHERE at >= (SELECT created_at FROM tasks ORDER BY id LIMIT 1)),
    (SELECT MAX(seq) FROM history))";

impl Change for Prune {
    type Answer = Vec<TaskId>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<TaskId>, StoreError> {
        let before = self.before.0;
        let bound = TaskId::from_u128((before.max(0).unsigned_abs() as u128) << 80);
        let tasks: Vec<TaskId> = tx.all(OLD, params![bound, before, BATCH], |row| row.get(0))?;
        for task in &tasks {
            for part in PARTS {
                tx.execute(part, [task])?;
            }
        }
        if !tasks.is_empty() {
            tx.execute(HISTORY, [])?;
            tx.record(&Did::Prune { tasks: tasks.clone() });
        }
        Ok(tasks)
    }
}

impl Reader {
    /// Writes a copy of the database as it is at this moment. It has not reached the disk yet.
    pub async fn copy_to(&self, file: &Path) -> Result<(), StoreError> {
        let name = file.display().to_string();
        self.db().execute_raw(sql("VACUUM INTO ?1", [name.into()])).await?;
        Ok(())
    }
}
