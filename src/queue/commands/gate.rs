//! Gate before a claim: due tasks that may not start are held back, by name, until there is room.

use std::collections::HashMap;
use std::time::Duration;

use super::Unit;
use super::limits::LimitsInForce;
use crate::queue::messages::Claim;
use crate::store::StoreError;
use crate::store::rows::ReadyRow;
use audit::HistoryEvent;
use domain::{Budgets, Candidate, Group, Hold, Line, Room, SUSPECT, TaskId, Timestamp, Turns, Usd};

/// Number of the next tasks in line that are looked at together.
const WINDOW: u32 = 64;
/// Number of windows that a claim looks at; the next one goes on.
const WINDOWS: usize = 20;
/// Time for which held tasks are left alone, should nothing make room meanwhile.
const AGAIN: Duration = Duration::from_secs(60);
/// Due date of tasks in a paused group: far enough never to come.
const NEVER: Duration = Duration::from_secs(100 * 365 * 86_400);
/// Number of tasks of each share that are let go for each that leaves. Those that find no room are held again.
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
    pub fn reserves(&self, key: &str, max_budget: Option<Usd>, used: Option<Usd>) -> Option<Usd> {
        let default = self.keys.contains_key(key).then_some(self.budgets.task);
        let most = self.budgets.of_task(max_budget).or(default)?;
        Some((most - used.unwrap_or_default()).max(Usd::ZERO))
    }
}

/// What may be claimed, and what single tasks may have to wait for.
pub struct Gate<'a> {
    pub budgets: &'a BudgetsInForce,
    pub limits: &'a LimitsInForce,
    /// True if there is anything that a task may have to wait for.
    pub is_shut: bool,
    /// The lanes that the worker may take from.
    pub lanes: &'a [String],
    /// Maximum number of tasks.
    pub limit: u32,
    /// True if the worker runs nothing.
    pub alone: bool,
    /// The turn that it is now, among shares.
    pub turn: i64,
}

impl Gate<'_> {
    /// Chooses the next in line that may start, and holds back those before them that may not. A suspect starts alone, in
    /// a worker that runs nothing else; behind one that can't start now nothing does.
    pub async fn choose(&self, unit: &mut Unit<'_>) -> Result<Vec<ReadyRow>, StoreError> {
        for _ in 0..WINDOWS {
            let mut room = if self.is_shut { Some(room(unit, self.budgets, self.limits).await?) } else { None };
            let mut line = self.line(unit).await?;
            let (mut chosen, mut held, mut is_over) = (Vec::new(), Vec::new(), false);
            while !is_over && let Some(task) = line.pop() {
                if let Some(room) = &mut room
                    && let Err((hold, until)) = self.admit(room, &task)
                {
                    held.push((task.id, hold, until));
                    continue;
                }
                let is_suspect = task.crashes >= SUSPECT;
                if !is_suspect || (self.alone && chosen.is_empty()) {
                    line.start(&task.share);
                    chosen.push(task);
                }
                is_over = is_suspect || chosen.len() >= self.limit as usize;
            }
            let all_may = held.is_empty();
            hold_back(unit, held).await?;
            if all_may || is_over {
                return Ok(chosen);
            }
        }
        Ok(Vec::new())
    }

    /// The ready tasks that the worker may take, in the order in which they start, as far as it is looked at.
    async fn line(&self, unit: &mut Unit<'_>) -> Result<Line<ReadyRow>, StoreError> {
        let most = if self.is_shut { WINDOW.max(self.limit) } else { self.limit };
        let mut ready = unit.tx.ready(most, self.limits.are_on_tags(), self.lanes).await?;
        // One share may have tasks in several lanes.
        ready.sort_by_key(|task| (-task.priority, task.id));
        let mut turns = Turns::at(self.turn);
        for task in &ready {
            turns.know(&task.share, task.turns);
        }
        Ok(Line::of(ready, turns, most as usize))
    }

    fn admit(&self, room: &mut Room, task: &ReadyRow) -> Result<(), (Hold, Option<Timestamp>)> {
        for group in &task.groups {
            self.limits.member(&mut room.groups, group.clone(), 0);
        }
        let reserves = self.budgets.reserves(&task.key_name, task.max_budget_usd, task.used_usd);
        room.admit(&Candidate {
            directory: task.working_directory.clone().unwrap_or_default(),
            exclusive: task.exclusive,
            key: task.key_name.clone(),
            reserves: reserves.unwrap_or_default(),
            groups: task.groups.clone(),
        })
    }
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
