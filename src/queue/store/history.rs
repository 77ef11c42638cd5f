//! The history, and what the tables say, for the checker.

use entity::{attempt, history};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder, QueryResult, QuerySelect};
use serde_json::Value;

use super::row::sql;
use super::{Reader, StoreError};
use crate::task::{Did, Entry, Standing, Status, TaskId, json};

/// Commits or tasks of one read.
const PAGE: u64 = 1_000;

/// What a task's rows say, in short. Events are counted from 1 to the last and in all: where the
/// two differ, there is a gap or one too many.
const STANDING: &str = "SELECT id, status, epoch, ended, crashes, max_attempts, last_event, cost_usd,
        (SELECT COUNT(*) FROM events WHERE task_id = id AND seq BETWEEN 1 AND last_event),
        (SELECT COUNT(*) FROM events WHERE task_id = id),
        (SELECT data FROM events WHERE task_id = id AND kind = 'result' ORDER BY seq DESC LIMIT 1),
        EXISTS (SELECT 1 FROM events WHERE task_id = id AND kind IN ('assistant', 'tool_use'))
            OR EXISTS (SELECT 1 FROM attempts WHERE task_id = id AND (cost_usd > 0 OR output_tokens > 0))
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
        Ok(rows.into_iter().flat_map(entries_of).collect())
    }

    /// The number of the newest commit; 0 where there is none.
    pub async fn newest_commit(&self) -> Result<i64, StoreError> {
        let row = self.db().query_one_raw(sql("SELECT MAX(seq) FROM history", [])).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.flatten().unwrap_or(0))
    }

    /// Tasks behind this one, in order; of one that can't be read, why.
    pub async fn standings(&self, after: TaskId) -> Result<Vec<(TaskId, Result<Standing, String>)>, StoreError> {
        let rows = self.db().query_all_raw(sql(STANDING, [after.into(), PAGE.into()])).await?;
        let mut standings = Vec::new();
        for row in rows {
            let task: TaskId = row.try_get_by_index(0)?;
            let mut standing = standing_of(task, &row);
            if let Ok(standing) = &mut standing {
                standing.attempt_costs = self.attempt_costs(task).await?;
            }
            standings.push((task, standing.map_err(|error| error.to_string())));
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

fn standing_of(task: TaskId, row: &QueryResult) -> Result<Standing, StoreError> {
    let status: String = row.try_get_by_index(1)?;
    let status =
        Status::from_name(&status).ok_or_else(|| StoreError::Row { task, what: format!("status {status}") })?;
    let (last, numbered, all): (i64, i64, i64) =
        (row.try_get_by_index(6)?, row.try_get_by_index(8)?, row.try_get_by_index(9)?);
    let (result, answered): (Option<String>, bool) = (row.try_get_by_index(10)?, row.try_get_by_index(11)?);
    Ok(Standing {
        task,
        status,
        epoch: row.try_get_by_index(2)?,
        ended: row.try_get_by_index(3)?,
        crashes: row.try_get_by_index(4)?,
        max_attempts: row.try_get_by_index(5)?,
        events: (last, if numbered == all { numbered } else { -all }),
        cost: row.try_get_by_index(7)?,
        attempt_costs: Vec::new(),
        well_completed: result.is_some_and(|result| is_well(&result, answered)),
    })
}

/// True if the last result of a task is none of an error, and the model was asked for it. What can't be read
/// speaks against nothing.
fn is_well(event: &str, answered: bool) -> bool {
    let Some(event) = json::clean(event).and_then(|event| serde_json::from_str::<Value>(&event).ok()) else {
        return true;
    };
    let frame = &event["frame"];
    let is_error = matches!(&frame["is_error"], Value::Bool(true)) || frame["is_error"] == "true";
    let paid = |number: &Value| number.as_f64().or_else(|| number.as_str()?.parse().ok()).is_some_and(|n| n > 0.0);
    let was_asked = answered || paid(&frame["usage"]["output_tokens"]) || paid(&frame["total_cost_usd"]);
    !is_error && (was_asked || frame.is_null())
}

/// What a commit did. A line that can't be read costs nothing but itself.
fn entries_of(row: history::Model) -> Vec<Entry> {
    let unread = |error: &serde_json::Error| Did::Unread { why: error.to_string() };
    let done: Vec<Did> = match serde_json::from_str::<Vec<Value>>(&row.done) {
        Ok(lines) => {
            lines.into_iter().map(|line| serde_json::from_value(line).unwrap_or_else(|error| unread(&error))).collect()
        }
        Err(error) => vec![unread(&error)],
    };
    let entry = |did| Entry { commit: row.seq, at: row.at, boot_ms: row.boot_ms, did };
    done.into_iter().map(entry).collect()
}
