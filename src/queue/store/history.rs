//! The history, and what the tables say, for the checker.

use entity::{attempt, history};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QuerySelect};

use super::row::sql;
use super::{Reader, StoreError};
use crate::task::{Did, Entry, Standing, Status, TaskId};

/// Commits or tasks of one read.
const PAGE: u64 = 1_000;

/// What a task's rows say, in short. Events are counted from 1 to the last and in all: where the
/// two differ, there is a gap or one too many.
const STANDING: &str = "SELECT id, status, epoch, ended, crashes, max_attempts, last_event, cost_usd,
        (SELECT COUNT(*) FROM events WHERE task_id = id AND seq BETWEEN 1 AND last_event),
        (SELECT COUNT(*) FROM events WHERE task_id = id),
        (SELECT json_extract(data, '$.frame.is_error') FROM events WHERE task_id = id AND kind = 'result'
            ORDER BY seq DESC LIMIT 1),
        EXISTS (SELECT 1 FROM events WHERE task_id = id AND kind IN ('assistant', 'tool_use'))
    FROM tasks WHERE id > ?1 ORDER BY id LIMIT ?2";

impl Reader {
    /// What was done in the commits behind this one, in order.
    pub async fn history(&self, after: i64) -> Result<Vec<Entry>, StoreError> {
        let rows = history::Entity::find()
            .filter(history::Column::Seq.gt(after))
            .order_by_asc(history::Column::Seq)
            .limit(PAGE)
            .all(self.db())
            .await?;
        let entries: Vec<_> = rows.into_iter().map(entries_of).collect::<Result<_, _>>()?;
        Ok(entries.into_iter().flatten().collect())
    }

    /// The number of the newest commit; 0 where there is none.
    pub async fn newest_commit(&self) -> Result<i64, StoreError> {
        let row = self.db().query_one_raw(sql("SELECT MAX(seq) FROM history", [])).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.flatten().unwrap_or(0))
    }

    /// Tasks behind this one, in order.
    pub async fn standings(&self, after: TaskId) -> Result<Vec<Standing>, StoreError> {
        let rows = self.db().query_all_raw(sql(STANDING, [after.into(), PAGE.into()])).await?;
        let mut standings = Vec::new();
        for row in rows {
            let task: TaskId = row.try_get_by_index(0)?;
            let status: String = row.try_get_by_index(1)?;
            let (last, numbered, all): (i64, i64, i64) =
                (row.try_get_by_index(6)?, row.try_get_by_index(8)?, row.try_get_by_index(9)?);
            let (is_error, answered): (Option<i64>, bool) = (row.try_get_by_index(10)?, row.try_get_by_index(11)?);
            let status =
                Status::from_name(&status).ok_or_else(|| StoreError::Row { task, what: format!("status {status}") })?;
            standings.push(Standing {
                task,
                status,
                epoch: row.try_get_by_index(2)?,
                ended: row.try_get_by_index(3)?,
                crashes: row.try_get_by_index(4)?,
                max_attempts: row.try_get_by_index(5)?,
                events: (last, if numbered == all { numbered } else { -all }),
                cost: row.try_get_by_index(7)?,
                attempt_costs: self.attempt_costs(task).await?,
                well_completed: is_error == Some(0) && answered,
            });
        }
        Ok(standings)
    }

    async fn attempt_costs(&self, task: TaskId) -> Result<Vec<(i64, f64)>, StoreError> {
        let costs: Vec<(i64, Option<f64>)> = attempt::Entity::find()
            .select_only()
            .column(attempt::Column::Epoch)
            .column(attempt::Column::CostUsd)
            .filter(attempt::Column::TaskId.eq(task))
            .into_tuple()
            .all(self.db())
            .await?;
        Ok(costs.into_iter().filter_map(|(epoch, cost)| Some((epoch, cost?))).collect())
    }
}

fn entries_of(row: history::Model) -> Result<Vec<Entry>, StoreError> {
    let done: Vec<Did> = serde_json::from_str(&row.done)
        .map_err(|error| StoreError::History { commit: row.seq, what: error.to_string() })?;
    let entry = |did| Entry { commit: row.seq, at: row.at, boot_ms: row.boot_ms, did };
    Ok(done.into_iter().map(entry).collect())
}
