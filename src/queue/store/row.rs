//! Between rows and the domain.

use entity::{event, task};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{DbBackend, Statement, Value};

use super::StoreError;
use crate::task::{
    Attempted, BootInstant, Event, EventKind, Failure, FailureClass, Lease, Record, State, Status, Task, TaskError,
    TaskSpec, Wall,
};

/// A statement with its values.
pub fn sql<const N: usize>(text: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, text, values)
}

fn bad(row: &task::Model, what: impl ToString) -> StoreError {
    StoreError::Row { task: row.id, what: what.to_string() }
}

/// What the client asked for.
pub fn spec_of(row: &task::Model) -> Result<TaskSpec, StoreError> {
    serde_json::from_str(&row.spec).map_err(|error| bad(row, error))
}

fn status_of(row: &task::Model) -> Result<Status, StoreError> {
    Status::from_name(&row.status).ok_or_else(|| bad(row, format!("status {}", row.status)))
}

/// The task, as it is read.
pub fn task_of(row: task::Model) -> Result<Task, StoreError> {
    let spec = spec_of(&row)?;
    task_with(row, spec)
}

/// The task, where its request is at hand.
pub fn task_with(row: task::Model, spec: TaskSpec) -> Result<Task, StoreError> {
    let json = |text: &Option<String>| text.as_ref().and_then(|text| serde_json::from_str(text).ok());
    Ok(Task {
        spec,
        status: status_of(&row)?,
        id: row.id,
        created_at: Wall(row.created_at),
        due_at: row.due_at.map(Wall),
        started_at: row.started_at.map(Wall),
        completed_at: row.completed_at.map(Wall),
        attempt: row.attempt,
        crashes: row.crashes,
        max_attempts: row.max_attempts,
        worker: row.worker,
        key: row.key_name,
        working_directory: row.working_directory,
        retry_of: row.retry_of,
        resumes: row.resumes,
        continued_from: row.continued_from,
        waiting_for: json(&row.waiting_for),
        held: row.held,
        changes: None,
        attempts: None,
        attempted: Attempted {
            structured_output: json(&row.structured_output),
            usage: json(&row.usage),
            permission_denials: json(&row.permission_denials),
            error: row.error_code.map(|code| TaskError {
                code,
                class: row.error_class.unwrap_or_default(),
                message: row.error_message.unwrap_or_default(),
            }),
            result: row.result,
            session_id: row.session_id,
            cost_usd: row.cost_usd,
            num_turns: row.num_turns,
            duration_ms: row.duration_ms,
        },
    })
}

/// What decides the task's transitions.
pub fn record_of(row: &task::Model) -> Result<Record, StoreError> {
    let state = match status_of(row)? {
        Status::Pending => State::Pending { due: row.due_at.map(Wall) },
        Status::Running => match (row.holder, row.lease_ms, row.lease_boot) {
            (Some(holder), Some(ms), Some(boot)) => State::Running(Lease { holder, expires: BootInstant { boot, ms } }),
            _ => return Err(bad(row, "it runs without a lease")),
        },
        Status::Completed => State::Completed,
        // What it failed of decides nothing any more.
        Status::Failed => State::Failed(Failure::new(FailureClass::Execution, "", "")),
        Status::Cancelled => State::Cancelled,
    };
    let options = spec_of(row)?.options;
    Ok(Record {
        state,
        epoch: row.epoch,
        attempt: row.attempt,
        ended: row.ended,
        crashes: row.crashes,
        max_attempts: row.max_attempts,
        retry_timeouts: options.retries_timeouts(),
        retry: options.retry_policy(),
    })
}

/// The columns of a record, to be written.
pub fn columns_of(id: crate::task::TaskId, record: &Record) -> task::ActiveModel {
    let (due, lease) = match &record.state {
        State::Pending { due } => (*due, None),
        State::Running(lease) => (None, Some(*lease)),
        _ => (None, None),
    };
    task::ActiveModel {
        id: Unchanged(id),
        status: Set(record.state.status().name().to_owned()),
        due_at: Set(due.map(|due| due.0)),
        held: Set(None),
        epoch: Set(record.epoch),
        attempt: Set(record.attempt),
        ended: Set(record.ended),
        crashes: Set(record.crashes),
        holder: Set(lease.map(|lease| lease.holder)),
        lease_ms: Set(lease.map(|lease| lease.expires.ms)),
        lease_boot: Set(lease.map(|lease| lease.expires.boot)),
        ..Default::default()
    }
}

/// The event, as it is read. A kind of a newer version reads as `log`.
pub fn event_of(row: event::Model) -> Event {
    Event {
        task: row.task_id,
        seq: row.seq,
        at: Wall(row.at),
        kind: EventKind::from_name(&row.kind).unwrap_or(EventKind::Log),
        data: row.data,
    }
}
