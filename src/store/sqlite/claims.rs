//! Statements on what is ready, and on leases.
//!
//! Those that are run for every claim or report name their index (`INDEXED BY`): left alone, SQLite takes that of the
//! status, and walks all pending tasks.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::limits::groups_of;
use super::query::{Db, lossy};
use super::table::Table;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::families;
use crate::store::rows::{Allowance, ClaimRow, Lenient, MAX_LANES, MAX_LINES, ReadyRow, TaskRow, UnreadRow};
use crate::store::tx::Claims;
use domain::{BootInstant, Epoch, LeaseKey, Named as _, Share, Status, TaskId, Timestamp, Usd, WorkerInstanceId};

/// A task to be claimed, and its key. Whatever has been claimed meanwhile is not ready any more: this is inside an immediate
/// transaction.
static CLAIMABLE: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {}, key_name FROM tasks WHERE id = ?1 AND status = 'pending' AND due_at IS NULL", TaskRow::COLUMNS)
});

/// As [`claimed`] does with the row. `RETURNING` would give each statement a journal and a table of its own.
const CLAIM: &str = "UPDATE tasks SET status = 'running', epoch = epoch + 1, attempt = attempt + 1,
        holder = ?1, worker = ?2, lease_ms = ?3, lease_boot = ?4,
        started_at = COALESCE(started_at, ?5), last_event = last_event + 1, attempt_events = 0
    WHERE id = ?6";

// As it stands in the statement.
const _: () = assert!(MAX_LINES == 5000, "the limit of LINES");

/// Goes from line to line of the index, each of a lane and a share, however many tasks it has. A comparison of both at once
/// would be a walk over all of the lane.
const LINES: &str = "WITH RECURSIVE lines(lane, share) AS (
        SELECT * FROM (SELECT lane, share FROM tasks INDEXED BY tasks_ready
            WHERE status = 'pending' AND due_at IS NULL ORDER BY lane, share LIMIT 1)
        UNION ALL
        SELECT next.lane, next.share FROM lines JOIN tasks next ON next.rowid = COALESCE(
            (SELECT rowid FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL
                AND lane = lines.lane AND share > lines.share ORDER BY share LIMIT 1),
            (SELECT rowid FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL
                AND lane > lines.lane ORDER BY lane, share LIMIT 1))
        LIMIT 5000)
    SELECT lane, lines.share, COALESCE(weight, 1), COALESCE(pass, 0) FROM lines LEFT JOIN shares ON name = lines.share";

/// The first ready tasks of a share in a lane: each has a line of its own in the index, which is read no further than it
/// must be.
static READY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT id, priority, crashes, working_directory, exclusive, max_budget_usd, {}, key_name,
            concurrency_key, CASE WHEN ?4 AND json_valid(spec) THEN spec ->> '$.tags' END
        FROM tasks INDEXED BY tasks_ready
        WHERE status = 'pending' AND due_at IS NULL AND lane = ?1 AND share = ?2 ORDER BY priority DESC, id LIMIT ?3",
        families::used()
    )
});

// As it stands in the statement.
const _: () = assert!(MAX_LANES == 200, "the limit of LANES");

/// Goes from lane to lane, however many tasks each has, and never into that of tasks without requirements.
const LANES: &str = "WITH RECURSIVE lanes(lane) AS (
        VALUES ('')
        UNION ALL
        SELECT (SELECT lane FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL
            AND lane > lanes.lane ORDER BY lane LIMIT 1) FROM lanes WHERE lane IS NOT NULL LIMIT 202)
    SELECT lane FROM lanes WHERE lane > '' LIMIT 200";

/// Walks the index of what waits for a time, and no more.
const DUE: &str = "UPDATE tasks INDEXED BY tasks_due SET due_at = NULL, held = NULL
    WHERE status = 'pending' AND due_at <= ?1 RETURNING id";

