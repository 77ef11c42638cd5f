//! Statements on files that running tasks change.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::PostgresTx;
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::rows::MAX_CONFLICTS;
use crate::store::tx::Touches;
use domain::TaskId;

const TOUCH: &str = "INSERT INTO touches (task_id, place) VALUES ($1, $2) ON CONFLICT DO NOTHING RETURNING 1";

/// Others that run, are of the same key, and of no race with it.
const OTHERS: &str = r#"SELECT o.task_id, o.place FROM touches m
    JOIN touches o ON o.place = m.place AND o.task_id <> m.task_id
    JOIN tasks t ON t.id = o.task_id AND t.status = 'running'
    WHERE m.task_id = $1 AND ($2::text IS NULL OR m.place = $2)
    AND t.key_name = (SELECT key_name FROM tasks WHERE id = $1)
    AND NOT EXISTS (SELECT 1 FROM race_entries a JOIN race_entries b ON b.race_id = a.race_id
        WHERE a.task_id = $1 AND b.task_id = o.task_id)
    ORDER BY o.task_id, o.place COLLATE "C" LIMIT $3"#;

#[async_trait(?Send)]
impl Touches for PostgresTx<'_> {
    async fn touch(&mut self, task: TaskId, place: &str) -> Result<Vec<TaskId>, StoreError> {
        if !self.any(TOUCH, params![task, place]).await? {
            return Ok(Vec::new());
        }
        Ok(self
            .all(OTHERS, params![task, place, MAX_CONFLICTS], other)
            .await?
            .into_iter()
            .map(|(task, _)| task)
            .collect())
    }
}

/// Reads the tasks that change the files that this one changes, with the places of those.
pub async fn others(db: &Connection, task: TaskId) -> Result<Vec<(TaskId, String)>, StoreError> {
    let [task, most] = params![task, MAX_CONFLICTS];
    db.readable(OTHERS, &[task, Value::Text(None), most], "conflict", other).await
}

fn other(row: &Row) -> Result<(TaskId, String), Unread> {
    Ok((get(row, 0)?, get(row, 1)?))
}
