//! `/api/queue`

use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::{limits, resource};
use crate::process::wall_now;
use crate::queue::{LaneBacklog, ReadBacklog, ReadStats, SetConcurrency, SetPaused, Unpark};
use crate::service::unmatched;
use domain::{LimitChange, Status};
use wire::request::{Concurrency, Members};
use wire::response::{Stats, Unmatched};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/queue/stats").get(stats))
        .service(resource("/api/queue/pause").post(pause))
        .service(resource("/api/queue/start").post(start))
        .service(resource("/api/queue/concurrency").put(set_concurrency))
        .service(resource("/api/queue/limits").get(limits::list).put(limits::set).delete(limits::remove));
}

async fn stats(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let stats = shared.queue.ask(ReadStats(caller.own())).await?;
    let unmatched = match caller.is_admin() {
        true => unmatched(&shared.queue, shared.queue.ask(ReadBacklog).await?.lanes).await?,
        false => Vec::new(),
    };
    let count = |status| stats.count(status);
    Ok(HttpResponse::Ok().json(Stats {
        size: count(Status::Pending) + count(Status::Running),
        pending: count(Status::Pending),
        running: count(Status::Running),
        completed: count(Status::Completed),
        failed: count(Status::Failed),
        cancelled: count(Status::Cancelled),
        is_paused: stats.paused,
        concurrency: stats.concurrency.unwrap_or(shared.concurrency),
        unmatched: unmatched.into_iter().map(view).collect(),
        oldest_pending_ms: stats.oldest_pending.map(|at| wall_now().since_ms(at)),
    }))
}

fn view(waiting: LaneBacklog) -> Unmatched {
    let requires = waiting.lane.split(',').map(str::to_owned).collect();
    Unmatched { requires, tasks: waiting.tasks, oldest_ms: wall_now().since_ms(waiting.oldest) }
}

async fn pause(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    set_paused(request, payload, caller, shared, true).await
}

async fn start(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    set_paused(request, payload, caller, shared, false).await
}

/// Pauses or resumes the whole queue, or with a body one group.
async fn set_paused(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
    paused: bool,
) -> Result<HttpResponse, ApiError> {
    let body = body(payload, &shared.bodies).await?;
    if body.is_empty() {
        shared.queue.ask(SetPaused(paused)).await?;
        return stats(caller, shared).await;
    }
    let members = input::json::<Members>(&request, &body)?;
    if let Some(credential) = &members.credential {
        if paused {
            return Err(ApiError::invalid("credential", "goes with POST /api/queue/start only"));
        }
        if !shared.queue.ask(Unpark(credential.clone())).await? {
            let rule = format!("{credential} is not parked; GET /health has those that are");
            return Err(ApiError::invalid("credential", rule));
        }
        return stats(caller, shared).await;
    }
    let Some(group) = limits::group(members)? else {
        shared.queue.ask(SetPaused(paused)).await?;
        return stats(caller, shared).await;
    };
    limits::change(&shared, group, LimitChange { paused: Some(paused), ..LimitChange::default() }).await
}

async fn set_concurrency(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let Concurrency { concurrency } = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let wanted = u32::try_from(concurrency).ok().filter(|wanted| (1..=1_000).contains(wanted));
    let wanted =
        wanted.ok_or_else(|| ApiError::invalid("concurrency", format!("must be from 1 to 1000, got {concurrency}")))?;
    shared.queue.ask(SetConcurrency(wanted)).await?;
    stats(caller, shared).await
}
