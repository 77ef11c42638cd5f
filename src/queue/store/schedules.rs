//! Schedules, and what they have done. A firing is one transaction: the task, the history and the next firing, so
//! that each happens once, however many processes look at the clock.

use rusqlite::params;
use sea_orm::{ConnectionTrait, QueryResult, Value};

use super::row::{sql, warn_once};
use super::{Change, Reader, StoreError, Tx};
use crate::process::wall_now;
use crate::queue::messages::Submitted;
use crate::queue::schedules::{
    Fire, Fired, Firing, LastTask, PutSchedule, ReadRuns, RemoveSchedule, Replan, Run, Schedule, ScheduleId,
};
use crate::task::stored::{self, StoredSpec};
use crate::task::{Did, Missed, Overlap, Status, TaskId, Wall};

const COLUMNS: &str =
    "id, name, cron, time_zone, spec, key_name, missed, overlap, continue_session, enabled, next_at, created_at";

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

/// So many of a schedule's history stay.
const FORGET: &str = "DELETE FROM schedule_runs WHERE schedule_id = ?1 AND n < (SELECT n FROM schedule_runs
    WHERE schedule_id = ?1 ORDER BY n DESC LIMIT 1 OFFSET 999)";

impl Change for PutSchedule {
    type Answer = bool;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let one = &self.schedule;
        if !self.new && tx.one("SELECT 1 FROM schedules WHERE id = ?1", [one.id], |_| Ok(()))?.is_none() {
            return Ok(false);
        }
        let spec = stored::to_text(&one.spec).map_err(|error| StoreError::unwritable(one.id, &error))?;
        let (missed, overlap) = (missed_name(one.missed), overlap_name(one.overlap));
        let next = one.next_at.map(|next| next.0);
        let values = params![
            one.id,
            one.name,
            one.cron,
            one.time_zone,
            spec,
            one.key,
            missed,
            overlap,
            one.continue_session,
            one.enabled,
            next,
            one.created_at.0
        ];
        tx.execute(PUT, values)?;
        tx.record(&Did::PutSchedule { schedule: one.id, new: self.new });
        Ok(true)
    }
}

impl Change for RemoveSchedule {
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        tx.execute("DELETE FROM schedule_runs WHERE schedule_id = ?1", [self.0])?;
        let removed = tx.execute("DELETE FROM schedules WHERE id = ?1", [self.0])? > 0;
        if removed {
            tx.record(&Did::RemoveSchedule { schedule: self.0 });
        }
        Ok(removed)
    }
}

impl Change for Fire {
    type Answer = Fired;

    const MAKES_WORK: bool = true;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Fired, StoreError> {
        let due = self.due.map(|due| due.0);
        if tx.one(IS_NEXT, params![self.schedule, due], |_| Ok(()))?.is_none() {
            return Ok(Fired::Stale);
        }
        let (fired, outcome, task) = match &self.firing {
            Firing::Submit(submit) => match submit.run(tx)? {
                Submitted::Created(task) => {
                    let id = task.id;
                    (Fired::Submitted(task), "submitted", Some(id))
                }
                refused => return Ok(Fired::NotTaken(refused)),
            },
            Firing::Missed => (Fired::Noted, "missed", None),
            Firing::Skipped => (Fired::Noted, "skipped", None),
            Firing::Refused => (Fired::Noted, "refused", None),
        };
        tx.record(&Did::Fire { schedule: self.schedule, due, made: task });
        tx.execute(RAN, params![self.schedule, due, tx.now.0, outcome, task, self.detail])?;
        tx.execute(FORGET, [self.schedule])?;
        if self.due.is_some() {
            let next = self.next.map(|next| next.0);
            tx.execute("UPDATE schedules SET next_at = ?2 WHERE id = ?1", params![self.schedule, next])?;
        }
        Ok(fired)
    }
}

impl Change for Replan {
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let text = "UPDATE schedules SET next_at = ?3 WHERE id = ?1 AND next_at = ?2";
        let moved = tx.execute(text, params![self.schedule, self.was.0, self.next.0])? > 0;
        if moved {
            tx.record(&Did::Replan { schedule: self.schedule, next: self.next.0 });
        }
        Ok(moved)
    }
}

const fn missed_name(missed: Missed) -> &'static str {
    match missed {
        Missed::Skip => "skip",
        Missed::Once => "once",
    }
}

const fn overlap_name(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Allow => "allow",
        Overlap::Skip => "skip",
    }
}

