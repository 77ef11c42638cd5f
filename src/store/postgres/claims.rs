//! Statements on what is ready, and on leases.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{readable, unread};
use super::limits::groups_of;
use super::table::Table;
use super::tx::{PostgresTx, only};
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::families;
use crate::store::rows::{Allowance, ClaimRow, Lenient, MAX_LANES, MAX_LINES, ReadyRow, TaskRow, UnreadRow};
use crate::store::tx::Claims;
use domain::{BootInstant, LeaseKey, Named as _, Share, Status, TaskId, Timestamp, WorkerInstanceId};

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
        EXISTS (SELECT 1 FROM api_keys WHERE daily_budget_usd IS NOT NULL), turn,
        COALESCE((SELECT MIN(due_at) FROM tasks WHERE status = 'pending' AND due_at IS NOT NULL) <= $3, FALSE), {LANES}
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
        any_due: get(row, 8)?,
        lanes: get(row, 9)?,
    })
}

#[async_trait(?Send)]
impl Claims for PostgresTx<'_> {
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
}

#[cfg(test)]
mod tests {
    use super::super::shared::Line;
    use super::super::{Arc, PostgresStore};
    use super::*;
    use crate::store::test_server::Cluster;

    #[actix::test]
    async fn a_claim_walks_no_index_where_the_server_knows_nothing_of_the_table() {
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
        let plan = async |text: &str, values: &[Value]| -> Vec<String> {
            let plan = db.rows(&format!("EXPLAIN {text}"), values).await.expect("a plan");
            plan.iter().map(|line| line.get(0)).collect()
        };
        let (holder, now) = (WorkerInstanceId::new(), Timestamp(0));
        let ids = Value::ids((0..500).map(|_| TaskId::new().uuid()));
        let claims = plan(&CLAIM, &params![holder, "w", 0_i64, None::<uuid::Uuid>, now, ids]).await;
        assert!(claims.iter().all(|line| !line.contains("tasks_ready")), "{claims:#?}");
        let allowance = plan(&ALLOWANCE, &params![holder, "", now]).await;
        assert!(allowance.iter().any(|line| line.contains("using tasks_due")), "{allowance:#?}");
        assert!(allowance.iter().all(|line| !line.contains("Seq Scan on tasks")), "{allowance:#?}");
    }
}
