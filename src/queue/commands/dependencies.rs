//! Dependencies: a task starts when those that it depends on have ended as it needs them.
//!
//! A task that waits for others is held back ([`Hold::Dependencies`]), and the number of its open dependencies is kept
//! beside it. The end of a task that others depend on is noted as unsettled; each commit settles some dependents of such
//! tasks, and what is left is settled by commits of its own. So an end costs no more than one step, however many depend
//! on it, and nothing is forgotten by a crash in between.

use std::time::Duration;

use super::transitions::{Transition, set_apart_unread};
use super::{Change, Unit};
use crate::queue::messages::{DEPENDENCY_FAILED, NewTask, Settle, Submitted};
use crate::store::StoreError;
use crate::store::convert::no_class;
use crate::store::rows::{DependencyRow, TaskRow};
use audit::{HistoryEvent, Wait};
use domain::{
    Condition, DependencyState, Hold, Name, OnFailure, Status, TaskCommand, TaskId, Timestamp, dependency_state,
};
use wire::TaskError;

/// Number of dependents that one commit settles.
const STEP: usize = 100;
/// Due date of tasks that wait for others: far enough never to come.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The dependencies of a new task, or why it can't be stored.
pub async fn of_new(unit: &mut Unit<'_>, new: &NewTask) -> Result<Result<Vec<DependencyRow>, Submitted>, StoreError> {
    let stored: Vec<TaskId> = new.dependencies.iter().filter(|one| !one.is_new).map(|one| one.task).collect();
    let known = if stored.is_empty() { Vec::new() } else { unit.tx.statuses(&stored).await? };
    let known: std::collections::HashMap<_, _> =
        known.into_iter().map(|(id, key, status)| (id, (key, status))).collect();
    let mut rows = Vec::with_capacity(new.dependencies.len());
    for (n, one) in (0..).zip(&new.dependencies) {
        let (mut on_task, mut status) = (one.task, Status::Pending);
        if !one.is_new {
            match known.get(&one.task) {
                Some((key, found)) if new.sees_all || *key == new.key => status = end_of(found),
                _ => return Ok(Err(Submitted::NoDependency(one.task))),
            }
        }
        // A retry stands for its task.
        while dependency_state(one.condition, one.on_failure, status) == DependencyState::Failed
            && let Some(retry) = unit.tx.newest_retry(on_task).await?
        {
            let found = unit.tx.statuses(&[retry]).await?;
            (on_task, status) = (retry, found.first().map_or(Status::Failed, |(_, _, status)| end_of(status)));
        }
        let state = dependency_state(one.condition, one.on_failure, status);
        if state == DependencyState::Failed && one.on_failure == OnFailure::Cancel {
            return Ok(Err(Submitted::DependencyFailed(on_task, status)));
        }
        rows.push(DependencyRow {
            task_id: new.id,
            n,
            on_task,
            name: one.name.clone(),
            condition: one.condition.into(),
            on_failure: one.on_failure.into(),
            state: state.into(),
        });
    }
    Ok(Ok(rows))
}

/// A status that this version doesn't know is no success.
fn end_of(status: &Name<Status>) -> Status {
    status.known().unwrap_or(Status::Failed)
}

fn is_open(row: &DependencyRow) -> bool {
    matches!(row.state.known(), Some(DependencyState::Open | DependencyState::Failed))
}

/// Holds a new task back, where it has to wait.
pub fn hold_new(row: &mut TaskRow, dependencies: &[DependencyRow], now: Timestamp) {
    row.dependencies = dependencies.len() as i64;
    if dependencies.iter().any(is_open) {
        row.held = Some(Hold::DEPENDENCIES.to_owned());
        row.due_at = Some(now.plus(NEVER).0);
    }
}

/// Stores the dependencies of a new task. Those that wait for a retry of the task that it repeats wait for it.
pub async fn store(unit: &mut Unit<'_>, new: &NewTask, dependencies: &[DependencyRow]) -> Result<(), StoreError> {
    for row in dependencies {
        unit.tx.insert_dependency(row).await?;
    }
    let open = dependencies.iter().filter(|row| is_open(row)).count() as i64;
    if open > 0 {
        unit.tx.insert_wait(new.id, open, new.spec.run_at).await?;
        unit.expect_waits();
    }
    if let Some(old) = new.retry_of {
        let tasks = unit.tx.repoint(old, new.id).await?;
        if !tasks.is_empty() {
            unit.expect_waits();
            unit.record(&HistoryEvent::Repoint { task: new.id, from: old, tasks });
        }
    }
    Ok(())
}

