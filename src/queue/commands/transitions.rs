//! Transitions of one task: read the row, let the domain decide, write it back.
//!
//! The row is held by the transaction, so nothing else writes between the two; the statement repeats
//! the epoch all the same.

use std::borrow::Cow;
use std::time::Duration;

use serde_json::{Value, json};

use super::{Change, Unit, children, files, hooks, money, races, radar, talk, workers};
use crate::queue::Concern;
use crate::queue::messages::{Append, Cancel, Cancelled, Finish, NextStep, Release, Stale};
use crate::store::StoreError;
use crate::store::convert::{no_class, put_record, record_of, status_of, task_of, unreadable};
use crate::store::rows::{AttemptEnd, ChangesRow, ProgressRow, TaskBefore, TaskRow, TranscriptRow};
use audit::{Counts, HistoryEvent};
use domain::{
    AttemptOutcome, ChangeSet, Epoch, EventKind, Failure, FailureClass, Hold, LeaseKey, Named as _, NewEvent, Outcome,
    Record, ReleaseReason, Report, Spent, State, Status, TaskCommand, TaskId,
};
use wire::{HookEvent, Remarks, TaskError};

/// A task that a command has moved, before it is written back.
pub(super) struct Transition {
    /// Row as it is to be written.
    row: TaskRow,
    record: Record,
    before: Before,
    /// The failure that its event tells.
    error: Option<TaskError>,
}

/// State of a task before its transition.
struct Before {
    status: Status,
    epoch: Epoch,
    attempt: i32,
    ended: i32,
    crashes: i32,
    /// True if it waited for dependencies.
    waits: bool,
}

impl Transition {
    /// Applies the command. `Ok(Err(_))` means that the domain refused: the row is as it was.
    pub(super) fn of(
        mut row: TaskRow,
        command: TaskCommand,
        unit: &Unit<'_>,
        chance: f64,
    ) -> Result<Result<Self, Box<TaskRow>>, StoreError> {
        let mut record = record_of(&row)?;
        let status = record.state.status();
        let before = Before {
            status,
            epoch: row.epoch,
            attempt: row.attempt,
            ended: row.finished_attempts,
            crashes: row.crashes,
            waits: row.held.as_deref() == Some(Hold::DEPENDENCIES),
        };
        if record.apply(command, unit.now, chance).is_err() {
            return Ok(Err(Box::new(row)));
        }
        let is = record.state.status();
        if !status.may_become(is) {
            return Err(StoreError::Row {
                table: "task",
                id: row.id.uuid(),
                what: format!("{status} can't become {is}"),
            });
        }
        put_record(&mut row, &record);
        Ok(Ok(Self { row, record, before, error: None }))
    }

    /// Notes why it has ended so.
    fn explain(&mut self, error: TaskError) {
        self.row.error_class = Some(error.class.clone());
        self.row.error_code = Some(error.code.clone());
        self.row.error_message = Some(error.message.clone());
        self.error = Some(error);
    }

    /// Writes it as ended by a death that another process saw. A worker that died reports no cost any more: what is known of
    /// it counts.
    pub(super) async fn crash(mut self, unit: &mut Unit<'_>, died: bool, why: &str) -> Result<State, StoreError> {
        let failure = Failure::new(FailureClass::Crashed, "WORKER_DIED", why);
        self.end_attempt(unit, AttemptOutcome::Crashed, Some(TaskError::from(&failure)), None).await?;
        let (to, due) = self.goes();
        let lease = self.lease();
        unit.record(&HistoryEvent::TakeBack { lease, died, to, due });
        if let Some(cost) = self.row.cost_so_far.filter(|_| died) {
            unit.record(&HistoryEvent::LateCost { lease, cost });
            let spent = Spent { cost_usd: Some(cost), ..Spent::NONE };
            money::spend(unit, &mut self.row, lease, spent).await?;
        }
        self.write(unit, Vec::new(), Some(why.to_owned())).await
    }

    /// Writes it as cancelled; with an error, which says why it was.
    pub(super) async fn cancel(mut self, unit: &mut Unit<'_>, why: Option<TaskError>) -> Result<(), StoreError> {
        let reason = why.as_ref().map(|why| why.message.clone());
        if let Some(why) = why {
            self.explain(why);
        }
        self.end_attempt(unit, AttemptOutcome::Cancelled, None, None).await?;
        unit.record(&HistoryEvent::Cancel { lease: LeaseKey { task: self.row.id, epoch: self.record.epoch } });
        unit.cancel_children(self.row.id);
        self.write(unit, Vec::new(), reason).await?;
        Ok(())
    }

