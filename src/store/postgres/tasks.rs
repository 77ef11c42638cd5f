//! Statements on tasks.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{Bound, readable, unread};
use super::limits::groups_of;
use super::table::Table;
use super::tx::{PostgresTx, only, status_name};
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::families;
use crate::store::rows::{
    Allowance, ChangesRow, ClaimRow, FoundTask, IdempotencyKeyRow, Lenient, MAX_LANES, MAX_LINES, ProgressRow,
    ReadyRow, TaskBefore, TaskRow, UnreadRow,
};
use crate::store::tx::{Tasks, Tx as _};
use domain::{
    BootInstant, Hold, LeaseKey, Name, Named as _, SessionId, Share, Status, TaskId, Timestamp, WorkerInstanceId,
};
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

/// Rows that somebody has locked by hand keep nobody waiting. Each is found by its id: of many at once the server would rather
/// walk all that are ready, and without statistics it would do so for each of them. `status || ''` stands in no index.
static CLAIM: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE tasks SET status = 'running', epoch = epoch + 1, attempt = attempt + 1,
            holder = $1, worker = $2, lease_ms = $3, lease_boot = $4,
            started_at = COALESCE(started_at, $5), last_event = last_event + 1, attempt_events = 0
        WHERE id = ANY(ARRAY(SELECT ready.id FROM unnest($6) AS wanted(id) CROSS JOIN LATERAL
            (SELECT id FROM tasks WHERE tasks.id = wanted.id AND status || '' = 'pending' AND due_at IS NULL
                FOR UPDATE SKIP LOCKED) ready))
        RETURNING {}",
        TaskRow::COLUMNS
    )
});

const DUE: &str = "UPDATE tasks SET due_at = NULL, held = NULL WHERE status = 'pending' AND due_at <= $1 RETURNING id";

// As it stands in the statement.
const _: () = assert!(MAX_LANES == 200, "the limit of LANES");

/// Goes from lane to lane, however many tasks each has, and never into that of tasks without requirements: it begins with all
/// that were claimed since the server cleaned up last.
pub const LANES: &str = "ARRAY(WITH RECURSIVE lanes AS (
        SELECT ''::text AS lane
        UNION ALL
        SELECT (SELECT lane FROM tasks WHERE status = 'pending' AND due_at IS NULL AND lane > lanes.lane
            ORDER BY lane LIMIT 1) FROM lanes WHERE lanes.lane IS NOT NULL)
    SELECT lane FROM lanes WHERE lane > '' LIMIT 200)";

static ONLY_LANES: LazyLock<String> = LazyLock::new(|| format!("SELECT {LANES}"));

/// The columns of [`Allowance`], in order.
static ALLOWANCE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT
        paused OR EXISTS (SELECT 1 FROM credentials WHERE id = $2 AND parked_until > $3), concurrency,
        (SELECT COUNT(*) FROM tasks WHERE status = 'running' AND holder = $1),
        (SELECT COALESCE(MAX(crashes), 0) FROM tasks WHERE status = 'running' AND holder = $1),
        EXISTS (SELECT 1 FROM tasks WHERE exclusive AND status IN ('pending','running'))
            OR EXISTS (SELECT 1 FROM tasks WHERE concurrency_key IS NOT NULL AND status IN ('pending','running')),
        EXISTS (SELECT 1 FROM limits),
        EXISTS (SELECT 1 FROM api_keys WHERE daily_budget_usd IS NOT NULL), turn, {LANES}
    FROM queue_state WHERE id = 1"
    )
});

const RENEW: &str = "UPDATE tasks SET lease_ms = kept.lease_ms, lease_boot = kept.lease_boot
    FROM unnest($1::int8[], $2::uuid[], $3::uuid[], $4::int8[]) AS kept(lease_ms, lease_boot, task, task_epoch)
    WHERE id = task AND epoch = task_epoch";

/// The leases of a worker.
pub const LEASES: &str = "SELECT id, epoch FROM tasks WHERE status = 'running' AND holder = $1";

static OF_HOLDER: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM tasks WHERE status = 'running' AND holder = $1", TaskRow::COLUMNS));

// As it stands in the statement.
const _: () = assert!(MAX_LINES == 5000, "the limit of READY");