/// What the history says that a new task waits for.
pub fn waits(dependencies: &[DependencyRow]) -> Vec<Wait> {
    let open = dependencies.iter().filter(|row| is_open(row));
    open.map(|row| Wait { task: row.on_task, any_end: needs_any_end(row) }).collect()
}

fn needs_any_end(row: &DependencyRow) -> bool {
    let (condition, on_failure) = rule(row);
    condition == Condition::Ended || on_failure == OnFailure::Run
}

/// The rule of a dependency. What a newer version has stored is waited for with the most care.
fn rule(row: &DependencyRow) -> (Condition, OnFailure) {
    (row.condition(), row.on_failure.known().unwrap_or(OnFailure::Wait))
}

/// Lets a task go on without what it waits for.
pub async fn waive(unit: &mut Unit<'_>, row: &mut TaskRow, run_at: Option<Timestamp>) -> Result<(), StoreError> {
    let mut open = unit.tx.dependencies_of(row.id).await?;
    open.retain(is_open);
    for one in &mut open {
        one.state = DependencyState::Waived.into();
    }
    unit.tx.put_dependency_states(&open).await?;
    unit.tx.end_wait(row.id).await?;
    (row.held, row.due_at) = (None, run_at.filter(|at| *at > unit.now).map(|at| at.0));
    unit.record(&HistoryEvent::Waive { task: row.id });
    Ok(())
}

impl Change for Settle {
    type Answer = ();

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.expect_unsettled();
        Ok(())
    }
}

/// Settles some dependents of tasks that have ended. Returns whether there are more.
pub async fn settle(unit: &mut Unit<'_>) -> Result<bool, StoreError> {
    let mut room = STEP;
    while room > 0 {
        let Some((ended, status)) = unit.tx.next_unsettled().await? else { return Ok(false) };
        let open = unit.tx.open_dependencies_on(ended, room as i64).await?;
        if open.len() < room {
            unit.tx.remove_unsettled(ended).await?;
        }
        room -= open.len();
        tell(unit, ended, end_of(&status), open).await?;
    }
    Ok(true)
}

/// Tells dependents how a task has ended.
async fn tell(
    unit: &mut Unit<'_>,
    ended: TaskId,
    status: Status,
    mut told: Vec<DependencyRow>,
) -> Result<(), StoreError> {
    if told.is_empty() {
        return Ok(());
    }
    let (mut met, mut lost) = (Vec::new(), Vec::new());
    for row in &mut told {
        let (condition, on_failure) = rule(row);
        let state = dependency_state(condition, on_failure, status);
        row.state = state.into();
        match state {
            DependencyState::Met => met.push(row.task_id),
            DependencyState::Failed if on_failure == OnFailure::Cancel => lost.push(row.task_id),
            _ => {}
        }
    }
    unit.tx.put_dependency_states(&told).await?;
    let ready = unit.tx.count_met(&met).await?;
    start(unit, &ready).await?;
    for task in lost {
        cancel(unit, task, ended, status).await?;
    }
    Ok(())
}

/// Lets tasks start that wait for nothing more.
async fn start(unit: &mut Unit<'_>, ready: &[TaskId]) -> Result<(), StoreError> {
    if ready.is_empty() {
        return Ok(());
    }
    let mut awake = Vec::with_capacity(ready.len());
    for (task, due) in unit.tx.end_waits(ready).await? {
        unit.touch(task);
        match due {
            None => awake.push(task),
            Some(due) => unit.record(&HistoryEvent::Hold { tasks: vec![task], why: "time:".to_owned(), due: due.0 }),
        }
    }
    if !awake.is_empty() {
        unit.record(&HistoryEvent::Wake { tasks: awake });
    }
    Ok(())
}

/// Cancels a task that can't start any more.
async fn cancel(unit: &mut Unit<'_>, task: TaskId, ended: TaskId, status: Status) -> Result<(), StoreError> {
    let row = match unit.find(task).await {
        Ok(Some(row)) => row,
        Ok(None) => return Ok(()),
        Err(error) => return set_apart_unread(unit, task, &error.to_string()).await,
    };
    if row.status != Status::Pending.into() {
        return Ok(());
    }
    let Ok(moved) = Transition::of(row, TaskCommand::Cancel, unit, 0.0)? else { return Ok(()) };
    let message = format!("task {ended}, which it depends on, is {status}");
    moved.cancel(unit, Some(TaskError { class: no_class(), code: DEPENDENCY_FAILED.to_owned(), message })).await
}