    /// The lease under which it was held before.
    const fn lease(&self) -> LeaseKey {
        LeaseKey { task: self.row.id, epoch: self.before.epoch }
    }

    /// Returns its new status, and its due time there.
    fn goes(&self) -> (Status, Option<i64>) {
        let due = if let State::Pending { due } = self.record.state { due } else { None };
        (self.record.state.status(), due.map(|due| due.0))
    }

    /// Returns the meaning of its attempt's end for the counts.
    const fn counts(&self) -> Counts {
        if self.record.ended > self.before.ended {
            Counts::Ended
        } else if self.record.crashes > self.before.crashes {
            Counts::Crash
        } else {
            Counts::Nothing
        }
    }

    /// Ends the attempt in the table of attempts, where one ran.
    async fn end_attempt(
        &self,
        unit: &mut Unit<'_>,
        outcome: AttemptOutcome,
        error: Option<TaskError>,
        report: Option<&Report>,
    ) -> Result<(), StoreError> {
        if self.before.status != Status::Running {
            return Ok(());
        }
        let session_id = report.and_then(|report| report.session_id);
        let end = AttemptEnd { at: unit.now, outcome, error, session_id };
        unit.tx.end_attempt(self.row.id, self.before.attempt, &end).await
    }

    /// Writes what the attempt left. A failure is kept while the task waits for its next attempt, so that a client
    /// sees why.
    fn put_report(&mut self, report: &Report) {
        let json = |value: &Option<Value>| value.as_ref().map(ToString::to_string);
        self.put_error(match &report.outcome {
            Outcome::Completed => None,
            Outcome::Failed(failure) => Some(failure),
        });
        let row = &mut self.row;
        if !report.background_ended.is_empty() || report.spent.set_aside || report.verification.is_some() {
            let mut remarks: Remarks =
                row.remarks.as_ref().and_then(|remarks| serde_json::from_str(remarks).ok()).unwrap_or_default();
            remarks.cost_set_aside |= report.spent.set_aside;
            remarks.background_ended.extend(report.background_ended.iter().cloned());
            remarks.verification.clone_from(&report.verification);
            row.remarks = serde_json::to_string(&remarks).ok();
        }
        if let Some(session) = report.session_id {
            row.session_id = Some(session.to_string());
        }
        row.result.clone_from(&report.result);
        row.structured_output = json(&report.structured_output);
        row.usage = json(&report.usage);
        row.num_turns = report.num_turns;
        row.duration_ms = Some(report.duration_ms);
        row.permission_denials = json(&report.permission_denials);
    }

    fn put_error(&mut self, failure: Option<&Failure>) {
        self.error = failure.map(TaskError::from);
        let error = self.error.clone();
        self.row.error_class = error.as_ref().map(|error| error.class.clone());
        self.row.error_code = error.as_ref().map(|error| error.code.clone());
        self.row.error_message = error.map(|error| error.message);
    }

    /// Writes it with a status event behind `events`. Returns where the task stands now.
    pub(super) async fn write(
        mut self,
        unit: &mut Unit<'_>,
        mut events: Vec<NewEvent>,
        reason: Option<String>,
    ) -> Result<State, StoreError> {
        let status = self.record.state.status();
        // The domain may have another one than the report: three crashes are poison.
        if let State::Failed(failure) = &self.record.state.clone() {
            self.put_error(Some(failure));
        }
        events.push(status_event(&self.record, self.error.as_ref(), reason));
        self.row.last_event = unit.add_events(self.row.id, &self.row.key_name, self.row.last_event, &events).await?;
        unit.leave(&self.row);
        if status.is_terminal() && self.row.waiting_for.take().is_some() {
            unit.tx.close_questions(self.row.id, None).await?;
        }
        if status.is_terminal() && races::may_be_in_one(&self.row) {
            unit.race(self.row.id);
        }
        if status.is_terminal() && children::may_be_one(&self.row) {
            unit.end_child(self.row.id);
        }
        if let Some(event) = end_of(status) {
            self.row.completed_at = Some(unit.now.0);
            hooks::tell(unit, self.row.id, event).await?;
            unit.ended(self.row.id).await?;
        }
        if self.before.waits {
            unit.tx.end_wait(self.row.id).await?;
        }
        let was = TaskBefore { status: self.before.status, epoch: self.before.epoch };
        unit.tx.update_task(&self.row, was).await?;
        Ok(self.record.state)
    }
}

