//! Between rows and the domain.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use entity::{event, task};
use sea_orm::ActiveValue::{Set, Unchanged};
use sea_orm::{DbBackend, Statement, Value};

use super::StoreError;
use crate::task::stored::{self, StoredSpec};
use crate::task::{
    Attempted, BootInstant, Event, EventKind, Failure, FailureClass, Lease, Record, Remarks, State, Status, Task,
    TaskError, TaskSpec, Truncated, Wall,
};

/// A statement with its values.
pub fn sql<const N: usize>(text: &str, values: [Value; N]) -> Statement {
    Statement::from_sql_and_values(DbBackend::Sqlite, text, values)
}

fn bad(row: &task::Model, what: impl ToString) -> StoreError {
    StoreError::Row { task: row.id, what: what.to_string() }
}

/// What the client asked for, as far as it can be read.
pub fn spec_of(row: &task::Model) -> StoredSpec {
    let read = stored::from_text(&row.spec);
    if let Some(why) = &read.unreadable {
        warn_once(row.id, why);
    }
    read
}

/// Says once in the life of the process that a row can't be read, and not at each look at it.
pub fn warn_once(id: uuid::Uuid, why: &str) {
    /// Rows that are remembered. Beyond that each look may say so again, at the pace of the log.
    const MOST: usize = 10_000;
    static SAID: Mutex<BTreeSet<uuid::Uuid>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < MOST && !said.insert(id) {
        return;
    }
    drop(said);
    tracing::warn!(%id, why, "A stored row can't be read");
}

/// The status of a row, where it is one that we know.
pub fn status_of(row: &task::Model) -> Result<Status, StoreError> {
    Status::from_name(&row.status).ok_or_else(|| bad(row, format!("status {}", row.status)))
}

/// The task, as it is read.
pub fn task_of(row: task::Model) -> Task {
    let read = spec_of(&row);
    task_with(row, read)
}

/// The failure of a task whose row can't be read.
pub fn unreadable(why: &str) -> Failure {
    let message = format!(
        "the stored task can't be read by this version of the program ({why}). What helps: start the version that stored it, or submit it again"
    );
    Failure::new(FailureClass::Invalid, UNREADABLE, message)
}

/// The code of that failure.
const UNREADABLE: &str = "UNREADABLE";

/// A task of whose row nothing but the id can be read.
pub fn lost_task(id: crate::task::TaskId, why: &str) -> Task {
    warn_once(id, why);
    Task {
        id,
        spec: TaskSpec::of(String::new()),
        status: Status::Failed,
        created_at: Wall(0),
        due_at: None,
        started_at: None,
        completed_at: None,
        attempt: 0,
        crashes: 0,
        max_attempts: 0,
        worker: None,
        key: String::new(),
        working_directory: None,
        retry_of: None,
        resumes: None,
        continued_from: None,
        held: None,
        waiting_for: None,
        attempted: Attempted { error: Some(TaskError::from(&unreadable(why))), ..Attempted::default() },
        remarks: Remarks::default(),
        truncated: Truncated::default(),
        changes: None,
        attempts: None,
    }
}

/// The task, where its request is at hand.
pub fn task_with(row: task::Model, read: StoredSpec) -> Task {
    let json = |text: &Option<String>| {
        let text = text.as_ref()?;
        serde_json::from_str(&crate::task::json::clean(text)?).ok()
    };
    let told = row.error_code.is_some();
    let unread = read.unreadable.as_deref().filter(|_| !told).map(|why| TaskError::from(&unreadable(why)));
    Task {
        spec: read.spec,
        // The table's own check lets no other in.
        status: status_of(&row).unwrap_or(Status::Failed),
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
        truncated: Truncated::default(),
        changes: None,
        attempts: None,
        attempted: Attempted {
            structured_output: json(&row.structured_output),
            usage: json(&row.usage),
            permission_denials: json(&row.permission_denials),
            error: unread.or_else(|| {
                row.error_code.map(|code| TaskError {
                    code,
                    class: row.error_class.unwrap_or_default(),
                    message: row.error_message.unwrap_or_default(),
                })
            }),
            result: row.result,
            session_id: row.session_id,
            cost_usd: row.cost_usd,
            num_turns: row.num_turns,
            duration_ms: row.duration_ms,
        },
        remarks: row.remarks.and_then(|remarks| serde_json::from_str(&remarks).ok()).unwrap_or_default(),
    }
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
    let options = spec_of(row).spec.options;
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

/// The event, as it is read. A kind of a newer version reads as `log`; data that is no JSON object is text.
pub fn event_of(row: event::Model) -> Event {
    let data = match crate::task::json::clean(&row.data) {
        Some(Cow::Borrowed(_)) if row.data.starts_with('{') => row.data,
        Some(Cow::Owned(data)) if data.starts_with('{') => data,
        _ => serde_json::json!({ "message": row.data }).to_string(),
    };
    Event {
        task: row.task_id,
        seq: row.seq,
        at: Wall(row.at),
        kind: EventKind::from_name(&row.kind).unwrap_or(EventKind::Log),
        data,
    }
}
