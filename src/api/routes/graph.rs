//! `GET /api/tasks/{id}/graph`: the tasks that one is connected with by dependencies.

use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::caller::{Caller, own_task};
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use crate::queue::{DependencyRow, ReadGraph};
use domain::TaskId;
use wire::response::{GraphTask, TaskGraph};
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
    let edges = found.dependencies.iter().map(DependencyRow::edge).collect();
    Ok(TaskGraph { task_id: task, edges, tasks, more: found.more })
}
