//! Reads of what was done, and of what the rows say, for the checker.

use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::only;
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::convert::{entries_of, is_well};
use crate::store::rows::{HistoryRow, Lenient, UnreadRow};
use crate::store::views::{CommitSearch, FindCommit, FoundCommit};
use audit::{Entry, TaskSnapshot};
use domain::{Named as _, Status, TaskId};

/// Commits or tasks of one read.
const PAGE: i64 = 1_000;

const HISTORY_OF: &str =
    "SELECT seq, at, boot_ms, done FROM history WHERE seq >= $1 AND position($2 IN done) > 0 ORDER BY seq";

const HISTORY: &str = "SELECT seq, at, boot_ms, done FROM history WHERE seq > $1 ORDER BY seq LIMIT $2";

/// Reads tasks' rows in short. Events are counted from 1 to the last and in all: where the two differ, there is a gap
/// or one too many.
const STANDING: &str = "SELECT id, status, epoch, finished_attempts, crashes, max_attempts, last_event, cost_usd,
        (SELECT COUNT(*) FROM events WHERE task_id = id AND seq BETWEEN 1 AND last_event),
        (SELECT COUNT(*) FROM events WHERE task_id = id),
        (SELECT data FROM events WHERE task_id = id AND kind = 'result' ORDER BY seq DESC LIMIT 1),
        EXISTS (SELECT 1 FROM events WHERE task_id = id AND kind IN ('assistant', 'tool_use'))
            OR EXISTS (SELECT 1 FROM attempts WHERE task_id = id AND (cost_usd > 0 OR output_tokens > 0))
    FROM tasks WHERE id > $1 ORDER BY id LIMIT $2";

/// Reads the changes of the commits behind this one, in order.
pub async fn history(db: &Connection, after: i64) -> Result<Vec<Entry>, StoreError> {
    let asked = params![after, PAGE];
    let rows = db.all(HISTORY, &asked, |row| {
        let done = get(row, 3).unwrap_or_else(|error| format!("it can't be read: {error}"));
        Ok(HistoryRow { seq: get(row, 0)?, at: get(row, 1)?, boot_ms: get(row, 2)?, done })
    });
    let rows = rows.await?;
    Ok(rows.into_iter().flat_map(entries_of).collect())
}

/// Reads the changes of a task in the commits from this one on.
pub async fn history_of(db: &Connection, task: TaskId, from: i64) -> Result<Vec<Entry>, StoreError> {
    let asked = params![from, task.to_string()];
    let rows = db.all(HISTORY_OF, &asked, |row| {
        Ok(HistoryRow { seq: get(row, 0)?, at: get(row, 1)?, boot_ms: get(row, 2)?, done: get(row, 3)? })
    });
    Ok(rows.await?.into_iter().flat_map(entries_of).filter(|entry| entry.did.is_about(task)).collect())
}

/// Reads what the row of a task says.
pub async fn standing(db: &Connection, task: TaskId) -> Result<Option<TaskSnapshot>, StoreError> {
    let before = TaskId::from_u128(task.uuid().as_u128().saturating_sub(1));
    let mut found = some_standings(db, before, 1).await?;
    Ok(found.pop().and_then(Result::ok).filter(|standing| standing.task == task))
}

/// The number of the newest commit; 0 where there is none.
pub async fn newest_commit(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.one("SELECT COALESCE(MAX(seq), 0) FROM history", &[], only).await?.unwrap_or(0))
}

/// The first commit of a time: the history is in its order, but for clocks that differ.
pub async fn find(db: &Connection, find: FindCommit) -> Result<FoundCommit, StoreError> {
    let from = async |seq: i64| {
        let text = "SELECT seq, at FROM history WHERE seq >= $1 ORDER BY seq LIMIT 1";
        db.one(text, &params![seq], |row| Ok((get::<i64>(row, 0)?, get::<i64>(row, 1)?))).await
    };
    let newest = newest_commit(db).await?;
    let mut search = CommitSearch::new(newest, find);
    while let Some(middle) = search.middle() {
        search.note(from(middle).await?);
    }
    Ok(search.found(from(search.from()).await?))
}

/// Tasks behind this one, in order; of one that can't be read, why.
pub async fn standings(db: &Connection, after: TaskId) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
    some_standings(db, after, PAGE).await
}

async fn some_standings(db: &Connection, after: TaskId, most: i64) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
    let asked = params![after, most];
    let standings = db.all(STANDING, &asked, |row| {
        let id = get(row, 0)?;
        Ok(standing_of(id, row).unwrap_or_else(|error| Err(UnreadRow { id, why: error.to_string() })))
    });
    let mut standings = standings.await?;
    let costs = "SELECT epoch, cost_usd FROM attempts WHERE task_id = $1 AND cost_usd IS NOT NULL";
    for standing in standings.iter_mut().flatten() {
        let asked = params![standing.task];
        let read = db.readable(costs, &asked, "attempt", |row| Ok((get(row, 0)?, get(row, 1)?)));
        standing.attempt_costs = read.await?;
    }
    Ok(standings)
}

fn standing_of(task: TaskId, row: &Row) -> Result<Lenient<TaskSnapshot>, Unread> {
    let status: String = get(row, 1)?;
    let Some(status) = Status::from_name(&status) else {
        return Ok(Err(UnreadRow { id: task, why: format!("status {status}") }));
    };
    let (last, numbered, all): (i64, i64, i64) = (get(row, 6)?, get(row, 8)?, get(row, 9)?);
    let (result, answered): (Option<String>, bool) = (get(row, 10)?, get(row, 11)?);
    Ok(Ok(TaskSnapshot {
        task,
        status,
        epoch: get(row, 2)?,
        ended: get(row, 3)?,
        crashes: get(row, 4)?,
        max_attempts: get(row, 5)?,
        events: (last, if numbered == all { numbered } else { -all }),
        cost: get(row, 7)?,
        attempt_costs: Vec::new(),
        well_completed: result.is_some_and(|result| is_well(&result, answered)),
    }))
}
