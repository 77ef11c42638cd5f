//! `…/artifacts`: the files that a task has left.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::answer;
use super::super::caller::{Caller, own_task};
use super::super::content::{self, Content, send_archive};
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use crate::queue::{Find, ReadArtifact, ReadArtifacts};
use domain::{Artifact, TaskId};
use wire::response::{ArtifactView, Artifacts};

/// Maximum number of files in an archive: more than a task leaves.
const ALL: i64 = 100_000;

pub async fn list(
    id: Path<String>,
    request: HttpRequest,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["limit", "cursor"])?;
    let limit = params.number("limit", 1, 1_000, 100)?;
    let task = there(&shared, &caller, &id).await?;
    let after = params.text("cursor").unwrap_or_default().to_owned();
    let found = shared.queue.ask(ReadArtifacts { task, after, limit }).await?;
    let next_cursor = found.last().filter(|_| found.len() as i64 == limit).map(|last| last.path.clone());
    let artifacts = found.into_iter().map(|one| view(task, one)).collect();
    Ok(answer::list(&Artifacts { task_id: task, artifacts, next_cursor }))
}

/// A file that a task has left, as clients see it.
pub fn view(task: TaskId, artifact: Artifact) -> ArtifactView {
    let path = utf8_percent_encode(&artifact.path, NON_ALPHANUMERIC);
    let url = format!("/api/tasks/{task}/artifacts/content?path={path}");
    ArtifactView { url, path: artifact.path, bytes: artifact.bytes, sha256: artifact.sha256 }
}

pub async fn read(
    id: Path<String>,
    request: HttpRequest,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["path"])?;
    let path = params.text("path").ok_or_else(|| ApiError::invalid("path", "must name a file of …/artifacts"))?;
    let task = there(&shared, &caller, &id).await?;
    let found = shared.queue.ask(ReadArtifact { task, path: path.to_owned() }).await?.ok_or_else(|| {
        let message = format!("the task has left no file {path:?}; see GET /api/tasks/{task}/artifacts");
        ApiError::new(StatusCode::NOT_FOUND, "ARTIFACT_NOT_FOUND", message)
    })?;
    let name = found.path.rsplit('/').next().unwrap_or_default();
    let content = Content { blob: found.blob, bytes: found.bytes, digest: &found.sha256, name };
    content::send(&request, shared.blobs.clone(), content).await
}

pub async fn archive(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = there(&shared, &caller, &id).await?;
    let found = shared.queue.ask(ReadArtifacts { task, after: String::new(), limit: ALL }).await?;
    Ok(send_archive(shared.blobs.clone(), &format!("{task}.zip"), found))
}

/// The task in a path, if it is there and the caller sees it.
async fn there(shared: &Shared, caller: &Caller, id: &str) -> Result<TaskId, ApiError> {
    let task = own_task(shared, caller, id).await?;
    shared.queue.ask(Find(task)).await?.map(|task| task.id).ok_or_else(|| ApiError::no_task(id))
}