/// The columns of [`Allowance`], in order.
const ALLOWANCE: &str = "SELECT
        paused OR EXISTS (SELECT 1 FROM credentials WHERE id = ?2 AND parked_until > ?3), concurrency,
        (SELECT COUNT(*) FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1),
        (SELECT COALESCE(MAX(crashes), 0) FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1),
        EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_exclusive WHERE exclusive AND status IN ('pending','running'))
            OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_concurrency_key
                WHERE concurrency_key IS NOT NULL AND status IN ('pending','running')),
        EXISTS (SELECT 1 FROM limits),
        EXISTS (SELECT 1 FROM api_keys INDEXED BY api_keys_budget WHERE daily_budget_usd IS NOT NULL), turn,
        EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at <= ?3)
    FROM queue_state WHERE id = 1";

const RENEW: &str = "UPDATE tasks SET lease_ms = ?1, lease_boot = ?2 WHERE id = ?3 AND epoch = ?4";

const LEASES: &str = "SELECT id, epoch FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1";

static OF_HOLDER: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM tasks WHERE status = 'running' AND holder = ?1", TaskRow::COLUMNS));

const BUSY: &str =
    "SELECT working_directory, MAX(exclusive) FROM tasks INDEXED BY tasks_running WHERE status = 'running' GROUP BY 1";

/// The shares of tasks that are held back under a name, each found by one look into the index.
const HELD_SHARES: &str = "WITH RECURSIVE shares_held(share) AS (
        SELECT * FROM (SELECT share FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held = ?1 ORDER BY share LIMIT 1)
        UNION ALL
        SELECT (SELECT share FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held = ?1
            AND share > shares_held.share ORDER BY share LIMIT 1) FROM shares_held WHERE share IS NOT NULL)
    SELECT share FROM shares_held WHERE share IS NOT NULL";

const RELEASE: &str =
    "UPDATE tasks SET held = NULL, due_at = NULL WHERE id IN (SELECT id FROM tasks INDEXED BY tasks_held
        WHERE status = 'pending' AND held = ?1 AND share = ?3 ORDER BY priority DESC, id LIMIT ?2) RETURNING id";

const RELEASE_ALL: &str = "UPDATE tasks INDEXED BY tasks_held SET held = NULL, due_at = NULL
    WHERE status = 'pending' AND held = ?1 RETURNING id";

/// A task; of one that can't be read, its id and why.
fn lenient(row: &Row<'_>) -> rusqlite::Result<Lenient<TaskRow>> {
    match TaskRow::read(row) {
        Ok(row) => Ok(Ok(row)),
        Err(error) => Ok(Err(UnreadRow { id: TaskId::of(row.get(0)?), why: error.to_string() })),
    }
}

/// A task as its claim leaves it.
fn claimed(row: TaskRow, claim: &ClaimRow<'_>) -> TaskRow {
    TaskRow {
        status: Status::Running.into(),
        epoch: row.epoch.next(),
        attempt: row.attempt + 1,
        holder: Some(claim.holder),
        worker: Some(claim.worker.to_owned()),
        lease_ms: Some(claim.expires.ms),
        lease_boot: Some(claim.expires.boot),
        started_at: row.started_at.or(Some(claim.now.0)),
        last_event: row.last_event + 1,
        attempt_events: 0,
        ..row
    }
}

/// The leases of a worker.
pub fn leases_of(db: Db<'_>, holder: WorkerInstanceId) -> Result<Vec<LeaseKey>, StoreError> {
    db.all(LEASES, [holder.as_bytes()], |row| {
        Ok(LeaseKey { task: TaskId::of(row.get(0)?), epoch: row.get(1).map(Epoch::of)? })
    })
}

/// The lanes with requirements in which tasks are ready.
pub fn lanes(db: Db<'_>) -> Result<Vec<String>, StoreError> {
    db.readable(LANES, [], "task", |row| row.get(0))
}