/// Returns the kind of message about a task that has ended so.
const fn end_of(status: Status) -> Option<HookEvent> {
    match status {
        Status::Completed => Some(HookEvent::Completed),
        Status::Failed => Some(HookEvent::Failed),
        Status::Cancelled => Some(HookEvent::Cancelled),
        Status::Pending | Status::Running => None,
    }
}

fn status_event(record: &Record, error: Option<&TaskError>, reason: Option<String>) -> NewEvent {
    let mut data = json!({ "status": record.state.status(), "attempt": record.attempt });
    if let State::Pending { due: Some(due) } = record.state {
        data["dueAt"] = json!(due);
    }
    if let Some(TaskError { code, message, class }) = error {
        data["error"] = json!({ "code": code, "message": message, "class": class });
    }
    if let Some(reason) = reason {
        data["reason"] = json!(reason);
    }
    NewEvent::new(EventKind::Status, &data)
}

/// Ends a task whose request can't be read, as its claim would have begun it.
pub async fn set_apart(unit: &mut Unit<'_>, key: LeaseKey, why: &str) -> Result<(), StoreError> {
    let report = Report::of(Outcome::Failed(unreadable(why)));
    let finish = Finish { key, report, credential: String::new(), events: Vec::new(), chance: 0.0 };
    finish.run(unit).await.map(|_| ())
}

/// Ends a task of whose row nothing can be read.
pub async fn set_apart_unread(unit: &mut Unit<'_>, task: TaskId, why: &str) -> Result<(), StoreError> {
    unit.tx.fail_unread(task, &TaskError::from(&unreadable(why))).await?;
    unit.tx.end_wait(task).await?;
    unit.expect_waits();
    unit.ended(task).await
}

impl Change for Append {
    type Answer = Result<(), Stale>;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    fn is_essential(&self) -> bool {
        self.essential
    }

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.held(self.key).await? else { return Ok(Err(Stale)) };
        for (session, part, entries) in &self.transcript {
            let part = TranscriptRow { session: *session, key: self.key, part: *part, entries };
            unit.tx.insert_transcript(&part).await?;
        }
        // Sent again because the answer was lost: what is stored is not stored again.
        let known = usize::try_from(row.attempt_events - self.from).unwrap_or(0).min(self.events.len());
        let last = unit.add_events(row.id, &row.key_name, row.last_event, &self.events[known..]).await?;
        let attempt_events = row.attempt_events + last - row.last_event;
        let conflicts = radar::look(unit, &row, &self.events[known..]).await?;
        let last = unit.add_events(row.id, &row.key_name, last, &conflicts).await?;
        if let Some(session) = self.session_id {
            unit.tx.set_attempt_session(row.id, row.attempt, session).await?;
        }
        if self.looping.is_some() && row.looping.is_none() {
            hooks::tell(unit, row.id, HookEvent::Looping).await?;
        }
        let (session, cost_so_far, looping) = (self.session_id, self.cost_so_far, self.looping.clone());
        let progress = ProgressRow { last_event: last, attempt_events, session, cost_so_far, looping };
        unit.tx.set_progress(row.id, &progress).await?;
        Ok(Ok(()))
    }
}

impl Change for Finish {
    type Answer = Result<NextStep, Stale>;

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.find(self.key.task).await? else { return Ok(Err(Stale)) };
        let (epoch, report) = (self.key.epoch, checked(&row, &self.report));
        let command = match &report.outcome {
            // More was said meanwhile: the next attempt hears it.
            Outcome::Completed if row.pending_messages > 0 => TaskCommand::Release { epoch, delay: Duration::ZERO },
            outcome => TaskCommand::Finish { epoch, outcome: outcome.clone() },
        };
        let Ok(mut moved) = Transition::of(row, command, unit, self.chance)? else {
            if let Some(cost) = report.spent.cost_usd {
                unit.record(&HistoryEvent::LateCost { lease: self.key, cost });
                money::settle(unit, self.key, report.spent).await?;
            }
            return Ok(Err(Stale));
        };
        if let Outcome::Failed(failure) = &report.outcome {
            workers::park(unit, &self.credential, failure).await?;
        }
        moved.put_report(&report);
        let (outcome, error) = match &report.outcome {
            Outcome::Completed => (AttemptOutcome::Completed, None),
            Outcome::Failed(failure) if failure.class == FailureClass::Crashed => {
                (AttemptOutcome::Crashed, Some(failure))
            }
            Outcome::Failed(failure) => (AttemptOutcome::Failed, Some(failure)),
        };
        let class = error.map(|failure| failure.class.into());
        moved.end_attempt(unit, outcome, error.map(TaskError::from), Some(&report)).await?;
        if let Some(changes) = &report.changes {
            keep_changes(unit, self.key.task, changes).await?;
        }
        if let Some(artifacts) = &report.artifacts {
            files::keep_artifacts(unit, self.key.task, &moved.row.key_name, artifacts).await?;
        }
        let ((to, due), counts, cost) = (moved.goes(), moved.counts(), report.spent.cost_usd);
        let verified = report.verification.as_ref().is_some_and(|verification| verification.passed);
        unit.record(&HistoryEvent::Finish { lease: self.key, outcome, counts, class, cost, to, due, verified });
        money::spend(unit, &mut moved.row, self.key, report.spent).await?;
        let state = moved.write(unit, self.events.clone(), None).await?;
        Ok(Ok(match state {
            State::Pending { due } => NextStep::Again(due),
            state => NextStep::Ended(state.status()),
        }))
    }
}

