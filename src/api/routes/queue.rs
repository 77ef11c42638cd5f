//! `/api/queue`

use actix_web::web::{self, Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;

use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::resource;
use crate::process::wall_now;
use crate::queue::{ReadStats, SetConcurrency, SetPaused};
use crate::task::Status;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/queue/stats").get(stats))
        .service(resource("/api/queue/pause").post(pause))
        .service(resource("/api/queue/start").post(start))
        .service(resource("/api/queue/concurrency").put(set_concurrency));
}

async fn stats(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let stats = shared.queue.ask(ReadStats).await?;
    let count = |status| stats.count(status);
    Ok(HttpResponse::Ok().json(json!({
        "size": count(Status::Pending) + count(Status::Running),
        "pending": count(Status::Pending),
        "running": count(Status::Running),
        "completed": count(Status::Completed),
        "failed": count(Status::Failed),
        "cancelled": count(Status::Cancelled),
        "isPaused": stats.paused,
        "concurrency": stats.concurrency.unwrap_or(shared.concurrency),
        "oldestPendingMs": stats.oldest_pending.map(|at| wall_now().since_ms(at)),
    })))
}

async fn pause(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    shared.queue.ask(SetPaused(true)).await?;
    stats(shared).await
}

async fn start(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    shared.queue.ask(SetPaused(false)).await?;
    stats(shared).await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Concurrency {
    concurrency: i64,
}

async fn set_concurrency(
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let Concurrency { concurrency } = input::json(&request, &input::body(payload).await?)?;
    let wanted = u32::try_from(concurrency).ok().filter(|wanted| (1..=1_000).contains(wanted));
    let wanted =
        wanted.ok_or_else(|| ApiError::invalid("concurrency", format!("must be from 1 to 1000, got {concurrency}")))?;
    shared.queue.ask(SetConcurrency(wanted)).await?;
    stats(shared).await
}