fn ready(row: &Row<'_>, share: &str, turns: Share) -> rusqlite::Result<ReadyRow> {
    Ok(ReadyRow {
        id: TaskId::of(row.get(0)?),
        priority: row.get(1)?,
        crashes: row.get(2)?,
        share: share.to_owned(),
        turns,
        working_directory: row.get(3)?,
        exclusive: row.get(4)?,
        max_budget_usd: row.get::<_, Option<f64>>(5)?.map(Usd::of),
        used_usd: row.get::<_, Option<f64>>(6)?.map(Usd::of),
        key_name: row.get(7)?,
        groups: groups_of(row, 7)?,
    })
}

fn allowance(row: &Row<'_>) -> rusqlite::Result<Allowance> {
    Ok(Allowance {
        held_back: row.get(0)?,
        concurrency: row.get(1)?,
        running: row.get(2)?,
        own_crashes: row.get(3)?,
        gated: row.get(4)?,
        limited: row.get(5)?,
        key_budgets: row.get(6)?,
        turn: row.get(7)?,
        any_due: row.get(8)?,
        lanes: Vec::new(),
    })
}

#[async_trait(?Send)]
impl Claims for SqliteTx<'_> {
    async fn promote_due(&mut self, now: Timestamp) -> Result<Vec<TaskId>, StoreError> {
        self.db()?.all(DUE, [now.0], |row| row.get(0).map(TaskId::of))
    }

    async fn allowance(
        &mut self,
        holder: WorkerInstanceId,
        credential: &str,
        now: Timestamp,
    ) -> Result<Option<Allowance>, StoreError> {
        let found = self.db()?.one(ALLOWANCE, params![holder.as_bytes(), credential, now.0], allowance)?;
        let Some(found) = found else { return Ok(None) };
        Ok(Some(Allowance { lanes: self.lanes().await?, ..found }))
    }

    async fn claim(&mut self, claim: &ClaimRow<'_>) -> Result<Vec<Lenient<TaskRow>>, StoreError> {
        let ClaimRow { holder, worker, expires, now, tasks } = *claim;
        let (db, holder, boot) = (self.db()?, holder.as_bytes(), expires.boot.as_bytes());
        // Found once for all: their texts are long.
        let (mut find, mut take) = (db.0.prepare_cached(&CLAIMABLE)?, db.0.prepare_cached(CLAIM)?);
        let mut claimed_rows = Vec::with_capacity(tasks.len());
        for task in tasks {
            let read = |row: &Row<'_>| Ok((lenient(row)?, lossy(row, TaskRow::WIDTH)?));
            let Some((row, key)) = find.query_map([task.as_bytes()], read)?.next().transpose()? else { continue };
            take.execute(params![holder, worker, expires.ms, boot, now.0, task.as_bytes()])?;
            claimed_rows.push((row.map(|row| claimed(row, claim)), key));
        }
        drop((find, take));
        let moved = |(task, key): (Lenient<TaskRow>, String)| {
            self.count(&key, Status::Pending.name(), -1);
            self.count(&key, Status::Running.name(), 1);
            task
        };
        Ok(claimed_rows.into_iter().map(moved).collect())
    }

    async fn renew(&mut self, leases: &[LeaseKey], expires: BootInstant) -> Result<(), StoreError> {
        let db = self.db()?;
        for key in leases {
            db.execute(RENEW, params![expires.ms, expires.boot.as_bytes(), key.task.as_bytes(), key.epoch.number()])?;
        }
        Ok(())
    }

    async fn leases_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<LeaseKey>, StoreError> {
        leases_of(self.db()?, holder)
    }

    async fn tasks_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<Lenient<TaskRow>>, StoreError> {
        self.db()?.all(&OF_HOLDER, [holder.as_bytes()], lenient)
    }

    async fn lanes(&mut self) -> Result<Vec<String>, StoreError> {
        lanes(self.db()?)
    }

    async fn ready(&mut self, limit: u32, tags: bool, lanes: &[String]) -> Result<Vec<ReadyRow>, StoreError> {
        let db = self.db()?;
        let lines = db.readable(LINES, [], "share", |row| {
            let (lane, share): (String, String) = (row.get(0)?, row.get(1)?);
            Ok((lane, share, Share { weight: row.get(2)?, pass: row.get(3)? }))
        })?;
        let mut found = Vec::new();
        for (lane, share, turns) in lines.iter().filter(|(lane, ..)| lanes.contains(lane)) {
            found.extend(db.all(&READY, params![lane, share, limit, tags], |row| ready(row, share, *turns))?);
        }
        Ok(found)
    }

    async fn busy_directories(&mut self) -> Result<Vec<(String, bool)>, StoreError> {
        self.db()?.all(BUSY, [], |row| Ok((row.get::<_, Option<String>>(0)?.unwrap_or_default(), row.get(1)?)))
    }

    async fn hold(&mut self, id: TaskId, hold: &str, due: Timestamp) -> Result<(), StoreError> {
        self.db()?
            .execute("UPDATE tasks SET held = ?1, due_at = ?2 WHERE id = ?3", params![hold, due.0, id.as_bytes()])?;
        Ok(())
    }

    async fn release_holds(&mut self, hold: &str, limit: Option<i64>) -> Result<Vec<TaskId>, StoreError> {
        let db = self.db()?;
        let Some(limit) = limit else { return db.all(RELEASE_ALL, [hold], |row| row.get(0).map(TaskId::of)) };
        let mut released = Vec::new();
        let shares: Vec<String> = db.readable(HELD_SHARES, [hold], "task", |row| row.get(0))?;
        for share in shares {
            let values = params![hold, limit, share];
            released.extend(db.all(RELEASE, values, |row| row.get(0).map(TaskId::of))?);
        }
        Ok(released)
    }

    async fn wake(&mut self, id: TaskId) -> Result<(), StoreError> {
        let text = "UPDATE tasks SET due_at = NULL, held = NULL WHERE id = ?1 AND status = 'pending'";
        self.db()?.execute(text, [id.as_bytes()])?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::{Connection, StatementStatus};

    use super::super::tasks::FIND;
    use super::*;
    use crate::store::conformance::{insert, task};

    /// Steps of SQLite's machine for all rows of a result.
    fn steps(db: &Connection, text: &str, values: impl rusqlite::Params) -> i32 {
        let mut statement = db.prepare(text).expect("a statement");
        let mut rows = statement.query(values).expect("a result");
        while rows.next().expect("a row").is_some() {}
        drop(rows);
        statement.get_status(StatementStatus::VmStep)
    }

    #[actix::test]
    async fn what_a_claim_asks_walks_no_line_of_tasks_however_long_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cc.db");
        let store = crate::store::open_file(&file, false).await.expect("a store");
        let asked = || {
            let db = Connection::open(&file).expect("it");
            let holder = WorkerInstanceId::new();
            [
                steps(&db, LINES, []),
                steps(&db, LANES, []),
                steps(&db, &READY, params!["", "default", 5, false]),
                steps(&db, ALLOWANCE, params![holder.as_bytes(), "", 1]),
                steps(&db, &CLAIMABLE, [task(1).id.as_bytes()]),
                steps(&db, &FIND, [task(1).id.as_bytes()]),
                steps(&db, HELD_SHARES, ["directory:/x"]),
            ]
        };
        let place = |number: u128| match number % 4 {
            0 => (",gpu,", "default"),
            1 => (",gpu,", "other"),
            2 => ("", "other"),
            _ => ("", "default"),
        };
        let rows = |numbers: std::ops::Range<u128>| -> Vec<TaskRow> {
            let row = |number| {
                let ((lane, share), held) = (place(number), (number % 8 > 5).then(|| "directory:/x".to_owned()));
                let due_at = held.is_some().then_some(i64::MAX);
                TaskRow { lane: lane.to_owned(), share: share.to_owned(), held, due_at, ..task(number) }
            };
            numbers.map(row).collect()
        };
        insert(&*store, &rows(1..100)).await;
        let few = asked();
        insert(&*store, &rows(100..4_000)).await;
        assert_eq!(asked(), few);
    }
}
