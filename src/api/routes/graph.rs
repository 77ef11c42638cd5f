//! `GET /api/tasks/{id}/graph`: the tasks that one is connected with by dependencies.

use std::collections::HashSet;

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::caller::{Caller, own_task};
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use crate::queue::ReadGraph;
use domain::TaskId;
use wire::response::{GraphEdge, GraphTask, TaskGraph};
use wire::title_of;

/// Tasks of one answer.
const MOST: i64 = 1_000;

pub async fn show(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let limit = Params::read(&request, &["limit"])?.number("limit", 1, MOST, 200)?;
    let task = own_task(&shared, &caller, &id).await?;
    Ok(answer::list(&graph_of(&shared, &caller, task, limit).await?))
}

/// Tasks round one, as far as the caller sees them.
pub async fn graph_of(shared: &Shared, caller: &Caller, task: TaskId, limit: i64) -> Result<TaskGraph, ApiError> {
    let mut found = shared.queue.ask(ReadGraph { task, limit }).await?;
    found.tasks.retain(|task| caller.sees(&task.key));
    found.keep_known();
    let tasks: Vec<GraphTask> = found
        .tasks
        .into_iter()
        .map(|task| GraphTask {
            title: title_of(&task.instruction),
            task_id: task.id,
            name: task.name,
            status: task.status,
        })
        .collect();
    let mut seen = HashSet::new();
    let edges = found.dependencies.into_iter().filter(|row| seen.insert((row.task_id, row.n))).map(|row| GraphEdge {
        task: row.task_id,
        depends_on: row.on_task,
        on: row.condition.known().unwrap_or_default(),
        on_failure: row.on_failure.known().unwrap_or_default(),
        state: row.state.known().unwrap_or(domain::DependencyState::Open),
    });
    Ok(TaskGraph { task_id: task, edges: edges.collect(), tasks, more: found.more })
}
