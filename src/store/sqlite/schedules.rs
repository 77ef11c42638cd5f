//! Statements on schedules, and on what they have done.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::{Params, Row, params};
use uuid::Uuid;

use super::query::{Db, name, time};
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::convert::schedule_of;
use crate::store::rows::{ScheduleRow, ScheduleRunRow};
use crate::store::tx::Schedules;
use crate::store::views::{LastTask, ReadRuns, Schedule, ScheduleRun};
use domain::{Named as _, ScheduleId, Status, TaskId, Timestamp};

/// The columns of [`schedule`].
const COLUMNS: &str =
    "id, name, cron, time_zone, spec, key_name, missed, overlap, continue_session, enabled, next_at, created_at";

static ALL: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE ?1 IS NULL OR key_name = ?1 ORDER BY id"));
static FIND: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE id = ?1"));
static DUE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE enabled AND next_at <= ?1 ORDER BY next_at"));

/// The firing to come stays with its timetable: it may have been moved ahead since the change was read.
const PUT: &str = "INSERT INTO schedules (id, name, cron, time_zone, spec, key_name, missed, overlap, continue_session,
        enabled, next_at, created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, cron = excluded.cron, time_zone = excluded.time_zone,
        spec = excluded.spec, missed = excluded.missed, overlap = excluded.overlap,
        continue_session = excluded.continue_session, enabled = excluded.enabled,
        next_at = CASE WHEN cron = excluded.cron AND time_zone = excluded.time_zone AND enabled = excluded.enabled
            THEN next_at ELSE excluded.next_at END";

const IS_NEXT: &str = "SELECT 1 FROM schedules WHERE id = ?1 AND (?2 IS NULL OR (enabled AND next_at = ?2))";

const RAN: &str = "INSERT INTO schedule_runs (schedule_id, due_at, fired_at, outcome, task_id, detail)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6)";

/// A thousand of a schedule's firings stay.
const FORGET: &str = "DELETE FROM schedule_runs WHERE schedule_id = ?1 AND n < (SELECT n FROM schedule_runs
    WHERE schedule_id = ?1 ORDER BY n DESC LIMIT 1 OFFSET 999)";

const SET_NEXT: &str = "UPDATE schedules SET next_at = ?3 WHERE id = ?1 AND (?2 IS NULL OR next_at = ?2)";

const NEXT_FIRING: &str =
    "SELECT next_at FROM schedules WHERE enabled AND next_at IS NOT NULL ORDER BY next_at LIMIT 1";

const RUNS: &str = "SELECT due_at, fired_at, outcome, task_id, detail, (SELECT status FROM tasks WHERE id = task_id)
    FROM schedule_runs WHERE schedule_id = ?1 ORDER BY n DESC LIMIT ?2";

const LAST_TASK: &str = "SELECT t.id, t.status FROM schedule_runs r JOIN tasks t ON t.id = r.task_id
    WHERE r.schedule_id = ?1 AND (NOT ?2 OR t.status = 'completed') ORDER BY r.n DESC LIMIT 1";

fn schedule(row: &Row<'_>) -> rusqlite::Result<ScheduleRow> {
    Ok(ScheduleRow {
        id: row.get(0).map(ScheduleId::of)?,
        name: row.get(1)?,
        cron: row.get(2)?,
        time_zone: row.get(3)?,
        // One that is no text is no request: the schedule is shown, and says so.
        spec: row.get(4).unwrap_or_default(),
        key_name: row.get(5)?,
        missed: row.get(6)?,
        overlap: row.get(7)?,
        continue_session: row.get(8)?,
        enabled: row.get(9)?,
        next_at: time::maybe(row, 10)?,
        created_at: time::at(row, 11)?,
    })
}

fn some(db: Db<'_>, text: &str, values: impl Params) -> Result<Vec<Schedule>, StoreError> {
    Ok(db.readable(text, values, "schedule", schedule)?.into_iter().map(schedule_of).collect())
}

/// Reads all schedules, or those of a key, oldest first.
pub fn all(db: Db<'_>, key: Option<&str>) -> Result<Vec<Schedule>, StoreError> {
    some(db, &ALL, [key])
}