/// The first ready tasks of each share in these lanes: each has a line of its own in the index, which is found by one look
/// and read no further than it must be.
static READY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH RECURSIVE lines AS (
        (SELECT lane, share FROM tasks WHERE status = 'pending' AND due_at IS NULL ORDER BY lane, share LIMIT 1)
        UNION ALL
        SELECT next.lane, next.share FROM lines CROSS JOIN LATERAL (SELECT lane, share FROM tasks
            WHERE status = 'pending' AND due_at IS NULL AND (lane, share) > (lines.lane, lines.share)
            ORDER BY lane, share LIMIT 1) next),
        wanted AS (SELECT lane, share FROM (SELECT lane, share FROM lines LIMIT 5000) found WHERE lane = ANY($3))
    SELECT first.*, wanted.share, COALESCE(weight, 1), COALESCE(pass, 0)
    FROM wanted LEFT JOIN shares ON name = wanted.share CROSS JOIN LATERAL
        (SELECT id, priority, crashes, working_directory, exclusive, max_budget_usd, {} AS used_usd, key_name, concurrency_key,
            CASE WHEN $2 THEN spec END AS spec FROM tasks
        WHERE status = 'pending' AND due_at IS NULL AND lane = wanted.lane AND share = wanted.share
        ORDER BY priority DESC, id LIMIT $1) first",
        families::used()
    )
});

const BUSY: &str =
    "SELECT COALESCE(working_directory, ''), BOOL_OR(exclusive) FROM tasks WHERE status = 'running' GROUP BY 1";

/// The shares of what is held back are each found by one look into the index.
const RELEASE: &str = "WITH RECURSIVE held_shares AS (
        (SELECT share FROM tasks WHERE status = 'pending' AND held = $1 ORDER BY share LIMIT 1)
        UNION ALL
        SELECT next.share FROM held_shares CROSS JOIN LATERAL (SELECT share FROM tasks
            WHERE status = 'pending' AND held = $1 AND share > held_shares.share ORDER BY share LIMIT 1) next)
    UPDATE tasks SET held = NULL, due_at = NULL WHERE id = ANY(ARRAY(SELECT first.id
        FROM held_shares CROSS JOIN LATERAL (SELECT id FROM tasks
            WHERE status = 'pending' AND held = $1 AND share = held_shares.share ORDER BY priority DESC, id LIMIT $2) first))
    RETURNING id";

const RELEASE_ALL: &str =
    "UPDATE tasks SET held = NULL, due_at = NULL WHERE status = 'pending' AND held = $1 RETURNING id";

const PUT_CHANGES: &str = "INSERT INTO changes (task_id, summary, patch) VALUES ($1, $2, $3)
    ON CONFLICT (task_id) DO UPDATE SET summary = excluded.summary, patch = excluded.patch";

/// A task; of one that can't be read, its id and why.
fn lenient(row: &Row) -> Result<Lenient<TaskRow>, Unread> {
    match TaskRow::read(row) {
        Ok(row) => Ok(Ok(row)),
        Err(error) => Ok(Err(UnreadRow { id: get(row, 0)?, why: error.to_string() })),
    }
}

/// A lease.
pub fn lease(row: &Row) -> Result<LeaseKey, Unread> {
    Ok(LeaseKey { task: get(row, 0)?, epoch: get(row, 1)? })
}

fn ready(row: &Row) -> Result<ReadyRow, Unread> {
    Ok(ReadyRow {
        id: get(row, 0)?,
        priority: get(row, 1)?,
        crashes: get(row, 2)?,
        working_directory: get(row, 3)?,
        exclusive: get(row, 4)?,
        max_budget_usd: get(row, 5)?,
        used_usd: get(row, 6)?,
        key_name: get(row, 7)?,
        groups: groups_of(row, 7)?,
        share: get(row, 10)?,
        turns: Share { weight: get(row, 11)?, pass: get(row, 12)? },
    })
}

