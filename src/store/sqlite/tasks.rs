//! Statements on tasks.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::params;

use super::query::lossy;
use super::table::Table;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::{ChangesRow, FoundTask, IdempotencyKeyRow, ProgressRow, TaskBefore, TaskRow};
use crate::store::tx::{Tasks, Tx as _};
use domain::{BootId, Hold, Name, Named as _, SessionId, Status, TaskId, Usd, WorkerInstanceId};
use wire::TaskError;

const TAG: &str = "INSERT INTO task_tags (tag, task_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";

/// A task, whether any is held back, and whether any waits for dependencies: there may be many of those, which lie
/// together in the index.
pub static FIND: LazyLock<String> = LazyLock::new(|| {
    let any_held = |than: &str| {
        format!(
            "EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held IS NOT NULL
                AND held {than} '{}')",
            Hold::DEPENDENCIES
        )
    };
    format!(
        "SELECT {}, {} OR {}, EXISTS (SELECT 1 FROM waits) FROM tasks WHERE id = ?1",
        TaskRow::COLUMNS,
        any_held("<"),
        any_held(">")
    )
});

const UPDATE: &str =
    "UPDATE tasks SET status = ?3, due_at = ?4, completed_at = ?5, attempt = ?6, finished_attempts = ?7,
        crashes = ?8, epoch = ?9, holder = ?10, lease_ms = ?11, lease_boot = ?12, held = ?13, last_event = ?14,
        session_id = ?15, waiting_for = ?16, result = ?17, structured_output = ?18, error_class = ?19,
        error_code = ?20, error_message = ?21, cost_usd = ?22, usage = ?23, num_turns = ?24, duration_ms = ?25,
        permission_denials = ?26, remarks = ?27, cost_so_far = NULL, looping = NULL
    WHERE id = ?1 AND epoch = ?2";

const PROGRESS: &str = "UPDATE tasks SET last_event = ?2, attempt_events = ?3, session_id = COALESCE(?4, session_id),
        cost_so_far = COALESCE(?5, cost_so_far), looping = COALESCE(?6, looping)
    WHERE id = ?1";

const RESCHEDULE: &str =
    "UPDATE tasks SET spec = ?2, priority = ?3, due_at = ?4, held = ?5, last_event = ?6 WHERE id = ?1";

const FAIL_UNREAD: &str =
    "UPDATE tasks SET status = 'failed', holder = NULL, lease_ms = NULL, lease_boot = NULL, completed_at = ?2,
        error_class = ?3, error_code = ?4, error_message = ?5 WHERE id = ?1";

const SESSION_USER: &str = "SELECT id FROM tasks WHERE id = ?1 AND status IN ('pending', 'running')
    UNION ALL SELECT id FROM tasks WHERE resume_session_id = ?2 AND session_id = ?2 AND status IN ('pending', 'running') LIMIT 1";

const IDEMPOTENCY_KEY: &str = "SELECT key, fingerprint, task_id, created_at FROM idempotency_keys WHERE key = ?1";

const PUT_CHANGES: &str = "INSERT INTO changes (task_id, summary, patch) VALUES (?1, ?2, ?3)
    ON CONFLICT (task_id) DO UPDATE SET summary = excluded.summary, patch = excluded.patch";

impl SqliteTx<'_> {
    /// The key and the status under which a task is counted. One that can't be read is counted too.
    pub(super) fn counted_as(&self, id: TaskId) -> Result<Option<(String, String)>, StoreError> {
        let text = "SELECT key_name, status FROM tasks WHERE id = ?1";
        self.db()?.one(text, [id.as_bytes()], |row| Ok((lossy(row, 0)?, lossy(row, 1)?)))
    }
}

