//! Statements on files that running tasks change.

use async_trait::async_trait;
use rusqlite::params;

use super::query::Db;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::MAX_CONFLICTS;
use crate::store::tx::Touches;
use domain::TaskId;

const TOUCH: &str = "INSERT INTO touches (task_id, place) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

/// Others that run, are of the same key, and of no race with it.
const OTHERS: &str = "SELECT o.task_id, o.place FROM touches m
    JOIN touches o ON o.place = m.place AND o.task_id <> m.task_id
    JOIN tasks t ON t.id = o.task_id AND t.status = 'running'
    WHERE m.task_id = ?1 AND (?2 IS NULL OR m.place = ?2)
    AND t.key_name = (SELECT key_name FROM tasks WHERE id = ?1)
    AND NOT EXISTS (SELECT 1 FROM race_entries a JOIN race_entries b ON b.race_id = a.race_id
        WHERE a.task_id = ?1 AND b.task_id = o.task_id)
    ORDER BY o.task_id, o.place LIMIT ?3";

#[async_trait(?Send)]
impl Touches for SqliteTx<'_> {
    async fn touch(&mut self, task: TaskId, place: &str) -> Result<Vec<TaskId>, StoreError> {
        let db = self.db()?;
        if db.execute(TOUCH, params![task.as_bytes(), place])? == 0 {
            return Ok(Vec::new());
        }
        Ok(others(db, task, Some(place))?.into_iter().map(|(task, _)| task).collect())
    }
}

/// Reads the tasks that change the files that this one changes, with the places of those.
pub fn others(db: Db<'_>, task: TaskId, place: Option<&str>) -> Result<Vec<(TaskId, String)>, StoreError> {
    let values = params![task.as_bytes(), place, MAX_CONFLICTS];
    db.all(OTHERS, values, |row| Ok((TaskId::of(row.get(0)?), row.get(1)?)))
}
