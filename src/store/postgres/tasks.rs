//! Statements on tasks.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{Bound, unread};
use super::table::Table;
use super::tx::{PostgresTx, only, status_name};
use super::value::{Value, get, params};
use crate::store::StoreError;
use crate::store::rows::{ChangesRow, FoundTask, IdempotencyKeyRow, ProgressRow, TaskBefore, TaskRow};
use crate::store::tx::{Tasks, Tx as _};
use domain::{Hold, Name, Named as _, SessionId, Status, TaskId};
use wire::TaskError;

/// Tasks, each with whether any is held back, and whether any waits for dependencies: there may be many of those, which lie
/// together in the index.
static FIND: LazyLock<String> = LazyLock::new(|| {
    let any_held = |than: &str| {
        let name = Hold::DEPENDENCIES;
        format!("EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND held IS NOT NULL AND held {than} '{name}')")
    };
    let (columns, before, behind) = (TaskRow::COLUMNS, any_held("<"), any_held(">"));
    format!("SELECT {columns}, {before} OR {behind}, EXISTS (SELECT 1 FROM waits) FROM tasks WHERE id = ANY($1)")
});

const UPDATE: &str = "UPDATE tasks SET status = new.status, due_at = new.due_at, completed_at = new.completed_at,
        attempt = new.attempt, finished_attempts = new.finished_attempts, crashes = new.crashes, epoch = new.epoch,
        holder = new.holder, lease_ms = new.lease_ms, lease_boot = new.lease_boot, held = new.held,
        last_event = new.last_event, session_id = new.session_id, waiting_for = new.waiting_for, result = new.result,
        structured_output = new.structured_output, error_class = new.error_class, error_code = new.error_code,
        error_message = new.error_message, cost_usd = new.cost_usd, usage = new.usage, num_turns = new.num_turns,
        duration_ms = new.duration_ms, permission_denials = new.permission_denials, remarks = new.remarks,
        cost_so_far = NULL, looping = NULL
    FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::int8[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[],
            $10::uuid[], $11::int8[], $12::uuid[], $13::text[], $14::int8[], $15::text[], $16::text[], $17::text[],
            $18::text[], $19::text[], $20::text[], $21::text[], $22::float8[], $23::text[], $24::int8[], $25::int8[],
            $26::text[], $27::text[])
        AS new(task, was_epoch, status, due_at, completed_at, attempt, finished_attempts, crashes, epoch, holder, lease_ms,
            lease_boot, held, last_event, session_id, waiting_for, result, structured_output, error_class, error_code,
            error_message, cost_usd, usage, num_turns, duration_ms, permission_denials, remarks)
    WHERE tasks.id = new.task AND tasks.epoch = new.was_epoch";

const PROGRESS: &str = "UPDATE tasks SET last_event = new.last_event, attempt_events = new.attempt_events,
        session_id = COALESCE(new.session_id, tasks.session_id), cost_so_far = COALESCE(new.cost_so_far, tasks.cost_so_far),
        looping = COALESCE(new.looping, tasks.looping)
    FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::float8[], $6::text[])
        AS new(task, last_event, attempt_events, session_id, cost_so_far, looping)
    WHERE tasks.id = new.task";

const RESCHEDULE: &str =
    "UPDATE tasks SET spec = $2, priority = $3, due_at = $4, held = $5, last_event = $6 WHERE id = $1";

/// Returns the key and the status that it had.
const FAIL_UNREAD: &str =
    "UPDATE tasks SET status = 'failed', holder = NULL, lease_ms = NULL, lease_boot = NULL, completed_at = $2,
        error_class = $3, error_code = $4, error_message = $5
    FROM (SELECT id AS was_id, key_name AS was_key, status AS was_status FROM tasks WHERE id = $1) was
    WHERE id = was_id RETURNING was_key, was_status";

const SESSION_USER: &str = "SELECT id FROM tasks WHERE id = $1 AND status IN ('pending', 'running')
    UNION ALL SELECT id FROM tasks WHERE resume_session_id = $2 AND session_id = $2 AND status IN ('pending', 'running') LIMIT 1";

const IDEMPOTENCY_KEY: &str = "SELECT key, fingerprint, task_id, created_at FROM idempotency_keys WHERE key = $1";

const PUT_CHANGES: &str = "INSERT INTO changes (task_id, summary, patch) VALUES ($1, $2, $3)
    ON CONFLICT (task_id) DO UPDATE SET summary = excluded.summary, patch = excluded.patch";

/// Reads tasks.
pub fn find(ids: &[TaskId]) -> Bound {
    Bound::of(&FIND, [Value::ids(ids.iter().map(|id| id.uuid()))])
}

/// Keeps tasks that were read. One that can't be is left to its own command.
pub fn keep(tx: &mut PostgresTx<'_>, rows: &[Row]) {
    for row in rows {
        if tx.any_held.is_none() {
            tx.any_held = row.try_get(TaskRow::WIDTH).ok();
            tx.any_waits = row.try_get(TaskRow::WIDTH + 1).ok();
        }
        if let Ok(row) = TaskRow::read(row) {
            tx.keep(row);
        }
    }
}

