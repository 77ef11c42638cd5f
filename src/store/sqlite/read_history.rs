//! Reads of what was done, and of what the rows say, for the checker.

use rusqlite::{Row, params};

use super::query::Db;
use crate::store::StoreError;
use crate::store::convert::{entries_of, is_well};
use crate::store::rows::{HistoryRow, Lenient, UnreadRow};
use crate::store::views::{CommitSearch, FindCommit, FoundCommit};
use audit::{Entry, TaskSnapshot};
use domain::{Epoch, Named as _, Status, TaskId, Usd};

/// Commits or tasks of one read.
const PAGE: i64 = 1_000;

const HISTORY_OF: &str =
    "SELECT seq, at, boot_ms, done FROM history WHERE seq >= ?1 AND instr(done, ?2) > 0 ORDER BY seq";

const HISTORY: &str = "SELECT seq, at, boot_ms, done FROM history WHERE seq > ?1 ORDER BY seq LIMIT ?2";

/// Reads tasks' rows in short. Events are counted from 1 to the last and in all: where the two differ, there is a gap
/// or one too many.
const STANDING: &str = "SELECT id, status, epoch, finished_attempts, crashes, max_attempts, last_event, cost_usd,
        (SELECT COUNT(*) FROM events WHERE task_id = id AND seq BETWEEN 1 AND last_event),
        (SELECT COUNT(*) FROM events WHERE task_id = id),
        (SELECT data FROM events WHERE task_id = id AND kind = 'result' ORDER BY seq DESC LIMIT 1),
        EXISTS (SELECT 1 FROM events WHERE task_id = id AND kind IN ('assistant', 'tool_use'))
            OR EXISTS (SELECT 1 FROM attempts WHERE task_id = id AND (cost_usd > 0 OR output_tokens > 0))
    FROM tasks WHERE id > ?1 ORDER BY id LIMIT ?2";

/// Reads the changes of the commits behind this one, in order.
pub fn history(db: Db<'_>, after: i64) -> Result<Vec<Entry>, StoreError> {
    let rows = db.all(HISTORY, [after, PAGE], |row| {
        let done = row.get(3).unwrap_or_else(|error| format!("it can't be read: {error}"));
        Ok(HistoryRow { seq: row.get(0)?, at: row.get(1)?, boot_ms: row.get(2)?, done })
    })?;
    Ok(rows.into_iter().flat_map(entries_of).collect())
}

/// Reads the changes of a task in the commits from this one on.
pub fn history_of(db: Db<'_>, task: TaskId, from: i64) -> Result<Vec<Entry>, StoreError> {
    let rows = db.all(HISTORY_OF, params![from, task.to_string()], |row| {
        Ok(HistoryRow { seq: row.get(0)?, at: row.get(1)?, boot_ms: row.get(2)?, done: row.get(3)? })
    })?;
    Ok(rows.into_iter().flat_map(entries_of).filter(|entry| entry.did.is_about(task)).collect())
}

/// Reads what the row of a task says.
pub fn standing(db: Db<'_>, task: TaskId) -> Result<Option<TaskSnapshot>, StoreError> {
    let before = TaskId::from_u128(task.uuid().as_u128().saturating_sub(1));
    Ok(some_standings(db, before, 1)?.pop().and_then(Result::ok).filter(|standing| standing.task == task))
}

/// The number of the newest commit; 0 where there is none.
pub fn newest_commit(db: Db<'_>) -> Result<i64, StoreError> {
    Ok(db.one("SELECT COALESCE(MAX(seq), 0) FROM history", [], |row| row.get(0))?.unwrap_or(0))
}

/// The first commit of a time: the history is in its order, but for clocks that differ.
pub fn find(db: Db<'_>, find: FindCommit) -> Result<FoundCommit, StoreError> {
    let from = |seq: i64| {
        let text = "SELECT seq, at FROM history WHERE seq >= ?1 ORDER BY seq LIMIT 1";
        db.one(text, [seq], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))
    };
    let newest = newest_commit(db)?;
    let mut search = CommitSearch::new(newest, find);
    while let Some(middle) = search.middle() {
        search.note(from(middle)?);
    }
    Ok(search.found(from(search.from())?))
}

/// Tasks behind this one, in order; of one that can't be read, why.
pub fn standings(db: Db<'_>, after: TaskId) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
    some_standings(db, after, PAGE)
}

fn some_standings(db: Db<'_>, after: TaskId, most: i64) -> Result<Vec<Lenient<TaskSnapshot>>, StoreError> {
    let mut standings = db.all(STANDING, params![after.as_bytes(), most], |row| {
        let id = TaskId::of(row.get(0)?);
        Ok(standing_of(id, row).unwrap_or_else(|error| Err(UnreadRow { id, why: error.to_string() })))
    })?;
    let costs = "SELECT epoch, cost_usd FROM attempts WHERE task_id = ?1 AND cost_usd IS NOT NULL";
    for standing in standings.iter_mut().flatten() {
        standing.attempt_costs = db.readable(costs, [standing.task.as_bytes()], "attempt", |row| {
            Ok((row.get(0).map(Epoch::of)?, row.get(1).map(Usd::of)?))
        })?;
    }
    Ok(standings)
}

fn standing_of(task: TaskId, row: &Row<'_>) -> rusqlite::Result<Lenient<TaskSnapshot>> {
    let status: String = row.get(1)?;
    let Some(status) = Status::from_name(&status) else {
        return Ok(Err(UnreadRow { id: task, why: format!("status {status}") }));
    };
    let (last, numbered, all): (i64, i64, i64) = (row.get(6)?, row.get(8)?, row.get(9)?);
    let (result, answered): (Option<String>, bool) = (row.get(10)?, row.get(11)?);
    Ok(Ok(TaskSnapshot {
        task,
        status,
        epoch: row.get(2).map(Epoch::of)?,
        ended: row.get(3)?,
        crashes: row.get(4)?,
        max_attempts: row.get(5)?,
        events: (last, if numbered == all { numbered } else { -all }),
        cost: row.get::<_, Option<f64>>(7)?.map(Usd::of),
        attempt_costs: Vec::new(),
        well_completed: result.is_some_and(|result| is_well(&result, answered)),
    }))
}
