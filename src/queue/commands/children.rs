//! Tasks that are made from inside a running task, its children: they are of its key, share its budget, and are cancelled
//! with it.
//!
//! What a child may cost is taken out of the budget of the task above it at its submit, and what it has not spent goes back
//! at its end. The running attempt above hears of either at its worker's next look.

use super::Unit;
use super::transitions::Transition;
use crate::queue::messages::{NewTask, Submitted};
use crate::store::StoreError;
use crate::store::convert::{no_class, status_of};
use crate::store::rows::TaskRow;
use domain::{MAX_DEPTH, Parent, Status, TaskCommand, TaskId};
use wire::TaskError;

/// Code of a task that was cancelled with the one from inside which it was made.
const PARENT_CANCELLED: &str = "PARENT_CANCELLED";

/// Place of a new task below another: the number of tasks above it, 0 where it stands alone; or why it can't be stored.
pub async fn of_new(unit: &mut Unit<'_>, new: &NewTask) -> Result<Result<i64, Submitted>, StoreError> {
    let Some(id) = new.spec.parent else { return Ok(Ok(0)) };
    let Some(row) = unit.find(id).await?.filter(|row| row.key_name == new.key) else {
        return Ok(Err(Submitted::NoParent(id)));
    };
    match status_of(&row) {
        Ok(Status::Running) => {}
        Ok(status) => return Ok(Err(Submitted::ParentNotRunning(id, status))),
        Err(_) => return Ok(Err(Submitted::NoParent(id))),
    }
    let family = unit.tx.family(id).await?;
    let parent = Parent {
        depth: family.depth,
        children: family.children,
        budget: row.max_budget_usd,
        cost: row.cost_usd.unwrap_or_default() + row.cost_so_far.unwrap_or_default(),
        given: family.given,
    };
    let may_have = parent.may_have(new.spec.options.sdk.max_budget_usd);
    Ok(may_have.map(|()| family.depth + 1).map_err(|why| Submitted::NoChild(id, why)))
}

/// Stores its place, and takes its budget out of what the attempt above has reserved.
pub async fn store(unit: &mut Unit<'_>, new: &NewTask, depth: i64) -> Result<(), StoreError> {
    let Some(parent) = new.spec.parent else { return Ok(()) };
    unit.tx.insert_child(new.id, parent, depth).await?;
    settle_above(unit, new.id).await
}

/// True if the task was made from inside another one, perhaps: nearly none is, and a look at the text is cheaper than reading it.
pub fn may_be_one(row: &TaskRow) -> bool {
    row.spec.contains("\"parent\":")
}

/// Works out anew what the attempts above a task have reserved.
pub async fn settle_above(unit: &mut Unit<'_>, task: TaskId) -> Result<(), StoreError> {
    let mut at = task;
    for _ in 0..MAX_DEPTH {
        let Some(parent) = unit.tx.family(at).await?.parent else { return Ok(()) };
        unit.tx.settle_reserve(parent).await?;
        unit.touch(parent);
        at = parent;
    }
    Ok(())
}

/// Cancels the children of a task that was cancelled. Theirs are cancelled with them.
pub async fn cancel_below(unit: &mut Unit<'_>, task: TaskId) -> Result<(), StoreError> {
    for child in unit.tx.live_children(task).await? {
        let Some(row) = unit.find(child).await? else { continue };
        let Ok(moved) = Transition::of(row, TaskCommand::Cancel, unit, 0.0)? else { continue };
        let message = format!("task {task}, from inside which it was made, was cancelled");
        let code = PARENT_CANCELLED.to_owned();
        moved.cancel(unit, Some(TaskError { class: no_class(), code, message })).await?;
    }
    Ok(())
}