/// A schedule.
pub fn find(db: Db<'_>, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
    Ok(some(db, &FIND, [id.as_bytes()])?.pop())
}

/// The schedules that fire by now.
pub fn due(db: Db<'_>, now: Timestamp) -> Result<Vec<Schedule>, StoreError> {
    some(db, &DUE, [now.0])
}

/// Reads the time of the next firing.
pub fn next_firing(db: Db<'_>) -> Result<Option<Timestamp>, StoreError> {
    db.one(NEXT_FIRING, [], |row| time::at(row, 0))
}

/// Reads the firings of a schedule, newest first.
pub fn runs(db: Db<'_>, read: ReadRuns) -> Result<Vec<ScheduleRun>, StoreError> {
    db.readable(
        RUNS,
        params![read.schedule.as_bytes(), i64::try_from(read.limit).unwrap_or(i64::MAX)],
        "firing",
        |row| {
            let (task, status): (Option<Uuid>, Option<String>) = (row.get(3)?, row.get(5)?);
            Ok(ScheduleRun {
                due_at: time::maybe(row, 0)?,
                fired_at: time::at(row, 1)?,
                outcome: name(row, 2)?,
                task: task.map(|task| (TaskId::of(task), status.as_deref().and_then(Status::from_name))),
                detail: row.get(4)?,
            })
        },
    )
}

/// The newest task of a schedule, and its status.
pub fn last_task(db: Db<'_>, last: LastTask) -> Result<Option<(TaskId, Status)>, StoreError> {
    let found: Option<(TaskId, String)> =
        db.one(LAST_TASK, params![last.schedule.as_bytes(), last.completed], |row| {
            Ok((row.get(0).map(TaskId::of)?, row.get(1)?))
        })?;
    Ok(found.and_then(|(id, status)| Some((id, Status::from_name(&status)?))))
}

#[async_trait(?Send)]
impl Schedules for SqliteTx<'_> {
    async fn has_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError> {
        self.db()?.any("SELECT 1 FROM schedules WHERE id = ?1", [id.as_bytes()])
    }

    async fn count_schedules(&mut self, key: &str) -> Result<i64, StoreError> {
        let text = "SELECT COUNT(*) FROM schedules WHERE key_name = ?1";
        Ok(self.db()?.one(text, [key], |row| row.get(0))?.unwrap_or(0))
    }

    async fn is_next_firing(&mut self, id: ScheduleId, due: Option<Timestamp>) -> Result<bool, StoreError> {
        self.db()?.any(IS_NEXT, params![id.as_bytes(), due.map(|due| due.0)])
    }

    async fn put_schedule(&mut self, row: &ScheduleRow) -> Result<(), StoreError> {
        let values = params![
            row.id.as_bytes(),
            row.name,
            row.cron,
            row.time_zone,
            row.spec,
            row.key_name,
            row.missed,
            row.overlap,
            row.continue_session,
            row.enabled,
            row.next_at.map(|next| next.0),
            row.created_at.0
        ];
        self.db()?.execute(PUT, values)?;
        Ok(())
    }

    async fn remove_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError> {
        let db = self.db()?;
        db.execute("DELETE FROM schedule_runs WHERE schedule_id = ?1", [id.as_bytes()])?;
        Ok(db.execute("DELETE FROM schedules WHERE id = ?1", [id.as_bytes()])? > 0)
    }

    async fn insert_schedule_run(&mut self, row: &ScheduleRunRow<'_>) -> Result<(), StoreError> {
        let ScheduleRunRow { schedule, due_at, fired_at, outcome, task, detail } = *row;
        let db = self.db()?;
        db.execute(
            RAN,
            params![
                schedule.as_bytes(),
                due_at.map(|due| due.0),
                fired_at.0,
                outcome.name(),
                task.map(TaskId::uuid),
                detail
            ],
        )?;
        db.execute(FORGET, [schedule.as_bytes()])?;
        Ok(())
    }

    async fn set_next_firing(
        &mut self,
        id: ScheduleId,
        was: Option<Timestamp>,
        next: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let (was, next) = (was.map(|was| was.0), next.map(|next| next.0));
        Ok(self.db()?.execute(SET_NEXT, params![id.as_bytes(), was, next])? > 0)
    }
}