fn schedule(row: &QueryResult) -> Result<Schedule, StoreError> {
    let id: ScheduleId = row.try_get_by_index(0)?;
    let spec: String = row.try_get_by_index(4).unwrap_or_default();
    let StoredSpec { spec, unreadable } = stored::from_text(&spec);
    if let Some(why) = &unreadable {
        warn_once(id, why);
    }
    let (missed, overlap): (String, String) = (row.try_get_by_index(6)?, row.try_get_by_index(7)?);
    let next: Option<i64> = row.try_get_by_index(10)?;
    Ok(Schedule {
        id,
        name: row.try_get_by_index(1)?,
        cron: row.try_get_by_index(2)?,
        time_zone: row.try_get_by_index(3)?,
        spec,
        unreadable,
        key: row.try_get_by_index(5)?,
        missed: if missed == missed_name(Missed::Skip) { Missed::Skip } else { Missed::Once },
        overlap: if overlap == overlap_name(Overlap::Skip) { Overlap::Skip } else { Overlap::Allow },
        continue_session: row.try_get_by_index(8)?,
        enabled: row.try_get_by_index(9)?,
        next_at: next.map(Wall),
        created_at: Wall(row.try_get_by_index(11)?),
    })
}

impl Reader {
    async fn some_schedules<const N: usize>(
        &self,
        which: &str,
        values: [Value; N],
    ) -> Result<Vec<Schedule>, StoreError> {
        let text = format!("SELECT {COLUMNS} FROM schedules {which}");
        let rows = self.db().query_all_raw(sql(&text, values)).await?;
        // Each by itself: one that can't be read takes no other with it.
        Ok(rows
            .iter()
            .filter_map(|row| match schedule(row) {
                Ok(schedule) => Some(schedule),
                Err(error) => {
                    tracing::warn!(error = crate::telemetry::chain(&error), "A stored schedule can't be read");
                    None
                }
            })
            .collect())
    }

    /// All schedules.
    pub async fn schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.some_schedules("ORDER BY id", []).await
    }

    /// One schedule.
    pub async fn schedule(&self, id: ScheduleId) -> Result<Option<Schedule>, StoreError> {
        Ok(self.some_schedules("WHERE id = ?1", [id.into()]).await?.pop())
    }

    /// The schedules that fire by now.
    pub async fn due_schedules(&self) -> Result<Vec<Schedule>, StoreError> {
        self.some_schedules("WHERE enabled AND next_at <= ?1 ORDER BY next_at", [wall_now().0.into()]).await
    }

    /// When the next schedule fires.
    pub async fn next_firing(&self) -> Result<Option<Wall>, StoreError> {
        let text = "SELECT next_at FROM schedules WHERE enabled AND next_at IS NOT NULL ORDER BY next_at LIMIT 1";
        let row = self.db().query_one_raw(sql(text, [])).await?;
        Ok(row.map(|row| row.try_get_by_index(0)).transpose()?.map(Wall))
    }

    /// What a schedule has done.
    pub async fn runs(&self, read: ReadRuns) -> Result<Vec<Run>, StoreError> {
        let text = "SELECT due_at, fired_at, outcome, task_id, detail, (SELECT status FROM tasks WHERE id = task_id)
            FROM schedule_runs WHERE schedule_id = ?1 ORDER BY n DESC LIMIT ?2";
        let rows = self.db().query_all_raw(sql(text, [read.schedule.into(), read.limit.into()])).await?;
        let run = |row: &QueryResult| -> Result<Run, StoreError> {
            let (due, status): (Option<i64>, Option<String>) = (row.try_get_by_index(0)?, row.try_get_by_index(5)?);
            let task: Option<TaskId> = row.try_get_by_index(3)?;
            Ok(Run {
                due_at: due.map(Wall),
                fired_at: Wall(row.try_get_by_index(1)?),
                outcome: row.try_get_by_index(2)?,
                task: task.map(|task| (task, status.as_deref().and_then(Status::from_name))),
                detail: row.try_get_by_index(4)?,
            })
        };
        rows.iter().map(run).collect()
    }

    /// The newest task of a schedule.
    pub async fn last_task(&self, last: LastTask) -> Result<Option<(TaskId, Status)>, StoreError> {
        let text = "SELECT t.id, t.status FROM schedule_runs r JOIN tasks t ON t.id = r.task_id
            WHERE r.schedule_id = ?1 AND (NOT ?2 OR t.status = 'completed') ORDER BY r.n DESC LIMIT 1";
        let row = self.db().query_one_raw(sql(text, [last.schedule.into(), last.completed.into()])).await?;
        let Some(row) = row else { return Ok(None) };
        let status: String = row.try_get_by_index(1)?;
        let id: TaskId = row.try_get_by_index(0)?;
        Ok(Status::from_name(&status).map(|status| (id, status)))
    }
}
