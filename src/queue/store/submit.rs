//! A new task.

use entity::{idempotency_key, task};
use sea_orm::ActiveValue::Set;
use sea_orm::{ConnectionTrait, EntityTrait};
use serde_json::json;
use uuid::Uuid;

use super::row::{sql, task_of, task_with};
use super::tx::Pending;
use super::{Change, StoreError, Tx};
use crate::queue::messages::{Directory, Submit, Submitted};
use crate::task::{Did, EventKind, NewEvent, Status, TaskId};

impl Change for Submit {
    type Answer = Submitted;

    const ESSENTIAL: bool = false;

    async fn run(&self, tx: &mut Tx) -> Result<Submitted, StoreError> {
        if let Some((key, fingerprint)) = &self.idempotency {
            let known = idempotency_key::Entity::find_by_id(key.clone()).one(tx.db().await?).await?;
            if let Some(known) = known {
                if known.fingerprint != *fingerprint {
                    return Ok(Submitted::KeyReused);
                }
                if let Some(row) = task::Entity::find_by_id(known.task_id).one(tx.db().await?).await? {
                    return Ok(Submitted::Repeated(Box::new(task_of(row)?)));
                }
            }
        }
        if let Some(resumes) = self.task.resumes.as_ref().filter(|resumes| !resumes.fork)
            && let Some(other) = user_of(tx, resumes.session).await?
        {
            return Ok(Submitted::SessionInUse(other));
        }
        if !has_room(tx, self.max_pending).await? {
            return Ok(Submitted::Full);
        }
        let row = self.new_row(tx);
        if let Some((key, fingerprint)) = &self.idempotency {
            remember(tx, key, fingerprint, row.id).await?;
        }
        tx.record(&Did::Submit {
            task: row.id,
            priority: row.priority,
            due: row.due_at,
            max_attempts: row.max_attempts,
            key: self.idempotency.clone(),
        });
        tx.insert(row.clone(), &self.task.spec.tags);
        Ok(Submitted::Created(Box::new(task_with(row, self.task.spec.clone())?)))
    }
}

impl Submit {
    fn new_row(&self, tx: &mut Tx) -> task::Model {
        let id = TaskId::now_v7();
        let spec = &self.task.spec;
        let due = spec.run_at.filter(|at| *at > tx.now);
        let event = NewEvent::new(EventKind::Status, &json!({ "status": Status::Pending }));
        // A session of its own has the task's own id.
        let session = self.task.resumes.as_ref().filter(|resumes| !resumes.fork).map_or(id, |resumes| resumes.session);
        task::Model {
            id,
            status: Status::Pending.name().to_owned(),
            spec: serde_json::to_string(spec).unwrap_or_default(),
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
            last_event: tx.add_events(id, 0, vec![event]),
            attempt_events: 0,
            session_id: Some(session.to_string()),
            resumes: self.task.resumes.as_ref().map(|resumes| resumes.session.to_string()),
            continued_from: self.task.resumes.as_ref().and_then(|resumes| resumes.task),
            key_name: self.task.key.clone(),
            max_budget_usd: spec.options.sdk.max_budget_usd,
            exclusive: self.task.exclusive,
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
        }
    }
}

/// The task that has not ended and uses this session: two would write into each other's conversation.
async fn user_of(tx: &mut Tx, session: Uuid) -> Result<Option<TaskId>, StoreError> {
    let text = "SELECT id FROM tasks WHERE id = ?1 AND status IN ('pending', 'running')
        UNION ALL SELECT id FROM tasks WHERE resumes = ?2 AND session_id = ?2 AND status IN ('pending', 'running') LIMIT 1";
    let row = tx.db().await?.query_one_raw(sql(text, [session.into(), session.to_string().into()])).await?;
    Ok(row.map(|row| row.try_get_by_index(0)).transpose()?)
}

/// Whether one more may be pending; counts it where it may. Read again before it says no.
async fn has_room(tx: &mut Tx, most: i64) -> Result<bool, StoreError> {
    let known = tx.pending.filter(|known| known.is_fresh() && known.count < most);
    let mut pending = match known {
        Some(known) => known,
        None => {
            let row =
                tx.db().await?.query_one_raw(sql("SELECT count FROM task_counts WHERE status = 'pending'", [])).await?;
            let count = row.map(|row| row.try_get_by_index(0)).transpose()?.unwrap_or(0);
            Pending { count, read_at: std::time::Instant::now() }
        }
    };
    let has_room = pending.count < most;
    pending.count += i64::from(has_room);
    tx.pending = Some(pending);
    Ok(has_room)
}

async fn remember(tx: &mut Tx, key: &str, fingerprint: &str, task: TaskId) -> Result<(), StoreError> {
    let row = idempotency_key::ActiveModel {
        key: Set(key.to_owned()),
        fingerprint: Set(fingerprint.to_owned()),
        task_id: Set(task),
        created_at: Set(tx.now.0),
    };
    idempotency_key::Entity::insert(row).exec_without_returning(tx.db().await?).await?;
    Ok(())
}
