//! A new task.

use entity::{idempotency_key, task};
use rusqlite::params;
use serde_json::json;
use uuid::Uuid;

use super::row::{task_of, task_with};
use super::{Change, StoreError, Tx, hooks, settle};
use crate::queue::messages::{AllSubmitted, Directory, Submit, SubmitAll, Submitted};
use crate::task::stored::{self, StoredSpec};
use crate::task::{Did, EventKind, NewEvent, Status, TaskId};

impl Change for Submit {
    type Answer = Submitted;

    const MAKES_WORK: bool = true;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Submitted, StoreError> {
        if let Some((key, fingerprint)) = &self.idempotency {
            let known = "SELECT fingerprint, task_id FROM idempotency_keys WHERE key = ?1";
            let known = tx.one(known, [key], |row| Ok((row.get::<_, String>(0)?, row.get(1)?)))?;
            if let Some((known, task)) = known {
                if known != *fingerprint {
                    return Ok(Submitted::KeyReused);
                }
                if let Some(row) = settle::find(tx, task)? {
                    return Ok(Submitted::Repeated(Box::new(task_of(row))));
                }
            }
        }
        if let Some(resumes) = self.task.resumes.as_ref().filter(|resumes| !resumes.fork)
            && let Some(other) = user_of(tx, resumes.session)?
        {
            return Ok(Submitted::SessionInUse(other));
        }
        if !has_room(tx, self.max_pending)? {
            return Ok(Submitted::Full);
        }
        let row = self.new_row(tx)?;
        if let Some((key, fingerprint)) = &self.idempotency {
            let (key, fingerprint) = (key.clone(), fingerprint.clone());
            tx.insert(&idempotency_key::Model { key, fingerprint, task_id: row.id, created_at: tx.now.0 })?;
        }
        tx.record(&Did::Submit {
            task: row.id,
            priority: row.priority,
            due: row.due_at,
            max_attempts: row.max_attempts,
            concurrency_key: row.concurrency_key.clone(),
            key: self.idempotency.clone(),
        });
        tx.insert_task(&row, &self.task.spec.tags)?;
        if let Some(webhook) = &self.task.spec.options.webhook {
            hooks::add(tx, Some(row.id), webhook)?;
        }
        let read = StoredSpec { spec: self.task.spec.clone(), unreadable: None };
        Ok(Submitted::Created(Box::new(task_with(row, read))))
    }
}

impl Change for SubmitAll {
    type Answer = AllSubmitted;

    const MAKES_WORK: bool = true;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<AllSubmitted, StoreError> {
        tx.all_or_none(|tx| {
            let mut tasks = Vec::with_capacity(self.0.len());
            for (n, submit) in self.0.iter().enumerate() {
                match submit.run(tx)? {
                    Submitted::Created(task) => tasks.push((task, false)),
                    Submitted::Repeated(task) => tasks.push((task, true)),
                    refused => return Ok(Err((n, refused))),
                }
            }
            Ok(Ok(tasks))
        })
    }
}

impl Submit {
    fn new_row(&self, tx: &mut Tx<'_>) -> Result<task::Model, StoreError> {
        let id = TaskId::now_v7();
        let spec = &self.task.spec;
        let due = spec.run_at.filter(|at| *at > tx.now);
        let event = NewEvent::new(EventKind::Status, &json!({ "status": Status::Pending }));
        // A session of its own has the task's own id.
        let session = self.task.resumes.as_ref().filter(|resumes| !resumes.fork).map_or(id, |resumes| resumes.session);
        Ok(task::Model {
            id,
            status: Status::Pending.name().to_owned(),
            spec: stored::to_text(spec).map_err(|error| StoreError::unwritable(id, &error))?,
            priority: spec.priority,
            created_at: tx.now.0,
            due_at: due.map(|due| due.0),
            started_at: None,
            completed_at: None,
            attempt: 0,
            ended: 0,
            crashes: 0,
            max_attempts: spec.options.attempts(),
            epoch: 0,
            holder: None,
            lease_ms: None,
            lease_boot: None,
            worker: None,
            working_directory: Some(match &self.task.directory {
                Directory::Named(folder) => folder.clone(),
                Directory::OwnBelow(folder) => format!("{folder}/{id}"),
                Directory::WorktreeBelow(folder, below) if below.is_empty() => format!("{folder}/{id}"),
                Directory::WorktreeBelow(folder, below) => format!("{folder}/{id}/{below}"),
            }),
            retry_of: self.task.retry_of,
            last_event: tx.add_events(id, 0, &[event])?,
            attempt_events: 0,
            session_id: Some(session.to_string()),
            resumes: self.task.resumes.as_ref().map(|resumes| resumes.session.to_string()),
            continued_from: self.task.resumes.as_ref().and_then(|resumes| resumes.task),
            key_name: self.task.key.clone(),
            max_budget_usd: spec.options.sdk.max_budget_usd,
            own_directory: matches!(self.task.directory, Directory::OwnBelow(_)),
            exclusive: self.task.exclusive,
            concurrency_key: spec.concurrency_key.clone(),
            held: None,
            waiting_for: None,
            said: 0,
            result: None,
            structured_output: None,
            error_class: None,
            error_code: None,
            error_message: None,
            cost_usd: None,
            usage: None,
            num_turns: None,
            duration_ms: None,
            permission_denials: None,
            remarks: None,
        })
    }
}

/// The task that has not ended and uses this session: two would write into each other's conversation.
fn user_of(tx: &mut Tx<'_>, session: Uuid) -> Result<Option<TaskId>, StoreError> {
    let text = "SELECT id FROM tasks WHERE id = ?1 AND status IN ('pending', 'running')
        UNION ALL SELECT id FROM tasks WHERE resumes = ?2 AND session_id = ?2 AND status IN ('pending', 'running') LIMIT 1";
    tx.one(text, params![session, session.to_string()], |row| row.get(0))
}

/// Whether one more may be pending.
fn has_room(tx: &Tx<'_>, most: i64) -> Result<bool, StoreError> {
    let count = "SELECT count FROM task_counts WHERE status = 'pending'";
    Ok(tx.one(count, [], |row| row.get(0))?.unwrap_or(0) < most)
}