/// The report as it counts: work that was to be checked, and was not, is not done. A worker of an older version knows of no
/// checks.
fn checked<'a>(row: &TaskRow, report: &'a Report) -> Cow<'a, Report> {
    let is_checked = report.verification.as_ref().is_some_and(|verification| verification.passed);
    // Nearly no task is: a look at the text is cheaper than reading it.
    let wants_check = || row.spec.contains("\"verify\":") && wire::stored::from_text(&row.spec).spec.verify.is_some();
    if report.outcome != Outcome::Completed || is_checked || !wants_check() {
        return Cow::Borrowed(report);
    }
    let why = "its worker has not checked its work, as a worker of an older version";
    let outcome = Outcome::Failed(Failure::new(FailureClass::Execution, "NOT_CHECKED", why));
    Cow::Owned(Report { outcome, ..report.clone() })
}

async fn keep_changes(unit: &mut Unit<'_>, task: TaskId, changes: &ChangeSet) -> Result<(), StoreError> {
    let (summary, patch) = (changes.summary.to_string(), changes.patch.clone());
    unit.tx.put_changes(&ChangesRow { task_id: task, summary, patch }).await
}

impl Change for Release {
    type Answer = Result<(), Stale>;

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.find(self.key.task).await? else { return Ok(Err(Stale)) };
        let delay = match self.reason {
            ReleaseReason::Waiting => {
                let until = talk::patience(unit, row.id).await?;
                until.map_or(Duration::ZERO, |until| Duration::from_millis(until.since_ms(unit.now).unsigned_abs()))
            }
            _ => self.delay,
        };
        let command = TaskCommand::Release { epoch: self.key.epoch, delay };
        let Ok(mut moved) = Transition::of(row, command, unit, 0.0)? else { return Ok(Err(Stale)) };
        if let Some(session) = self.session_id {
            moved.row.session_id = Some(session.to_string());
        }
        let reason = match &self.detail {
            Some(detail) => format!("{}: {detail}", self.reason.name()),
            None => self.reason.name().to_owned(),
        };
        moved.end_attempt(unit, AttemptOutcome::Released, Some(released(&reason)), None).await?;
        let (cost, due) = (self.spent.cost_usd, moved.goes().1);
        unit.record(&HistoryEvent::Release { lease: self.key, reason: reason.clone(), cost, due });
        moved.write(unit, self.events.clone(), Some(reason)).await?;
        // Behind the row, whose cost it changes.
        money::settle(unit, self.key, self.spent).await?;
        Ok(Ok(()))
    }
}

impl Change for Cancel {
    type Answer = Cancelled;

    fn task(&self) -> Option<TaskId> {
        Some(self.0)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Cancelled, StoreError> {
        let Some(row) = unit.find(self.0).await? else { return Ok(Cancelled::Unknown) };
        if let Err(error) = status_of(&row) {
            set_apart_unread(unit, self.0, &error.to_string()).await?;
            let row = unit.find(self.0).await?;
            return Ok(row.map_or(Cancelled::Unknown, |row| Cancelled::Ended(Box::new(task_of(row)))));
        }
        let moved = match Transition::of(row, TaskCommand::Cancel, unit, 0.0)? {
            Ok(moved) => moved,
            Err(row) => return Ok(Cancelled::Ended(Box::new(task_of(*row)))),
        };
        moved.cancel(unit, None).await?;
        let row = unit.find(self.0).await?;
        Ok(row.map_or(Cancelled::Unknown, |row| Cancelled::Done(Box::new(task_of(row)))))
    }
}

/// A release in the history of attempts: no failure, but a reason.
fn released(reason: &str) -> TaskError {
    TaskError { class: no_class(), code: "RELEASED".to_owned(), message: reason.to_owned() }
}
