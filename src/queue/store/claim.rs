//! Taking tasks, and keeping them.

use std::collections::HashMap;

use entity::task;
use rusqlite::params;
use serde_json::json;

use super::limits::Limits;
use super::row::{spec_of, task_with};
use super::table::Table;
use super::{Change, StoreError, Tx, attempts, gate, hooks, settle};
use crate::queue::messages::{Assignment, Claim, Renew, Renewed};
use crate::task::stored::StoredSpec;
use crate::task::{Did, EventKind, HolderId, HookEvent, LeaseKey, LeaseTimes, NewEvent, SUSPECT, Status, TaskId};

/// Two workers never get one task: this is one statement, inside an immediate transaction.
/// The status event takes the next number.
const CLAIM: &str = "UPDATE tasks SET status = 'running', epoch = epoch + 1, attempt = attempt + 1,
        holder = ?1, worker = ?2, lease_ms = ?3, lease_boot = ?4,
        started_at = COALESCE(started_at, ?5), last_event = last_event + 1, attempt_events = 0
    WHERE id IN (SELECT id FROM
        (SELECT id, SUM(crashes >= ?7) OVER (ORDER BY priority DESC, id) AS suspects FROM
            (SELECT id, priority, crashes FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL
                ORDER BY priority DESC, id LIMIT ?6))
        WHERE suspects <= ?8)";

/// What became due is ready: walks the index of what waits for a time, and no more.
const DUE: &str = "UPDATE tasks INDEXED BY tasks_due SET due_at = NULL, held = NULL
    WHERE status = 'pending' AND due_at <= ?1 RETURNING id";

/// What decides how many a worker may take: whether claims are held back, how many it may have and
/// has, how often its own tasks crashed, and how often the next in line; then, whether something may hold single
/// tasks back, and whether limits are set.
const ROOM: &str = "SELECT
        paused OR EXISTS (SELECT 1 FROM credentials WHERE id = ?2 AND parked_until > ?3), concurrency,
        (SELECT COUNT(*) FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1),
        (SELECT COALESCE(MAX(crashes), 0) FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1),
        (SELECT COALESCE(MAX(crashes), 0) FROM (SELECT crashes FROM tasks INDEXED BY tasks_ready
            WHERE status = 'pending' AND due_at IS NULL ORDER BY priority DESC, id LIMIT 1)),
        EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_exclusive WHERE exclusive AND status IN ('pending','running'))
            OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_concurrency_key
                WHERE concurrency_key IS NOT NULL AND status IN ('pending','running')),
        EXISTS (SELECT 1 FROM limits)
    FROM queue_state WHERE id = 1";

impl Change for Claim {
    type Answer = Vec<Assignment>;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Vec<Assignment>, StoreError> {
        let May { mut limit, suspects, gated, limited } = may(tx, self)?;
        let limits = if limited { Limits::read(tx)? } else { Limits::default() };
        if limit > 0 && (gated || limited || self.budgets.are_set()) {
            limit = gate::hold(tx, self, &limits, limit)?;
        }
        if limit == 0 {
            return Ok(Vec::new());
        }
        let expires = LeaseTimes::new(self.lease).expiry(tx.boot_now);
        let text = format!("{CLAIM} RETURNING {}", task::Model::COLUMNS);
        let (ms, boot) = (expires.ms, expires.boot);
        let values = params![self.holder, self.worker, ms, boot, tx.now.0, limit, SUSPECT, suspects];
        let rows = tx.all(&text, values, |row| match task::Model::read(row) {
            Ok(row) => Ok(Ok(row)),
            Err(error) => Ok(Err((row.get::<_, TaskId>(0)?, error.to_string()))),
        })?;
        let (mut rows, lost) = rows.into_iter().fold((Vec::new(), Vec::new()), |(mut rows, mut lost), row| {
            match row {
                Ok(row) => rows.push(row),
                Err(one) => lost.push(one),
            }
            (rows, lost)
        });
        for (task, why) in lost {
            settle::set_apart_unread(tx, task, &why)?;
        }
        // RETURNING has no order.
        rows.sort_by_key(|row| (-row.priority, row.id));
        let mut assignments = Vec::with_capacity(rows.len());
        for row in rows {
            let key = LeaseKey { task: row.id, epoch: row.epoch };
            let read = spec_of(&row);
            let why = read.unreadable.clone();
            let assignment = assignment(tx, row, read, self, expires.ms)?;
            match why {
                None => {
                    limits.started(tx, &assignment.task.groups())?;
                    assignments.push(assignment);
                }
                // It costs nobody else anything.
                Some(why) => settle::set_apart(tx, key, &why)?,
            }
        }
        Ok(assignments)
    }
}

