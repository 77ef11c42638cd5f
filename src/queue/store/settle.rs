//! Everything that moves one task: read the row, let the domain decide, write it back.
//!
//! The transaction is immediate, so nobody else writes between the two; the statement repeats
//! the epoch all the same.

use entity::{changes, task};
use rusqlite::params;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::OnConflict;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::attempts::AttemptEnd;
use super::row::{columns_of, record_of, status_of, task_of, unreadable};
use super::table::Table;
use super::{Change, StoreError, Tx, attempts, hooks, money, talk, workers};
use crate::queue::messages::{Append, Cancel, Cancelled, Expire, Finish, HolderDied, Next, Release, Stale};
use crate::task::{
    AttemptOutcome, ChangeSet, Command, Counts, Did, EventKind, Failure, FailureClass, HookEvent, LeaseKey, NewEvent,
    Outcome, Record, Refusal, ReleaseReason, Remarks, Report, State, Status, TaskError, TaskId,
};

/// Whether any task waits for what another may leave.
const ANY_HELD: &str =
    "EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held IS NOT NULL)";

/// A task that a command has moved, before it is written back.
struct Moved {
    row: task::Model,
    record: Record,
    columns: task::ActiveModel,
}

impl Moved {
    /// Applies the command. `Ok(Err(_))` means that the domain refused, and nothing changed.
    fn by(row: task::Model, command: Command, tx: &Tx<'_>, chance: f64) -> Result<Result<Self, Refusal>, StoreError> {
        let mut record = record_of(&row)?;
        let was = record.state.status();
        if let Err(refusal) = record.apply(command, tx.now, chance) {
            return Ok(Err(refusal));
        }
        let is = record.state.status();
        if !was.may_become(is) {
            return Err(StoreError::Row { task: row.id, what: format!("{was} can't become {is}") });
        }
        let columns = columns_of(row.id, &record);
        Ok(Ok(Self { row, record, columns }))
    }

    /// Writes it as ended by a death that somebody else saw.
    fn crash(self, tx: &mut Tx<'_>, died: bool, why: &str) -> Result<State, StoreError> {
        let failure = Failure::new(FailureClass::Crashed, "WORKER_DIED", why);
        self.end_attempt(tx, AttemptOutcome::Crashed, Some(TaskError::from(&failure)), None)?;
        let (to, due) = self.goes();
        tx.record(&Did::TakeBack { lease: self.lease(), died, to, due });
        self.write(tx, Vec::new(), Some(why.to_owned()))
    }

    /// What it was held under before.
    const fn lease(&self) -> LeaseKey {
        LeaseKey { task: self.row.id, epoch: self.row.epoch }
    }

    /// Where it goes, and when it is due there.
    fn goes(&self) -> (Status, Option<i64>) {
        let due = if let State::Pending { due } = self.record.state { due } else { None };
        (self.record.state.status(), due.map(|due| due.0))
    }

    /// What the end of its attempt counted as.
    fn counts(&self) -> Counts {
        if self.record.ended > self.row.ended {
            Counts::Ended
        } else if self.record.crashes > self.row.crashes {
            Counts::Crash
        } else {
            Counts::Nothing
        }
    }

    /// Ends the attempt in the table of attempts, where one ran.
    fn end_attempt(
        &self,
        tx: &Tx<'_>,
        outcome: AttemptOutcome,
        error: Option<TaskError>,
        report: Option<&Report>,
    ) -> Result<(), StoreError> {
        if self.row.status != Status::Running.name() {
            return Ok(());
        }
        let session_id = report.and_then(|report| report.session_id.clone());
        let end = AttemptEnd { outcome, error, session_id };
        attempts::end(tx, self.row.id, self.row.attempt, end)
    }

    /// Writes it with a status event behind `events`. Returns where the task stands now.
    fn write(
        mut self,
        tx: &mut Tx<'_>,
        mut events: Vec<NewEvent>,
        reason: Option<String>,
    ) -> Result<State, StoreError> {
        let status = self.record.state.status();
        if let State::Failed(failure) = &self.record.state {
            self.columns = with_error(self.columns, Some(failure));
        }
        events.push(status_event(&self.record, error_of(&self.columns), reason));
        self.columns.last_event = Set(tx.add_events(self.row.id, self.row.last_event, &events)?);
        tx.leave(&self.row);
        if status.is_terminal() && self.row.waiting_for.is_some() {
            self.columns.waiting_for = Set(None);
            talk::close_all(tx, self.row.id)?;
        }
        if let Some(event) = end_of(status) {
            self.columns.completed_at = Set(Some(tx.now.0));
            hooks::tell(tx, self.row.id, event)?;
        }
        // Read in this very transaction, which nobody else can write beside; the epoch stands here again
        // for whoever reads the statement alone.
        let update = task::Entity::update_many()
            .set(self.columns)
            .filter(task::Column::Id.eq(self.row.id))
            .filter(task::Column::Epoch.eq(self.row.epoch));
        tx.run(&update)?;
        Ok(self.record.state)
    }
}