fn allowance(row: &Row) -> Result<Allowance, Unread> {
    Ok(Allowance {
        held_back: get(row, 0)?,
        concurrency: get(row, 1)?,
        running: get(row, 2)?,
        own_crashes: get(row, 3)?,
        gated: get(row, 4)?,
        limited: get(row, 5)?,
        key_budgets: get(row, 6)?,
        turn: get(row, 7)?,
        lanes: get(row, 8)?,
    })
}

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

    async fn promote_due(&mut self, now: Timestamp) -> Result<Vec<TaskId>, StoreError> {
        let promoted = self.all(DUE, params![now], only).await?;
        self.forget(&promoted);
        if !promoted.is_empty() {
            self.tell_workers();
        }
        Ok(promoted)
    }

    async fn allowance(
        &mut self,
        holder: WorkerInstanceId,
        credential: &str,
        now: Timestamp,
    ) -> Result<Option<Allowance>, StoreError> {
        self.one(&ALLOWANCE, params![holder, credential, now], allowance).await
    }

    async fn claim(&mut self, claim: &ClaimRow<'_>) -> Result<Vec<Lenient<TaskRow>>, StoreError> {
        let ClaimRow { holder, worker, expires, now, tasks } = *claim;
        let tasks = Value::ids(tasks.iter().map(|task| task.uuid()));
        let values = params![holder, worker, expires.ms, expires.boot, now, tasks];
        let rows = self.rows(&CLAIM, values).await?;
        let claimed: Vec<Lenient<TaskRow>> = rows.iter().map(lenient).collect::<Result<_, _>>().map_err(unread)?;
        let key_at = TaskRow::COLUMNS.split(", ").position(|column| column == "key_name").unwrap_or_default();
        for (row, claimed) in rows.iter().zip(&claimed) {
            let key: String = row.try_get(key_at).map_err(StoreError::statement)?;
            self.count(&key, Status::Pending.name(), -1);
            self.count(&key, Status::Running.name(), 1);
            match claimed {
                Ok(row) => self.keep(row.clone()),
                Err(unread) => self.forget(&[unread.id]),
            }
        }
        Ok(claimed)
    }

    async fn renew(&mut self, leases: &[LeaseKey], expires: BootInstant) -> Result<(), StoreError> {
        for key in leases {
            if let Some(row) = self.known_mut(key.task).filter(|row| row.epoch == key.epoch) {
                (row.lease_ms, row.lease_boot) = (Some(expires.ms), Some(expires.boot));
            }
            self.defer_row_quietly(key.task, RENEW, params![expires.ms, expires.boot, key.task, key.epoch]);
        }
        Ok(())
    }

    async fn leases_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<LeaseKey>, StoreError> {
        self.all(LEASES, params![holder], lease).await
    }

    async fn tasks_of(&mut self, holder: WorkerInstanceId) -> Result<Vec<Lenient<TaskRow>>, StoreError> {
        let rows = self.rows(&OF_HOLDER, params![holder]).await?;
        Ok(readable(&rows, "task", lenient))
    }

    async fn lanes(&mut self) -> Result<Vec<String>, StoreError> {
        Ok(self.one(&ONLY_LANES, [], only).await?.unwrap_or_default())
    }

    async fn ready(&mut self, limit: u32, tags: bool, lanes: &[String]) -> Result<Vec<ReadyRow>, StoreError> {
        self.all(&READY, params![limit, tags, Value::texts(lanes.iter().cloned())], ready).await
    }

    async fn busy_directories(&mut self) -> Result<Vec<(String, bool)>, StoreError> {
        self.all(BUSY, [], |row| Ok((get(row, 0)?, get(row, 1)?))).await
    }

    async fn hold(&mut self, id: TaskId, hold: &str, due: Timestamp) -> Result<(), StoreError> {
        self.any_held = Some(true);
        self.forget(&[id]);
        self.defer_of(id, "UPDATE tasks SET held = $1, due_at = $2 WHERE id = $3", params![hold, due, id]);
        Ok(())
    }

    async fn release_holds(&mut self, hold: &str, limit: Option<i64>) -> Result<Vec<TaskId>, StoreError> {
        let released = match limit {
            Some(limit) => self.all(RELEASE, params![hold, limit], only).await?,
            None => self.all(RELEASE_ALL, params![hold], only).await?,
        };
        self.forget(&released);
        self.tell_workers();
        Ok(released)
    }

    async fn wake(&mut self, id: TaskId) -> Result<(), StoreError> {
        self.forget(&[id]);
        self.tell_workers();
        let text = "UPDATE tasks SET due_at = NULL, held = NULL WHERE id = $1 AND status = 'pending'";
        self.defer_of(id, text, params![id]);
        Ok(())
    }

    async fn put_changes(&mut self, row: &ChangesRow) -> Result<(), StoreError> {
        self.defer(PUT_CHANGES, params![row.task_id, &row.summary, row.patch.clone()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::shared::Line;
    use super::super::{Arc, PostgresStore};
    use super::*;
    use crate::store::test_server::Cluster;

    #[actix::test]
    async fn a_claim_finds_each_task_by_its_id_where_the_server_knows_nothing_of_the_table() {
        let store = Arc::new(PostgresStore::open(&Cluster::shared().fresh()).await.expect("a store"));
        store.shared.ready().await.expect("a schema");
        let db = Line::new(&store.shared).connection().await.expect("a connection");
        db.simple(
            "INSERT INTO tasks (id, status, spec, priority, created_at, attempt, finished_attempts, crashes, max_attempts, epoch,
                last_event, attempt_events, key_name, own_directory, exclusive, pending_messages)
            SELECT ('01890000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 'pending', '{}', 0, n, 0, 0, 0, 3, 0, 0, 0,
                'default', TRUE, FALSE, 0
            FROM generate_series(1, 20000) n",
        )
        .await
        .expect("tasks");
        let ids = Value::ids((0..500).map(|_| TaskId::new().uuid()));
        let values = params![WorkerInstanceId::new(), "w", 0_i64, None::<uuid::Uuid>, Timestamp(0), ids];
        let plan = db.rows(&format!("EXPLAIN {}", CLAIM.as_str()), &values).await.expect("a plan");
        let plan: Vec<String> = plan.iter().map(|line| line.get(0)).collect();
        assert!(plan.iter().all(|line| !line.contains("tasks_ready")), "{plan:#?}");
    }
}