fn assignment(
    tx: &mut Tx<'_>,
    row: task::Model,
    read: StoredSpec,
    claim: &Claim,
    expires: i64,
) -> Result<Assignment, StoreError> {
    let event = json!({ "status": Status::Running, "attempt": row.attempt, "workerId": row.worker });
    tx.add_events(row.id, row.last_event - 1, &[NewEvent::new(EventKind::Status, &event)])?;
    attempts::begin(tx, claim, &row)?;
    if row.attempt == 1 {
        hooks::tell(tx, row.id, HookEvent::Started)?;
    }
    let key = LeaseKey { task: row.id, epoch: row.epoch };
    let (holder, credential) = (claim.holder, claim.credential.clone());
    tx.record(&Did::Claim { lease: key, holder, credential, attempt: row.attempt, expires });
    let budget_usd = gate::reserves(claim, row.max_budget_usd, row.cost_usd);
    Ok(Assignment { key, task: task_with(row, read), budget_usd })
}

/// What a worker may take.
#[derive(Default)]
struct May {
    /// So many more.
    limit: u32,
    /// So many suspects among them.
    suspects: u32,
    /// Whether single tasks may have to wait for others.
    gated: bool,
    /// Whether limits are set on groups.
    limited: bool,
}

/// None while the queue is paused or the worker's credential is parked, no more than what an operator has set since
/// it last looked, and a suspect only when it runs nothing else, alone.
fn may(tx: &mut Tx<'_>, claim: &Claim) -> Result<May, StoreError> {
    let tasks: Vec<TaskId> = tx.all(DUE, [tx.now.0], |row| row.get(0))?;
    if !tasks.is_empty() {
        tx.record(&Did::Due { tasks });
    }
    let room = tx.one(ROOM, params![claim.holder, claim.credential, tx.now.0], |row| {
        let (held_back, most, has): (bool, Option<u32>, u32) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let (own, next, gates): (i32, i32, (bool, bool)) = (row.get(3)?, row.get(4)?, (row.get(5)?, row.get(6)?));
        Ok((held_back, most, has, own, next, gates))
    })?;
    let Some((held_back, most, has, own, next, (gated, limited))) = room else { return Ok(May::default()) };
    let limit = claim.limit.min(most.map_or(u32::MAX, |most| most.saturating_sub(has)));
    let (limit, suspects) = match (held_back || own >= SUSPECT, next >= SUSPECT) {
        (true, _) => (0, 0),
        (false, true) if has > 0 => (0, 0),
        (false, true) => (limit.min(1), 1),
        (false, false) => (limit, 0),
    };
    Ok(May { limit, suspects, gated, limited })
}

const RENEW: &str = "UPDATE tasks SET lease_ms = ?1, lease_boot = ?2 WHERE id = ?3 AND epoch = ?4";

impl Change for Renew {
    type Answer = Renewed;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Renewed, StoreError> {
        let held = held_by(tx, self.holder)?;
        let (kept, lost): (Vec<_>, Vec<_>) =
            self.leases.iter().copied().partition(|key| held.get(&key.task) == Some(&key.epoch));
        let expires = LeaseTimes::new(self.lease).expiry(tx.boot_now);
        if !kept.is_empty() {
            for key in &kept {
                tx.execute(RENEW, params![expires.ms, expires.boot, key.task, key.epoch])?;
            }
            tx.record(&Did::Renew { leases: kept, expires: expires.ms });
        }
        Ok(Renewed { lost })
    }
}

/// The tasks that this holder has, with their epochs.
fn held_by(tx: &Tx<'_>, holder: HolderId) -> Result<HashMap<TaskId, i64>, StoreError> {
    let text = "SELECT id, epoch FROM tasks WHERE status = 'running' AND holder = ?1";
    Ok(tx.all(text, [holder], |row| Ok((row.get(0)?, row.get(1)?)))?.into_iter().collect())
}
