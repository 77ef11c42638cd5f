//! Tasks that are made from inside a running task: in whose name they are admitted, and why they are not taken.

use domain::{MAX_CHILDREN, MAX_DEPTH, NoChild, SessionId, Status, TaskId};
use serde_json::json;
use wire::{Task, TaskSpec};

use super::{Caller, Kind, Refusal, Service};
use crate::queue::{Filter, Find, ListTasks, QueueError, Submitted};

/// The key in whose name a task is admitted that is made from inside `parent`: that of the parent, whichever key an agent holds.
/// A process that was started before its task names it by its session: the request gets the task's id.
///
/// # Errors
/// The caller sees no such task, or its key is not good any more.
pub async fn caller_of(
    service: &Service,
    caller: &Caller,
    parent: TaskId,
    spec: &mut TaskSpec,
) -> Result<Caller, Refusal> {
    let task = find(service, parent).await?.ok_or_else(|| no_parent(parent))?;
    spec.parent = Some(task.id);
    if task.key == caller.name() {
        return Ok(caller.clone());
    }
    if !caller.is_admin() {
        return Err(no_parent(parent));
    }
    service.keys.named(&task.key).await?.map_err(|why| {
        let message = format!("parent: the key \"{}\" of task {parent} is {}", task.key, <&str>::from(why));
        Refusal::forbidden("KEY_NOT_GOOD", message)
    })
}

async fn find(service: &Service, named: TaskId) -> Result<Option<Task>, QueueError> {
    if let Some(task) = service.queue.ask(Find(named)).await? {
        return Ok(Some(task));
    }
    let session = Some(SessionId::of(named.uuid()));
    let filter = Filter { session, statuses: vec![Status::Running], ..Filter::default() };
    let found = service.queue.ask(ListTasks { filter, limit: 1, ..ListTasks::default() }).await?;
    Ok(found.tasks.into_iter().next())
}

/// Refusal of a task that the one from inside which it is made may not have.
pub fn not_taken(refused: &Submitted) -> Option<Refusal> {
    Some(match refused {
        Submitted::NoParent(task) => no_parent(*task),
        Submitted::ParentNotRunning(task, status) => {
            let message = format!("parent: task {task} is {status}; only a running task makes others from inside");
            Refusal::new(Kind::Conflict, "PARENT_NOT_RUNNING", message)
                .with(json!({ "taskId": task, "status": status }))
        }
        Submitted::NoChild(task, why) => no_child(*task, *why),
        _ => return None,
    })
}

fn no_parent(task: TaskId) -> Refusal {
    let message = format!("parent: there is no task {task}");
    Refusal::new(Kind::Unknown, "PARENT_NOT_FOUND", message).with(json!({ "taskId": task }))
}

fn no_child(task: TaskId, why: NoChild) -> Refusal {
    match why {
        NoChild::TooDeep => {
            let message = format!("parent: task {task} has {MAX_DEPTH} tasks above it, and may make none itself");
            Refusal::forbidden("TOO_DEEP", message).with(json!({ "taskId": task, "most": MAX_DEPTH }))
        }
        NoChild::TooMany => {
            let message = format!("parent: task {task} has made {MAX_CHILDREN} others already, and may make no more");
            Refusal::forbidden("TOO_MANY_CHILDREN", message).with(json!({ "taskId": task, "most": MAX_CHILDREN }))
        }
        NoChild::NeedsBudget(left) => {
            let rule = format!(
                "must be set, since task {task}, from inside which it is made, has a budget; {left} is left of it"
            );
            let field = "options.sdk.maxBudgetUsd";
            Refusal::invalid(field, rule.clone()).with(json!({ "field": field, "rule": rule, "leftUsd": left }))
        }
        NoChild::OverBudget(left) => {
            let message = format!(
                "options.sdk.maxBudgetUsd is above what is left of the budget of task {task}, from inside which it is made: {left}"
            );
            Refusal::forbidden("BUDGET_EXCEEDED", message).with(json!({ "taskId": task, "leftUsd": left }))
        }
    }
}
