//! Races: `GET /api/tasks/{id}/race`, and the choice of a winner.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::caller::{Caller, own_task};
use super::super::error::ApiError;
use super::super::shared::Shared;
use super::super::stream;
use super::submit::{accepted_all, refused};
use crate::queue::{PickWinner, Picked, Race, ReadRace};
use crate::service::{admit_race, race_view};
use crate::telemetry::traces::Span;
use domain::TaskId;
use wire::response::{RaceView, TaskView};
use wire::{RaceOptions, Task, TaskSpec};

/// Stores the contenders of a race, and where that was asked for waits for its end.
pub async fn submit(
    shared: &Shared,
    caller: &Caller,
    spec: TaskSpec,
    options: &RaceOptions,
    idempotency: Option<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let wait = spec.options.run_async == Some(false);
    let mut span = Span::of_send(usize::try_from(options.contenders()).unwrap_or_default());
    let stored = async {
        let race = admit_race(shared, &spec, options, caller, idempotency).await?;
        shared.queue.ask(race).await?.map_err(|(_, why)| refused(shared, &why))
    };
    let stored = span.within(stored).await.inspect_err(|error| span.fail(error.code()))?;
    if !wait {
        return Ok(accepted_all(&stored));
    }
    let ids: Vec<TaskId> = stored.iter().map(|(task, _)| task.id).collect();
    match wait_for_end(shared, &ids).await? {
        Some(task) => Ok(HttpResponse::Ok().json(TaskView::of(&task))),
        None => Ok(HttpResponse::GatewayTimeout().json(TaskView::of(&stored[0].0))),
    }
}

/// Returns the task that has won, or where none has the first; `None` where the race has not ended within the limit.
async fn wait_for_end(shared: &Shared, ids: &[TaskId]) -> Result<Option<Task>, ApiError> {
    let until = std::time::Instant::now() + shared.server.wait_limit;
    let mut first = None;
    for id in ids {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let task = stream::wait_for_end(shared, *id, left).await?;
        if task.as_ref().is_some_and(|task| !task.status.is_terminal()) {
            return Ok(None);
        }
        first = first.or(task);
    }
    let winner = find(shared, ids[0]).await?.and_then(|race| race.winner());
    match winner {
        Some(winner) => Ok(shared.queue.ask(crate::queue::Find(winner)).await?),
        None => Ok(first),
    }
}

async fn find(shared: &Shared, task: TaskId) -> Result<Option<Race>, ApiError> {
    Ok(shared.queue.ask(ReadRace(task)).await?)
}

/// The race of a task, as it is shown.
pub async fn race_of(shared: &Shared, task: TaskId) -> Result<Option<RaceView>, ApiError> {
    match find(shared, task).await? {
        Some(race) => Ok(Some(race_view(&shared.queue, &race).await?)),
        None => Ok(None),
    }
}

pub async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = own_task(&shared, &caller, &id).await?;
    Ok(HttpResponse::Ok().json(race_of(&shared, task).await?.ok_or_else(|| no_race(task))?))
}

pub async fn pick(
    _request: HttpRequest,
    id: Path<String>,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let task = own_task(&shared, &caller, &id).await?;
    pick_as(&shared, task).await?;
    Ok(HttpResponse::Ok().json(race_of(&shared, task).await?.ok_or_else(|| no_race(task))?))
}

/// Makes a contender the winner.
pub async fn pick_as(shared: &Shared, task: TaskId) -> Result<(), ApiError> {
    let conflict = |code, message: String| ApiError::new(StatusCode::CONFLICT, code, message);
    match shared.queue.ask(PickWinner(task)).await? {
        Picked::Done => Ok(()),
        Picked::NoContender => Err(no_race(task)),
        Picked::NotCompleted => {
            Err(conflict("NOT_COMPLETED", "only a contender that has completed can be chosen".to_owned()))
        }
        Picked::Decided(winner) => {
            let message = match winner {
                Some(winner) => format!("the race was won by task {winner} already"),
                None => "the race has ended already, and nobody has won it".to_owned(),
            };
            Err(conflict("RACE_DECIDED", message).with(json!({ "winner": winner })))
        }
    }
}

fn no_race(task: TaskId) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "NO_RACE", format!("task {task} is no contender of a race"))
}