/// What is told of a task that has ended so.
const fn end_of(status: Status) -> Option<HookEvent> {
    match status {
        Status::Completed => Some(HookEvent::Completed),
        Status::Failed => Some(HookEvent::Failed),
        Status::Cancelled => Some(HookEvent::Cancelled),
        Status::Pending | Status::Running => None,
    }
}

fn status_event(record: &Record, error: Option<Value>, reason: Option<String>) -> NewEvent {
    let mut data = json!({ "status": record.state.status(), "attempt": record.attempt });
    if let State::Pending { due: Some(due) } = record.state {
        data["dueAt"] = json!(due);
    }
    if let Some(error) = error {
        data["error"] = error;
    }
    if let Some(reason) = reason {
        data["reason"] = json!(reason);
    }
    NewEvent::new(EventKind::Status, &data)
}

fn with_error(columns: task::ActiveModel, failure: Option<&Failure>) -> task::ActiveModel {
    let error = failure.map(TaskError::from);
    task::ActiveModel {
        error_class: Set(error.as_ref().map(|error| error.class.clone())),
        error_code: Set(error.as_ref().map(|error| error.code.clone())),
        error_message: Set(error.map(|error| error.message)),
        ..columns
    }
}

fn error_of(columns: &task::ActiveModel) -> Option<Value> {
    let text = |value: &sea_orm::ActiveValue<Option<String>>| value.try_as_ref().cloned().flatten();
    let code = text(&columns.error_code)?;
    Some(json!({ "code": code, "message": text(&columns.error_message), "class": text(&columns.error_class) }))
}

pub fn find(tx: &mut Tx<'_>, id: TaskId) -> Result<Option<task::Model>, StoreError> {
    let text = format!("SELECT {}, {ANY_HELD} FROM tasks WHERE id = ?1", task::Model::COLUMNS);
    let found = tx.one(&text, [id], |row| Ok((task::Model::read(row)?, row.get(task::Model::WIDTH)?)))?;
    let Some((row, any_held)): Option<(_, bool)> = found else { return Ok(None) };
    tx.any_held |= any_held;
    Ok(Some(row))
}

/// Ends a task whose request can't be read, as its claim would have begun it.
pub fn set_apart(tx: &mut Tx<'_>, key: LeaseKey, why: &str) -> Result<(), StoreError> {
    let failure = unreadable(why);
    let report = Report::of(Outcome::Failed(failure));
    let finish = Finish { key, report, credential: String::new(), events: Vec::new(), chance: 0.0 };
    finish.run(tx).map(|_| ())
}

/// Ends a task of whose row nothing can be read.
pub fn set_apart_unread(tx: &mut Tx<'_>, task: TaskId, why: &str) -> Result<(), StoreError> {
    let failure = unreadable(why);
    let text =
        "UPDATE tasks SET status = 'failed', holder = NULL, lease_ms = NULL, lease_boot = NULL, completed_at = ?2,
        error_class = ?3, error_code = ?4, error_message = ?5 WHERE id = ?1";
    tx.execute(text, params![task, tx.now.0, failure.class.name(), failure.code, failure.message])?;
    Ok(())
}

/// The row, if this lease still holds it.
pub fn held(tx: &mut Tx<'_>, key: LeaseKey) -> Result<Option<task::Model>, StoreError> {
    let row = find(tx, key.task)?;
    Ok(row.filter(|row| row.epoch == key.epoch && row.status == Status::Running.name()))
}

impl Change for Append {
    type Answer = Result<(), Stale>;

