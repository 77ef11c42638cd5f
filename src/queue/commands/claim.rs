//! Taking tasks, and keeping them.

use std::collections::HashMap;

use serde_json::json;

use super::gate::{BudgetsInForce, Gate};
use super::limits::LimitsInForce;
use super::{Change, Unit, attempts, hooks, transitions};
use crate::queue::Concern;
use crate::queue::messages::{Assignment, Claim, Renew, Renewed};
use crate::store::StoreError;
use crate::store::convert::{spec_of, task_with};
use crate::store::rows::{Allowance, ClaimRow, ReadyRow, TaskRow};
use audit::HistoryEvent;
use domain::{EventKind, LeaseKey, LeaseTimes, NewEvent, SUSPECT, Share, Status, TaskId, Turns, Usd};
use wire::HookEvent;
use wire::stored::StoredSpec;

impl Change for Claim {
    type Answer = Vec<Assignment>;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Vec<Assignment>, StoreError> {
        let ClaimAllowance { limit, alone, gated, limited, key_budgets, lanes, turn } = allowance(unit, self).await?;
        let limits = if limited { LimitsInForce::read(unit).await? } else { LimitsInForce::default() };
        let budgets = BudgetsInForce::read(unit, self, key_budgets).await?;
        if limit == 0 {
            return Ok(Vec::new());
        }
        let is_shut = gated || limited || budgets.are_set();
        let gate = Gate { budgets: &budgets, limits: &limits, is_shut, lanes: &lanes, limit, alone, turn };
        let chosen = gate.choose(unit).await?;
        if chosen.is_empty() {
            return Ok(Vec::new());
        }
        let tasks: Vec<TaskId> = chosen.iter().map(|task| task.id).collect();
        let (now, worker) = (unit.now, self.worker.as_str());
        let expires = LeaseTimes::new(self.lease).expiry(unit.lease_now);
        let claim = ClaimRow { holder: self.holder, worker, expires, now, tasks: &tasks };
        let mut rows = Vec::new();
        for row in unit.tx.claim(&claim).await? {
            match row {
                Ok(row) => rows.push(row),
                Err(unread) => transitions::set_apart_unread(unit, unread.id, &unread.why).await?,
            }
        }
        take_turns(unit, turn, &chosen).await?;
        let places: HashMap<TaskId, usize> = tasks.iter().copied().zip(0..).collect();
        rows.sort_by_key(|row| places.get(&row.id).copied());
        let mut assignments = Vec::with_capacity(rows.len());
        for row in rows {
            let key = LeaseKey { task: row.id, epoch: row.epoch };
            let read = spec_of(&row);
            let why = read.unreadable.clone();
            let used = places.get(&row.id).and_then(|place| chosen[*place].used_usd);
            let budget = budgets.reserves(&row.key_name, row.max_budget_usd, used);
            let assignment = assign(unit, row, read, self, budget, expires.ms).await?;
            match why {
                None => {
                    limits.started(unit, &assignment.task.groups()).await?;
                    assignments.push(assignment);
                }
                // It costs no other task anything.
                Some(why) => Box::pin(transitions::set_apart(unit, key, &why)).await?,
            }
        }
        Ok(assignments)
    }
}

/// Writes down whose turns these were.
async fn take_turns(unit: &mut Unit<'_>, turn: i64, started: &[ReadyRow]) -> Result<(), StoreError> {
    let mut turns = Turns::at(turn);
    let mut taken: HashMap<&str, Share> = HashMap::new();
    for task in started {
        turns.know(&task.share, task.turns);
        taken.insert(&task.share, turns.take(&task.share));
    }
    let taken: Vec<(String, Share)> = taken.into_iter().map(|(name, share)| (name.to_owned(), share)).collect();
    unit.tx.put_turns(turns.clock, &taken).await
}

async fn assign(
    unit: &mut Unit<'_>,
    row: TaskRow,
    read: StoredSpec,
    claim: &Claim,
    budget_usd: Option<Usd>,
    expires: i64,
) -> Result<Assignment, StoreError> {
    let event = json!({ "status": Status::Running, "attempt": row.attempt, "workerId": row.worker });
    // The claim has counted it.
    let event = NewEvent::new(EventKind::Status, &event);
    unit.add_events(row.id, &row.key_name, row.last_event - 1, &[event]).await?;
    attempts::begin(unit, &row, budget_usd).await?;
    if row.attempt == 1 {
        hooks::tell(unit, row.id, HookEvent::Started).await?;
    }
    let key = LeaseKey { task: row.id, epoch: row.epoch };
    let (holder, credential, labels) = (claim.holder, claim.credential.clone(), claim.labels.text());
    unit.record(&HistoryEvent::Claim { lease: key, holder, credential, labels, attempt: row.attempt, expires });
    Ok(Assignment { key, task: task_with(row, read), budget_usd })
}

/// Tasks that a worker may claim.
#[derive(Default)]
struct ClaimAllowance {
    /// Maximum number of tasks.
    limit: u32,
    /// True if the worker runs nothing.
    alone: bool,
    /// True if single tasks may have to wait for others.
    gated: bool,
    /// True if limits are set on groups.
    limited: bool,
    /// True if any key has a budget of its own.
    key_budgets: bool,
    /// The lanes that it may take from: that without requirements, and those that its labels meet.
    lanes: Vec<String>,
    /// The turn that it is now, among shares.
    turn: i64,
}

/// Returns none while the queue is paused or the worker's credential is parked, and no more than an operator has set.
/// A suspect is claimed alone, by an idle worker.
async fn allowance(unit: &mut Unit<'_>, claim: &Claim) -> Result<ClaimAllowance, StoreError> {
    let mut found = unit.tx.allowance(claim.holder, &claim.credential, unit.now).await?;
    if found.as_ref().is_some_and(|found| found.any_due) {
        let tasks = unit.tx.promote_due(unit.now).await?;
        unit.record(&HistoryEvent::Due { tasks });
        found = unit.tx.allowance(claim.holder, &claim.credential, unit.now).await?;
    }
    let Some(found) = found else { return Ok(ClaimAllowance::default()) };
    let Allowance { held_back, concurrency, running, own_crashes, gated, limited, key_budgets, turn, lanes, .. } =
        found;
    let met = lanes.into_iter().filter(|lane| claim.labels.meet(lane));
    let lanes = std::iter::once(String::new()).chain(met).collect();
    let most = claim.limit.min(concurrency.map_or(u32::MAX, |most| most.saturating_sub(running)));
    let limit = if held_back || own_crashes >= SUSPECT { 0 } else { most };
    Ok(ClaimAllowance { limit, alone: running == 0, gated, limited, key_budgets, lanes, turn })
}

impl Change for Renew {
    type Answer = Renewed;

    const IS_SIGN_OF_LIFE: bool = true;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Renewed, StoreError> {
        let held = unit.tx.leases_of(self.holder).await?;
        let (kept, lost): (Vec<_>, Vec<_>) = self.leases.iter().copied().partition(|key| held.contains(key));
        let expires = LeaseTimes::new(self.lease).expiry(unit.lease_now);
        if !kept.is_empty() {
            unit.tx.renew(&kept, expires).await?;
            unit.record(&HistoryEvent::Renew { leases: kept, expires: expires.ms });
        }
        Ok(Renewed { lost })
    }
}
