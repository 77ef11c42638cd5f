//! `/api/worktrees`: the worktrees of tasks on this machine.

use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::resource;
use crate::service::{FoundWorktree, list_worktrees, remove_worktree};
use domain::TaskId;
use wire::response::{WorktreeRemoved, WorktreeState, WorktreeView, Worktrees};

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/worktrees").get(list)).service(resource("/api/worktrees/{id}").delete(remove));
}

async fn list(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["limit", "cursor"])?;
    let limit = usize::try_from(params.number("limit", 1, 100, 20)?).unwrap_or(1);
    let cursor = params.text("cursor").map(str::parse::<TaskId>).transpose();
    let cursor = cursor.map_err(|_| ApiError::invalid("cursor", "must be the nextCursor of an answer before"))?;
    let found = list_worktrees(&shared, &caller, cursor, limit).await?;
    let next_cursor = found.last().map(|last| last.id).filter(|_| found.len() == limit);
    Ok(answer::list(&Worktrees { worktrees: found.iter().map(view).collect(), next_cursor }))
}

async fn remove(
    id: Path<String>,
    request: HttpRequest,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let discard = match Params::read(&request, &["discard"])?.text("discard") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(ApiError::invalid("discard", "must be true or false")),
    };
    let task = id.parse().map_err(|_| ApiError::no_task(&id))?;
    let (found, branch_removed) = remove_worktree(&shared, &caller, task, discard).await?;
    Ok(HttpResponse::Ok().json(WorktreeRemoved {
        task_id: task,
        branch: found.worktree.branch().to_owned(),
        branch_removed,
        discarded: if discard { found.work.map_or(0, |work| work.uncommitted_count) } else { 0 },
    }))
}

fn view(found: &FoundWorktree) -> WorktreeView {
    let work = found.work.as_ref().ok();
    let state = match work {
        _ if found.in_use => WorktreeState::InUse,
        None => WorktreeState::Unknown,
        Some(work) if work.uncommitted_count > 0 => WorktreeState::Uncommitted,
        Some(_) if found.worktree.is_kept() => WorktreeState::Kept,
        Some(_) => WorktreeState::Clean,
    };
    WorktreeView {
        task_id: found.id,
        status: found.task.as_ref().map(|task| task.status),
        title: found.task.as_ref().map(|task| task.spec.title()),
        path: found.path.display().to_string(),
        repository: found.worktree.repository().display().to_string(),
        branch: found.worktree.branch().to_owned(),
        state,
        uncommitted: work.map(|work| work.uncommitted.clone()).unwrap_or_default(),
        uncommitted_count: work.map_or(0, |work| work.uncommitted_count),
        commits: work.map_or(0, |work| work.commits),
        bytes: found.bytes,
        problem: found.work.as_ref().err().cloned(),
    }
}
