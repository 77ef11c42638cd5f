//! Gate before a claim: due tasks that may not start are held back, by name, until there is room.

use std::collections::HashMap;
use std::time::Duration;

use super::Unit;
use super::limits::LimitsInForce;
use crate::queue::messages::Claim;
use crate::store::StoreError;
use audit::HistoryEvent;
use domain::{Budgets, Candidate, Group, Hold, Room, TaskId, Timestamp, Usd};

/// Number of the next tasks in line that are looked at together.
const WINDOW: u32 = 64;
/// Number of windows that a claim looks at; the next one goes on.
const WINDOWS: usize = 20;
/// Time for which held tasks are left alone, should nothing make room meanwhile.
const AGAIN: Duration = Duration::from_secs(60);
/// Due date of tasks in a paused group: far enough never to come.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Number of tasks that are let go for each that leaves. Those that find no room are held again.
const LET_GO: i64 = 4;

/// Budgets of a day: the server's settings, and those of single keys.
pub struct BudgetsInForce {
    budgets: Budgets,
    keys: HashMap<String, Usd>,
}

impl BudgetsInForce {
    /// Reads the budgets of keys, where there are any.
    pub async fn read(unit: &mut Unit<'_>, claim: &Claim, key_budgets: bool) -> Result<Self, StoreError> {
        let keys = if key_budgets { unit.tx.key_budgets().await? } else { Vec::new() };
        Ok(Self { budgets: claim.budgets, keys: keys.into_iter().collect() })
    }

    /// True if there is any.
    pub fn are_set(&self) -> bool {
        self.budgets.are_set() || !self.keys.is_empty()
    }

    /// The most that the next attempt of a task may cost, where there is a limit of any kind.
    pub fn reserves(&self, key: &str, max_budget: Option<Usd>, cost: Option<Usd>) -> Option<Usd> {
        let default = self.keys.contains_key(key).then_some(self.budgets.task);
        let most = self.budgets.of_task(max_budget).or(default)?;
        Some((most - cost.unwrap_or_default()).max(Usd::ZERO))
    }
}

/// Holds back what may not start. Returns how many of the next in line may, at most `limit`.
pub async fn hold(
    unit: &mut Unit<'_>,
    budgets: &BudgetsInForce,
    limits: &LimitsInForce,
    lanes: &[String],
    limit: u32,
) -> Result<u32, StoreError> {
    for _ in 0..WINDOWS {
        let mut room = room(unit, budgets, limits).await?;
        let next = unit.tx.next_in_line(WINDOW.max(limit), limits.are_on_tags(), lanes).await?;
        let mut admitted = 0;
        let mut held = Vec::new();
        for task in next {
            if admitted == limit {
                break;
            }
            for group in &task.groups {
                limits.member(&mut room.groups, group.clone(), 0);
            }
            let reserves = budgets.reserves(&task.key_name, task.max_budget_usd, task.cost_usd);
            let candidate = Candidate {
                directory: task.working_directory.unwrap_or_default(),
                exclusive: task.exclusive,
                key: task.key_name,
                reserves: reserves.unwrap_or_default(),
                groups: task.groups,
            };
            match room.admit(&candidate) {
                Ok(()) => admitted += 1,
                Err((hold, until)) => held.push((task.id, hold, until)),
            }
        }
        let all_may = held.is_empty();
        hold_back(unit, held).await?;
        if all_may || admitted == limit {
            return Ok(admitted);
        }
    }
    Ok(0)
}

async fn room(unit: &mut Unit<'_>, budgets: &BudgetsInForce, limits: &LimitsInForce) -> Result<Room, StoreError> {
    let busy = unit.tx.busy_directories().await?;
    let used = match budgets.are_set() {
        true => unit.tx.used_budgets(&unit.now.day()).await?,
        false => Vec::new(),
    };
    Ok(Room {
        busy: busy.into_iter().collect(),
        budgets: budgets.budgets,
        key_budgets: budgets.keys.clone(),
        used: used.into_iter().collect(),
        groups: limits.room(unit).await?,
        now: unit.now,
    })
}

async fn hold_back(unit: &mut Unit<'_>, held: Vec<(TaskId, Hold, Option<Timestamp>)>) -> Result<(), StoreError> {
    let mut by_hold: HashMap<(Hold, Timestamp), Vec<TaskId>> = HashMap::new();
    for (task, hold, until) in held {
        let due = until.unwrap_or_else(|| match hold {
            // Who lets it go on will say so.
            Hold::Paused(_) => unit.now.plus(NEVER),
            _ => unit.now.plus(AGAIN),
        });
        by_hold.entry((hold, due)).or_default().push(task);
    }
    if !by_hold.is_empty() {
        unit.expect_held();
    }
    for ((hold, due), tasks) in by_hold {
        for task in &tasks {
            unit.tx.hold(*task, &hold.name(), due).await?;
        }
        unit.record(&HistoryEvent::Hold { tasks, why: hold.name(), due: due.0 });
    }
    Ok(())
}

/// Lets some of those go that waited for what these have left.
pub async fn let_go(unit: &mut Unit<'_>, left: &HashMap<Hold, i64>) -> Result<(), StoreError> {
    for (hold, leavers) in left {
        wake(unit, hold, Some(LET_GO * leavers)).await?;
    }
    Ok(())
}

/// Lets all go that a limit of this group holds.
pub async fn let_all_go(unit: &mut Unit<'_>, group: &Group) -> Result<(), StoreError> {
    for hold in [Hold::Paused, Hold::Concurrency, Hold::Rate] {
        wake(unit, &hold(group.clone()), None).await?;
    }
    Ok(())
}

async fn wake(unit: &mut Unit<'_>, hold: &Hold, limit: Option<i64>) -> Result<(), StoreError> {
    let tasks = unit.tx.release_holds(&hold.name(), limit).await?;
    if !tasks.is_empty() {
        unit.record(&HistoryEvent::Wake { tasks });
    }
    Ok(())
}