#[async_trait(?Send)]
impl Tasks for PostgresTx<'_> {
    async fn insert_task(&mut self, row: &TaskRow, tags: &[String]) -> Result<(), StoreError> {
        self.insert(row);
        self.tell_workers();
        let mut known: Vec<&String> = Vec::new();
        for tag in tags {
            if !known.contains(&tag) {
                known.push(tag);
                self.insert_values("task_tags", "tag, task_id", params![tag, row.id].into());
            }
        }
        self.count(&row.key_name, &status_name(row), 1);
        Ok(())
    }

    async fn task(&mut self, id: TaskId) -> Result<Option<FoundTask>, StoreError> {
        if let Some(row) = self.known(id)
            && let Some(any_held) = self.any_held
        {
            return Ok(Some(FoundTask { row: row.clone(), any_held, any_waits: self.any_waits.unwrap_or(true) }));
        }
        let rows = self.rows(&FIND, vec![Value::ids([id.uuid()])]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let row = TaskRow::read(row).map_err(unread)?;
        keep(self, &rows);
        let (any_held, any_waits) = (self.any_held.unwrap_or(true), self.any_waits.unwrap_or(true));
        Ok(Some(FoundTask { row, any_held, any_waits }))
    }

    async fn update_task(&mut self, row: &TaskRow, was: TaskBefore) -> Result<bool, StoreError> {
        let Some(before) = self.task(row.id).await? else { return Ok(false) };
        if before.row.epoch != was.epoch {
            return Ok(false);
        }
        let (epoch, was, is) = (was.epoch, was.status.name(), status_name(row));
        if [Status::Pending.name(), Status::Cancelled.name()].contains(&&*is) {
            self.tell_workers();
        }
        if was != is {
            self.count(&before.row.key_name, was, -1);
            self.count(&before.row.key_name, &is, 1);
        }
        let values = params![
            row.id,
            epoch,
            is,
            row.due_at,
            row.completed_at,
            row.attempt,
            row.finished_attempts,
            row.crashes,
            row.epoch,
            row.holder,
            row.lease_ms,
            row.lease_boot,
            &row.held,
            row.last_event,
            &row.session_id,
            &row.waiting_for,
            &row.result,
            &row.structured_output,
            row.error_class.as_ref().map(Name::name),
            &row.error_code,
            &row.error_message,
            row.cost_usd,
            &row.usage,
            row.num_turns,
            row.duration_ms,
            &row.permission_denials,
            &row.remarks,
        ];
        self.defer_row(row.id, UPDATE, values);
        self.keep(TaskRow { cost_so_far: None, looping: None, ..row.clone() });
        Ok(true)
    }

    async fn reschedule_task(&mut self, row: &TaskRow) -> Result<(), StoreError> {
        let TaskRow { id, spec, priority, due_at, held, last_event, .. } = row;
        self.tell_workers();
        self.defer_of(*id, RESCHEDULE, params![*id, spec, *priority, *due_at, held, *last_event]);
        self.keep(row.clone());
        Ok(())
    }

    async fn set_progress(&mut self, id: TaskId, progress: &ProgressRow) -> Result<(), StoreError> {
        let ProgressRow { last_event, attempt_events, session, cost_so_far, looping } = progress;
        let session = session.map(|session| session.to_string());
        if let Some(row) = self.known_mut(id) {
            (row.last_event, row.attempt_events) = (*last_event, *attempt_events);
            row.cost_so_far = cost_so_far.or(row.cost_so_far);
            if looping.is_some() {
                row.looping.clone_from(looping);
            }
            if session.is_some() {
                row.session_id.clone_from(&session);
            }
        }
        self.defer_row(id, PROGRESS, params![id, *last_event, *attempt_events, session, *cost_so_far, looping]);
        Ok(())
    }

    async fn set_waiting(&mut self, id: TaskId, last_event: i64, waiting_for: Option<&str>) -> Result<(), StoreError> {
        if let Some(row) = self.known_mut(id) {
            row.last_event = last_event;
            row.waiting_for = waiting_for.map(str::to_owned);
        }
        let text = "UPDATE tasks SET last_event = $2, waiting_for = $3 WHERE id = $1";
        self.defer_of(id, text, params![id, last_event, waiting_for]);
        Ok(())
    }

    async fn fail_unread(&mut self, id: TaskId, error: &TaskError) -> Result<(), StoreError> {
        let TaskError { class, code, message } = error;
        let values = params![id, self.clock().wall, class.name(), code, message];
        let was: Option<(String, String)> =
            self.one(FAIL_UNREAD, values, |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
        if let Some((key, status)) = was {
            self.count(&key, &status, -1);
            self.count(&key, Status::Failed.name(), 1);
        }
        self.tell_workers();
        self.forget(&[id]);
        Ok(())
    }

    async fn session_user(&mut self, session: SessionId) -> Result<Option<TaskId>, StoreError> {
        self.one(SESSION_USER, params![session, session.to_string()], only).await
    }

    async fn pending(&mut self) -> Result<i64, StoreError> {
        self.pending_tasks().await
    }

    async fn idempotency_key(&mut self, key: &str) -> Result<Option<IdempotencyKeyRow>, StoreError> {
        self.one(IDEMPOTENCY_KEY, params![key], IdempotencyKeyRow::read).await
    }

    async fn insert_idempotency_key(&mut self, row: &IdempotencyKeyRow) -> Result<(), StoreError> {
        self.insert(row);
        Ok(())
    }

    async fn put_changes(&mut self, row: &ChangesRow) -> Result<(), StoreError> {
        self.defer(PUT_CHANGES, params![row.task_id, &row.summary, row.patch.clone()]);
        Ok(())
    }
}