#[async_trait(?Send)]
impl Tasks for SqliteTx<'_> {
    async fn insert_task(&mut self, row: &TaskRow, tags: &[String]) -> Result<(), StoreError> {
        let db = self.db()?;
        db.insert(row)?;
        for tag in tags {
            db.execute(TAG, params![tag, row.id.as_bytes()])?;
        }
        self.count(&row.key_name, row.status.name(), 1);
        Ok(())
    }

    async fn task(&mut self, id: TaskId) -> Result<Option<FoundTask>, StoreError> {
        self.db()?.one(&FIND, [id.as_bytes()], |row| {
            Ok(FoundTask {
                row: TaskRow::read(row)?,
                any_held: row.get(TaskRow::WIDTH)?,
                any_waits: row.get(TaskRow::WIDTH + 1)?,
            })
        })
    }

    async fn update_task(&mut self, row: &TaskRow, was: TaskBefore) -> Result<bool, StoreError> {
        let values = params![
            row.id.as_bytes(),
            was.epoch.number(),
            row.status.name(),
            row.due_at,
            row.completed_at,
            row.attempt,
            row.finished_attempts,
            row.crashes,
            row.epoch.number(),
            row.holder.map(WorkerInstanceId::uuid),
            row.lease_ms,
            row.lease_boot.map(BootId::uuid),
            row.held,
            row.last_event,
            row.session_id,
            row.waiting_for,
            row.result,
            row.structured_output,
            row.error_class.as_ref().map(Name::name),
            row.error_code,
            row.error_message,
            row.cost_usd.map(Usd::dollars),
            row.usage,
            row.num_turns,
            row.duration_ms,
            row.permission_denials,
            row.remarks
        ];
        let is_updated = self.db()?.execute(UPDATE, values)? > 0;
        let (was, is) = (was.status.name(), row.status.name());
        if is_updated && was != is {
            self.count(&row.key_name, was, -1);
            self.count(&row.key_name, is, 1);
        }
        Ok(is_updated)
    }

    async fn reschedule_task(&mut self, row: &TaskRow) -> Result<(), StoreError> {
        let TaskRow { id, spec, priority, due_at, held, last_event, .. } = row;
        self.db()?.execute(RESCHEDULE, params![id.as_bytes(), spec, priority, due_at, held, last_event])?;
        Ok(())
    }

    async fn set_progress(&mut self, id: TaskId, progress: &ProgressRow) -> Result<(), StoreError> {
        let ProgressRow { last_event, attempt_events, session, cost_so_far, looping } = progress;
        let session = session.map(|session| session.to_string());
        let values =
            params![id.as_bytes(), last_event, attempt_events, session, cost_so_far.map(Usd::dollars), looping];
        self.db()?.execute(PROGRESS, values)?;
        Ok(())
    }

    async fn set_waiting(&mut self, id: TaskId, last_event: i64, waiting_for: Option<&str>) -> Result<(), StoreError> {
        let text = "UPDATE tasks SET last_event = ?2, waiting_for = ?3 WHERE id = ?1";
        self.db()?.execute(text, params![id.as_bytes(), last_event, waiting_for])?;
        Ok(())
    }

    async fn fail_unread(&mut self, id: TaskId, error: &TaskError) -> Result<(), StoreError> {
        let TaskError { class, code, message } = error;
        if let Some((key, was)) = self.counted_as(id)? {
            self.count(&key, &was, -1);
            self.count(&key, Status::Failed.name(), 1);
        }
        self.db()?.execute(FAIL_UNREAD, params![id.as_bytes(), self.clock().wall.0, class.name(), code, message])?;
        Ok(())
    }

    async fn session_user(&mut self, session: SessionId) -> Result<Option<TaskId>, StoreError> {
        self.db()?.one(SESSION_USER, params![session.as_bytes(), session.to_string()], |row| row.get(0).map(TaskId::of))
    }

    async fn pending(&mut self) -> Result<i64, StoreError> {
        self.pending_tasks()
    }

    async fn idempotency_key(&mut self, key: &str) -> Result<Option<IdempotencyKeyRow>, StoreError> {
        self.db()?.one(IDEMPOTENCY_KEY, [key], IdempotencyKeyRow::read)
    }

    async fn insert_idempotency_key(&mut self, row: &IdempotencyKeyRow) -> Result<(), StoreError> {
        self.db()?.insert(row)
    }

    async fn put_changes(&mut self, row: &ChangesRow) -> Result<(), StoreError> {
        self.db()?.execute(PUT_CHANGES, params![row.task_id.as_bytes(), row.summary, row.patch])?;
        Ok(())
    }
}