    fn is_essential(&self) -> bool {
        self.essential
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = held(tx, self.key)? else { return Ok(Err(Stale)) };
        // Sent again because the answer was lost: what is stored is not stored again.
        let known = usize::try_from(row.attempt_events - self.from).unwrap_or(0).min(self.events.len());
        let last = tx.add_events(row.id, row.last_event, &self.events[known..])?;
        let attempt_events = row.attempt_events + last - row.last_event;
        let mut columns =
            task::ActiveModel { last_event: Set(last), attempt_events: Set(attempt_events), ..Default::default() };
        if let Some(session) = &self.session_id {
            columns.session_id = Set(Some(session.clone()));
            attempts::set_session(tx, row.id, row.attempt, session)?;
        }
        tx.run(&task::Entity::update_many().set(columns).filter(task::Column::Id.eq(row.id)))?;
        Ok(Ok(()))
    }
}

impl Change for Finish {
    type Answer = Result<Next, Stale>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = find(tx, self.key.task)? else { return Ok(Err(Stale)) };
        let epoch = self.key.epoch;
        let command = match &self.report.outcome {
            // Somebody said more meanwhile: the next attempt hears it.
            Outcome::Completed if row.said > 0 => Command::Release { epoch, delay_ms: 0 },
            outcome => Command::Finish { epoch, outcome: outcome.clone() },
        };
        let Ok(mut moved) = Moved::by(row, command, tx, self.chance)? else {
            if let Some(cost) = self.report.spent.cost_usd {
                tx.record(&Did::LateCost { lease: self.key, cost });
                money::settle(tx, self.key, self.report.spent)?;
            }
            return Ok(Err(Stale));
        };
        if let Outcome::Failed(failure) = &self.report.outcome {
            workers::park(tx, &self.credential, failure)?;
        }
        moved.columns = with_report(&moved.row, moved.columns, &self.report);
        let (outcome, error) = match &self.report.outcome {
            Outcome::Completed => (AttemptOutcome::Completed, None),
            Outcome::Failed(failure) if failure.class == FailureClass::Crashed => {
                (AttemptOutcome::Crashed, Some(failure))
            }
            Outcome::Failed(failure) => (AttemptOutcome::Failed, Some(failure)),
        };
        moved.end_attempt(tx, outcome, error.map(TaskError::from), Some(&self.report))?;
        if let Some(changes) = &self.report.changes {
            keep_changes(tx, self.key.task, changes)?;
        }
        let ((to, due), counts, cost) = (moved.goes(), moved.counts(), self.report.spent.cost_usd);
        tx.record(&Did::Finish { lease: self.key, outcome, counts, cost, to, due });
        moved.columns = money::spend(tx, &moved.row, moved.columns, self.key, self.report.spent)?;
        let state = moved.write(tx, self.events.clone(), None)?;
        Ok(Ok(match state {
            State::Pending { due } => Next::Again(due),
            state => Next::Ended(state.status()),
        }))
    }
}

fn keep_changes(tx: &mut Tx<'_>, task: TaskId, changes: &ChangeSet) -> Result<(), StoreError> {
    let row = changes::ActiveModel {
        task_id: Set(task),
        summary: Set(changes.summary.to_string()),
        patch: Set(changes.patch.clone()),
    };
    let columns = [changes::Column::Summary, changes::Column::Patch];
    let known = OnConflict::column(changes::Column::TaskId).update_columns(columns).to_owned();
    tx.run(&changes::Entity::insert(row).on_conflict(known))?;
    Ok(())
}

/// What the attempt left. A failure is kept while the task waits for its next attempt, so that
/// a client sees why.
fn with_report(row: &task::Model, columns: task::ActiveModel, report: &Report) -> task::ActiveModel {
    let json = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
    let failure = match &report.outcome {
        Outcome::Completed => None,
        Outcome::Failed(failure) => Some(failure),
    };
    let mut columns = with_error(columns, failure);
    if !report.background_ended.is_empty() || report.spent.set_aside {
        let mut remarks: Remarks =
            row.remarks.as_ref().and_then(|remarks| serde_json::from_str(remarks).ok()).unwrap_or_default();
        remarks.cost_set_aside |= report.spent.set_aside;
        remarks.background_ended.extend(report.background_ended.iter().cloned());
        columns.remarks = Set(serde_json::to_string(&remarks).ok());
    }
    if report.session_id.is_some() {
        columns.session_id = Set(report.session_id.clone());
    }
    task::ActiveModel {
        result: Set(report.result.clone()),
        structured_output: Set(json(&report.structured_output)),
        usage: Set(json(&report.usage)),
        num_turns: Set(report.num_turns),
        duration_ms: Set(Some(report.duration_ms)),
        permission_denials: Set(json(&report.permission_denials)),
        ..columns
    }
}

