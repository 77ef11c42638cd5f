//! Taking tasks, and keeping them.

use std::collections::HashMap;

use entity::task;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QuerySelect};
use serde_json::json;

use super::row::{sql, task_of};
use super::{Change, StoreError, Tx, attempts, gate};
use crate::queue::messages::{Assignment, Claim, Renew, Renewed};
use crate::task::{Did, EventKind, HolderId, LeaseKey, LeaseTimes, NewEvent, SUSPECT, Status, TaskId};

/// Two workers never get one task: this is one statement, inside an immediate transaction.
/// The status event takes the next number.
const CLAIM: &str = "UPDATE tasks SET status = 'running', epoch = epoch + 1, attempt = attempt + 1,
        holder = ?1, worker = ?2, lease_ms = ?3, lease_boot = ?4,
        started_at = COALESCE(started_at, ?5), last_event = last_event + 1, attempt_events = 0
    WHERE id IN (SELECT id FROM
        (SELECT id, SUM(crashes >= ?7) OVER (ORDER BY priority DESC, id) AS suspects FROM
            (SELECT id, priority, crashes FROM tasks WHERE status = 'pending' AND due_at IS NULL
                ORDER BY priority DESC, id LIMIT ?6))
        WHERE suspects <= ?8)
    RETURNING *";

/// What became due is ready: walks the index of what waits for a time, and no more. Then, as the last
/// row, what decides how many a worker may take: whether claims are held back, how many it may have and
/// has, how often its own tasks crashed, and how often the next in line.
const ROOM: &str = "UPDATE tasks SET due_at = NULL, held = NULL
        WHERE status = 'pending' AND due_at <= ?3 RETURNING id;
    SELECT
        paused OR EXISTS (SELECT 1 FROM credentials WHERE id = ?2 AND parked_until > ?3), concurrency,
        (SELECT COUNT(*) FROM tasks WHERE status = 'running' AND holder = ?1),
        (SELECT COALESCE(MAX(crashes), 0) FROM tasks WHERE status = 'running' AND holder = ?1),
        (SELECT COALESCE(MAX(crashes), 0) FROM (SELECT crashes FROM tasks
            WHERE status = 'pending' AND due_at IS NULL ORDER BY priority DESC, id LIMIT 1)),
        EXISTS (SELECT 1 FROM tasks WHERE exclusive AND status IN ('pending','running'))
    FROM queue_state WHERE id = 1";

impl Change for Claim {
    type Answer = Vec<Assignment>;

    const ESSENTIAL: bool = false;

    async fn run(&self, tx: &mut Tx) -> Result<Vec<Assignment>, StoreError> {
        let (mut limit, suspects, exclusive) = room(tx, self).await?;
        if limit > 0 && (exclusive || self.budgets.are_set()) {
            limit = gate::hold(tx, self, limit).await?;
        }
        if limit == 0 {
            return Ok(Vec::new());
        }
        let expires = LeaseTimes::new(self.lease).expiry(tx.boot_now);
        let statement = sql(
            CLAIM,
            [
                self.holder.into(),
                self.worker.clone().into(),
                expires.ms.into(),
                expires.boot.into(),
                tx.now.0.into(),
                limit.into(),
                SUSPECT.into(),
                suspects.into(),
            ],
        );
        let mut rows = task::Entity::find().from_raw_sql(statement).all(tx.db().await?).await?;
        // RETURNING has no order.
        rows.sort_by_key(|row| (-row.priority, row.id));
        attempts::begin(tx, self, &rows);
        rows.into_iter().map(|row| assignment(tx, row, self, expires.ms)).collect()
    }
}

fn assignment(tx: &mut Tx, row: task::Model, claim: &Claim, expires: i64) -> Result<Assignment, StoreError> {
    let event = json!({ "status": Status::Running, "attempt": row.attempt, "workerId": row.worker });
    tx.add_events(row.id, row.last_event - 1, vec![NewEvent::new(EventKind::Status, &event)]);
    let key = LeaseKey { task: row.id, epoch: row.epoch };
    let (holder, credential) = (claim.holder, claim.credential.clone());
    tx.record(&Did::Claim { lease: key, holder, credential, attempt: row.attempt, expires });
    let budget_usd = gate::reserves(claim, row.max_budget_usd, row.cost_usd);
    Ok(Assignment { key, task: task_of(row)?, budget_usd })
}

/// How many more this worker may take, and how many suspects among them: none while the queue is
/// paused or its credential is parked, no more than what an operator has set since it last looked,
/// and a suspect only when it runs nothing else, alone.
async fn room(tx: &mut Tx, claim: &Claim) -> Result<(u32, u32, bool), StoreError> {
    let values = [claim.holder.into(), claim.credential.clone().into(), tx.now.0.into()];
    let mut rows = tx.db().await?.query_all_raw(sql(ROOM, values)).await?;
    let Some(row) = rows.pop() else { return Ok((0, 0, false)) };
    if !rows.is_empty() {
        let tasks = rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>()?;
        tx.record(&Did::Due { tasks });
    }
    let (held_back, most, has): (bool, Option<u32>, u32) =
        (row.try_get_by_index(0)?, row.try_get_by_index(1)?, row.try_get_by_index(2)?);
    let (own, next): (i32, i32) = (row.try_get_by_index(3)?, row.try_get_by_index(4)?);
    let limit = claim.limit.min(most.map_or(u32::MAX, |most| most.saturating_sub(has)));
    let (limit, suspects) = match (held_back || own >= SUSPECT, next >= SUSPECT) {
        (true, _) => (0, 0),
        (false, true) if has > 0 => (0, 0),
        (false, true) => (limit.min(1), 1),
        (false, false) => (limit, 0),
    };
    Ok((limit, suspects, row.try_get_by_index(5)?))
}

impl Change for Renew {
    type Answer = Renewed;

    async fn run(&self, tx: &mut Tx) -> Result<Renewed, StoreError> {
        let held = held_by(tx, self.holder).await?;
        let (kept, lost): (Vec<_>, Vec<_>) =
            self.leases.iter().copied().partition(|key| held.get(&key.task) == Some(&key.epoch));
        let expires = LeaseTimes::new(self.lease).expiry(tx.boot_now);
        if !kept.is_empty() {
            use sea_orm::sea_query::Expr;
            task::Entity::update_many()
                .col_expr(task::Column::LeaseMs, Expr::value(expires.ms))
                .col_expr(task::Column::LeaseBoot, Expr::value(expires.boot))
                .filter(task::Column::Id.is_in(kept.iter().map(|key| key.task)))
                .filter(task::Column::Holder.eq(self.holder))
                .exec(tx.db().await?)
                .await?;
            tx.record(&Did::Renew { leases: kept, expires: expires.ms });
        }
        Ok(Renewed { lost })
    }
}

/// The tasks that this holder has, with their epochs.
async fn held_by(tx: &mut Tx, holder: HolderId) -> Result<HashMap<TaskId, i64>, StoreError> {
    let held: Vec<(TaskId, i64)> = task::Entity::find()
        .select_only()
        .column(task::Column::Id)
        .column(task::Column::Epoch)
        .filter(task::Column::Status.eq(Status::Running.name()))
        .filter(task::Column::Holder.eq(holder))
        .into_tuple()
        .all(tx.db().await?)
        .await?;
    Ok(held.into_iter().collect())
}
