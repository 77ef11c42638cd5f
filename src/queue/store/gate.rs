//! Before a claim: what is due and may not start is held back, by name, until there is room.

use std::collections::HashMap;

use rusqlite::{Row, params};

use super::limits::{Limits, groups_of};
use super::{StoreError, Tx};
use crate::queue::messages::Claim;
use crate::task::{Candidate, Did, Group, Hold, Room, TaskId, Wall};

/// So many of the next in line are looked at together.
const WINDOW: u32 = 64;
/// A claim looks at so many windows; the next one goes on.
const WINDOWS: usize = 20;
/// What waits for others is looked at again after so long, should nobody make room meanwhile.
const AGAIN_MS: i64 = 60_000;
/// What is paused waits until somebody lets it go on: a hundred years.
const LONG_MS: i64 = 100 * 365 * 86_400_000;
/// So many are let go for each that leaves. Those that find no room are held again.
const LET_GO: i64 = 4;

const NEXT: &str = "SELECT id, working_directory, exclusive, max_budget_usd, cost_usd, key_name, concurrency_key,
        CASE WHEN ?2 AND json_valid(spec) THEN spec ->> '$.tags' END
    FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL ORDER BY priority DESC, id LIMIT ?1";

const BUSY: &str =
    "SELECT working_directory, MAX(exclusive) FROM tasks INDEXED BY tasks_running WHERE status = 'running' GROUP BY 1";

/// Spent today, and reserved by what runs.
const USED: &str = "SELECT key_name, SUM(usd) FROM
        (SELECT key_name, cost_usd AS usd FROM spending WHERE day = ?1
        UNION ALL SELECT key_name, reserved_usd FROM attempts WHERE ended_at IS NULL AND reserved_usd IS NOT NULL)
    GROUP BY key_name";

struct Next {
    id: TaskId,
    working_directory: Option<String>,
    exclusive: bool,
    max_budget_usd: Option<f64>,
    cost_usd: Option<f64>,
    key_name: String,
    groups: Vec<Group>,
}

impl Next {
    fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            id: row.get(0)?,
            working_directory: row.get(1)?,
            exclusive: row.get(2)?,
            max_budget_usd: row.get(3)?,
            cost_usd: row.get(4)?,
            key_name: row.get(5)?,
            groups: groups_of(row, 5)?,
        })
    }
}

/// The most that the next attempt of a task may cost, where there is a limit of any kind.
pub fn reserves(claim: &Claim, max_budget_usd: Option<f64>, cost_usd: Option<f64>) -> Option<f64> {
    let most = claim.budgets.of_task(max_budget_usd)?;
    Some((most - cost_usd.unwrap_or_default()).max(0.0))
}

/// Holds back what may not start. Returns how many of the next in line may, at most `limit`.
pub fn hold(tx: &mut Tx<'_>, claim: &Claim, limits: &Limits, limit: u32) -> Result<u32, StoreError> {
    for _ in 0..WINDOWS {
        let mut room = room(tx, claim, limits)?;
        let next = tx.all(NEXT, params![WINDOW.max(limit), limits.are_on_tags()], Next::read)?;
        let mut admitted = 0;
        let mut held = Vec::new();
        for task in next {
            if admitted == limit {
                break;
            }
            for group in &task.groups {
                limits.member(&mut room.groups, group.clone(), 0);
            }
            let candidate = Candidate {
                directory: task.working_directory.unwrap_or_default(),
                exclusive: task.exclusive,
                key: task.key_name,
                reserves: reserves(claim, task.max_budget_usd, task.cost_usd).unwrap_or_default(),
                groups: task.groups,
            };
            match room.admit(&candidate) {
                Ok(()) => admitted += 1,
                Err((hold, until)) => held.push((task.id, hold, until)),
            }
        }
        let all_may = held.is_empty();
        hold_back(tx, held)?;
        if all_may || admitted == limit {
            return Ok(admitted);
        }
    }
    Ok(0)
}

fn room(tx: &Tx<'_>, claim: &Claim, limits: &Limits) -> Result<Room, StoreError> {
    let busy = tx.all(BUSY, [], |row| Ok((row.get::<_, Option<String>>(0)?.unwrap_or_default(), row.get(1)?)))?;
    let used = match claim.budgets.are_set() {
        true => tx.all(USED, [tx.now.day()], |row| Ok((row.get(0)?, row.get(1)?)))?,
        false => Vec::new(),
    };
    Ok(Room {
        busy: busy.into_iter().collect(),
        budgets: claim.budgets,
        used: used.into_iter().collect(),
        groups: limits.room(tx)?,
        now: tx.now,
    })
}

fn hold_back(tx: &mut Tx<'_>, held: Vec<(TaskId, Hold, Option<Wall>)>) -> Result<(), StoreError> {
    let mut by_hold: HashMap<(Hold, Wall), Vec<TaskId>> = HashMap::new();
    for (task, hold, until) in held {
        let due = until.unwrap_or_else(|| match hold {
            // Whoever lets it go on will say so.
            Hold::Paused(_) => tx.now.plus_ms(LONG_MS),
            _ => tx.now.plus_ms(AGAIN_MS),
        });
        by_hold.entry((hold, due)).or_default().push(task);
    }
    tx.any_held |= !by_hold.is_empty();
    for ((hold, due), tasks) in by_hold {
        let text = "UPDATE tasks SET held = ?1, due_at = ?2 WHERE id = ?3";
        for task in &tasks {
            tx.execute(text, params![hold.name(), due.0, task])?;
        }
        tx.record(&Did::Hold { tasks, why: hold.name(), due: due.0 });
    }
    Ok(())
}

/// Lets some of those go that waited for what these have left.
pub fn let_go(tx: &mut Tx<'_>, left: &HashMap<Hold, i64>) -> Result<(), StoreError> {
    let text = "UPDATE tasks SET held = NULL, due_at = NULL WHERE id IN (SELECT id FROM tasks INDEXED BY tasks_held
            WHERE status = 'pending' AND held = ?1 ORDER BY priority DESC, id LIMIT ?2) RETURNING id";
    for (hold, leavers) in left {
        let tasks: Vec<TaskId> = tx.all(text, params![hold.name(), LET_GO * leavers], |row| row.get(0))?;
        if !tasks.is_empty() {
            tx.record(&Did::Wake { tasks });
        }
    }
    Ok(())
}

/// Lets all go that a limit of this group holds.
pub fn let_all_go(tx: &mut Tx<'_>, group: &Group) -> Result<(), StoreError> {
    let text = "UPDATE tasks SET held = NULL, due_at = NULL WHERE id IN
            (SELECT id FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held = ?1) RETURNING id";
    for hold in [Hold::Paused, Hold::Concurrency, Hold::Rate] {
        let tasks: Vec<TaskId> = tx.all(text, [hold(group.clone()).name()], |row| row.get(0))?;
        if !tasks.is_empty() {
            tx.record(&Did::Wake { tasks });
        }
    }
    Ok(())
}