impl Change for Release {
    type Answer = Result<(), Stale>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = find(tx, self.key.task)? else { return Ok(Err(Stale)) };
        let delay_ms = match self.reason {
            ReleaseReason::Waiting => talk::patience(tx, row.id)?.map_or(0, |until| until.since_ms(tx.now)),
            _ => i64::try_from(self.delay.as_millis()).unwrap_or(i64::MAX),
        };
        let command = Command::Release { epoch: self.key.epoch, delay_ms };
        let Ok(mut moved) = Moved::by(row, command, tx, 0.0)? else { return Ok(Err(Stale)) };
        if self.session_id.is_some() {
            moved.columns.session_id = Set(self.session_id.clone());
        }
        let reason = match &self.detail {
            Some(detail) => format!("{}: {detail}", self.reason.name()),
            None => self.reason.name().to_owned(),
        };
        let why = released(&reason);
        moved.end_attempt(tx, AttemptOutcome::Released, Some(why), None)?;
        money::settle(tx, self.key, self.spent)?;
        tx.record(&Did::Release {
            lease: self.key,
            reason: reason.clone(),
            cost: self.spent.cost_usd,
            due: moved.goes().1,
        });
        moved.write(tx, self.events.clone(), Some(reason))?;
        Ok(Ok(()))
    }
}

impl Change for Cancel {
    type Answer = Cancelled;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Cancelled, StoreError> {
        let Some(row) = find(tx, self.0)? else { return Ok(Cancelled::Unknown) };
        if let Err(error) = status_of(&row) {
            set_apart_unread(tx, self.0, &error.to_string())?;
            return Ok(find(tx, self.0)?.map_or(Cancelled::Unknown, |row| Cancelled::Ended(Box::new(task_of(row)))));
        }
        let unchanged = row.clone();
        let Ok(moved) = Moved::by(row, Command::Cancel, tx, 0.0)? else {
            return Ok(Cancelled::Ended(Box::new(task_of(unchanged))));
        };
        moved.end_attempt(tx, AttemptOutcome::Cancelled, None, None)?;
        tx.record(&Did::Cancel { lease: LeaseKey { task: self.0, epoch: moved.record.epoch } });
        moved.write(tx, Vec::new(), None)?;
        match find(tx, self.0)? {
            Some(row) => Ok(Cancelled::Done(Box::new(task_of(row)))),
            None => Ok(Cancelled::Unknown),
        }
    }
}

impl Change for HolderDied {
    type Answer = usize;

    fn run(&self, tx: &mut Tx<'_>) -> Result<usize, StoreError> {
        let columns = task::Model::COLUMNS;
        let text = format!("SELECT {columns} FROM tasks WHERE status = 'running' AND holder = ?1");
        let rows = tx.all(&text, [self.0], |row| Ok((row.get::<_, TaskId>(0)?, task::Model::read(row))))?;
        // Not asked with the rows, since it happens seldom: whoever waits for what they leave is looked for.
        tx.any_held |= !rows.is_empty();
        let mut freed = 0;
        for (task, row) in rows {
            let row = match row {
                Ok(row) => row,
                Err(error) => {
                    set_apart_unread(tx, task, &error.to_string())?;
                    continue;
                }
            };
            let moved = Moved::by(row, Command::HolderDied(self.0), tx, spread())?;
            if let Ok(moved) = moved {
                moved.crash(tx, true, "the worker died")?;
                freed += 1;
            }
        }
        workers::forget(tx, self.0)?;
        Ok(freed)
    }
}

impl Change for Expire {
    type Answer = bool;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        let row = find(tx, self.task)?;
        let Some(row) = row.filter(|row| row.holder == Some(self.holder)) else { return Ok(false) };
        let Ok(moved) = Moved::by(row, Command::Expire { now: tx.boot_now }, tx, spread())? else { return Ok(false) };
        moved.crash(tx, false, "the worker's lease ran out")?;
        Ok(true)
    }
}

/// A release in the history: no failure, but a reason.
fn released(reason: &str) -> TaskError {
    TaskError { class: String::new(), code: "RELEASED".to_owned(), message: reason.to_owned() }
}

/// A chance in `0.0..1.0`, to spread back-offs.
fn spread() -> f64 {
    crate::process::chance()
}
