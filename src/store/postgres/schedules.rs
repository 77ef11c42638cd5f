//! Statements on schedules, and on what they have done.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::read_state::NOW;
use super::tx::{PostgresTx, only};
use super::value::{Unread, Value, get, params};
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
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE $1::text IS NULL OR key_name = $1 ORDER BY id"));
static FIND: LazyLock<String> = LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE id = $1"));
static DUE: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {COLUMNS} FROM schedules WHERE enabled AND next_at <= {NOW} ORDER BY next_at"));

/// The firing to come stays with its timetable: it may have been moved ahead since the change was read.
const PUT: &str = "INSERT INTO schedules (id, name, cron, time_zone, spec, key_name, missed, overlap, continue_session,
        enabled, next_at, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
    ON CONFLICT (id) DO UPDATE SET name = excluded.name, cron = excluded.cron, time_zone = excluded.time_zone,
        spec = excluded.spec, missed = excluded.missed, overlap = excluded.overlap,
        continue_session = excluded.continue_session, enabled = excluded.enabled,
        next_at = CASE WHEN schedules.cron = excluded.cron AND schedules.time_zone = excluded.time_zone
            AND schedules.enabled = excluded.enabled THEN schedules.next_at ELSE excluded.next_at END";

const IS_NEXT: &str = "SELECT 1 FROM schedules WHERE id = $1 AND ($2::bigint IS NULL OR (enabled AND next_at = $2))";

const RAN: &str = "INSERT INTO schedule_runs (schedule_id, due_at, fired_at, outcome, task_id, detail)
    VALUES ($1, $2, $3, $4, $5, $6)";

/// A thousand of a schedule's firings stay.
const FORGET: &str = "DELETE FROM schedule_runs WHERE schedule_id = $1 AND n < (SELECT n FROM schedule_runs
    WHERE schedule_id = $1 ORDER BY n DESC LIMIT 1 OFFSET 999)";

const SET_NEXT: &str =
    "UPDATE schedules SET next_at = $3 WHERE id = $1 AND ($2::bigint IS NULL OR next_at = $2) RETURNING 1";

const NEXT_FIRING: &str =
    "SELECT next_at FROM schedules WHERE enabled AND next_at IS NOT NULL ORDER BY next_at LIMIT 1";

const RUNS: &str = "SELECT due_at, fired_at, outcome, task_id, detail, (SELECT status FROM tasks WHERE id = task_id)
    FROM schedule_runs WHERE schedule_id = $1 ORDER BY n DESC LIMIT $2";

const LAST_TASK: &str = "SELECT t.id, t.status FROM schedule_runs r JOIN tasks t ON t.id = r.task_id
    WHERE r.schedule_id = $1 AND (NOT $2 OR t.status = 'completed') ORDER BY r.n DESC LIMIT 1";

fn schedule(row: &Row) -> Result<ScheduleRow, Unread> {
    Ok(ScheduleRow {
        id: get(row, 0)?,
        name: get(row, 1)?,
        cron: get(row, 2)?,
        time_zone: get(row, 3)?,
        // One that is no text is no request: the schedule is shown, and says so.
        spec: get(row, 4).unwrap_or_default(),
        key_name: get(row, 5)?,
        missed: get(row, 6)?,
        overlap: get(row, 7)?,
        continue_session: get(row, 8)?,
        enabled: get(row, 9)?,
        next_at: get(row, 10)?,
        created_at: get(row, 11)?,
    })
}

async fn some(db: &Connection, text: &str, values: &[Value]) -> Result<Vec<Schedule>, StoreError> {
    Ok(db.readable(text, values, "schedule", schedule).await?.into_iter().map(schedule_of).collect())
}

/// Reads all schedules, or those of a key, oldest first.
pub async fn all(db: &Connection, key: Option<&str>) -> Result<Vec<Schedule>, StoreError> {
    some(db, &ALL, &params![key]).await
}

/// A schedule.
pub async fn find(db: &Connection, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
    Ok(some(db, &FIND, &params![id]).await?.pop())
}

/// The schedules that fire by now.
pub async fn due(db: &Connection) -> Result<Vec<Schedule>, StoreError> {
    some(db, &DUE, &[]).await
}

/// Reads the time of the next firing.
pub async fn next_firing(db: &Connection) -> Result<Option<Timestamp>, StoreError> {
    db.one(NEXT_FIRING, &[], only).await
}

/// Reads the firings of a schedule, newest first.
pub async fn runs(db: &Connection, read: ReadRuns) -> Result<Vec<ScheduleRun>, StoreError> {
    db.readable(RUNS, &params![read.schedule, i64::try_from(read.limit).unwrap_or(i64::MAX)], "firing", |row| {
        let (task, status): (Option<TaskId>, Option<String>) = (get(row, 3)?, get(row, 5)?);
        Ok(ScheduleRun {
            due_at: get(row, 0)?,
            fired_at: get(row, 1)?,
            outcome: get(row, 2)?,
            task: task.map(|task| (task, status.as_deref().and_then(Status::from_name))),
            detail: get(row, 4)?,
        })
    })
    .await
}

/// The newest task of a schedule, and its status.
pub async fn last_task(db: &Connection, last: LastTask) -> Result<Option<(TaskId, Status)>, StoreError> {
    let found: Option<(TaskId, String)> =
        db.one(LAST_TASK, &params![last.schedule, last.completed], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
    Ok(found.and_then(|(id, status)| Some((id, Status::from_name(&status)?))))
}

#[async_trait(?Send)]
impl Schedules for PostgresTx<'_> {
    async fn has_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError> {
        self.any("SELECT 1 FROM schedules WHERE id = $1", params![id]).await
    }

    async fn count_schedules(&mut self, key: &str) -> Result<i64, StoreError> {
        let text = "SELECT COUNT(*) FROM schedules WHERE key_name = $1";
        Ok(self.one(text, params![key], only).await?.unwrap_or(0))
    }

    async fn is_next_firing(&mut self, id: ScheduleId, due: Option<Timestamp>) -> Result<bool, StoreError> {
        self.any(IS_NEXT, params![id, due]).await
    }

    async fn put_schedule(&mut self, row: &ScheduleRow) -> Result<(), StoreError> {
        let values = params![
            row.id,
            &row.name,
            &row.cron,
            &row.time_zone,
            &row.spec,
            &row.key_name,
            &row.missed,
            &row.overlap,
            row.continue_session,
            row.enabled,
            row.next_at,
            row.created_at
        ];
        self.defer(PUT, values);
        Ok(())
    }

    async fn remove_schedule(&mut self, id: ScheduleId) -> Result<bool, StoreError> {
        self.defer("DELETE FROM schedule_runs WHERE schedule_id = $1", params![id]);
        self.any("DELETE FROM schedules WHERE id = $1 RETURNING 1", params![id]).await
    }

    async fn insert_schedule_run(&mut self, row: &ScheduleRunRow<'_>) -> Result<(), StoreError> {
        let ScheduleRunRow { schedule, due_at, fired_at, outcome, task, detail } = *row;
        self.defer(RAN, params![schedule, due_at, fired_at, outcome.name(), task, detail]);
        self.defer(FORGET, params![schedule]);
        Ok(())
    }

    async fn set_next_firing(
        &mut self,
        id: ScheduleId,
        was: Option<Timestamp>,
        next: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        self.any(SET_NEXT, params![id, was, next]).await
    }
}
