//! `/health`: without a key, and without counting anything.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::json;

use super::super::shared::{Phase, Shared};
use super::{resource, workers};
use crate::config::Mode;
use crate::process::wall_now;
use crate::queue::{ReadStats, Stats};
use crate::task::Status;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/health").get(health))
        .service(resource("/health/live").get(live))
        .service(resource("/health/ready").get(ready));
}

/// The process answers.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// The server takes tasks.
async fn ready(shared: Data<Shared>) -> HttpResponse {
    let (status, _) = state(&shared).await;
    answer(status).json(json!({ "status": status }))
}

async fn health(shared: Data<Shared>) -> HttpResponse {
    let (status, stats) = state(&shared).await;
    let workers = workers::look(&shared).await.ok();
    let count = |status| stats.as_ref().map(|stats| stats.count(status));
    let size = count(Status::Pending).zip(count(Status::Running)).map(|(pending, running)| pending + running);
    let mut body = json!({
        "status": status,
        "timestamp": wall_now(),
        "queue": {
            "size": size,
            "pending": count(Status::Pending),
            "running": count(Status::Running),
            "completed": count(Status::Completed),
            "failed": count(Status::Failed),
        },
        "workerMode": shared.workers.mode().name(),
        "workers": {
            "count": workers.as_ref().map_or(0, |workers| workers.count),
            "healthy": workers.is_some_and(|workers| workers.healthy),
        },
    });
    if let Some(stats) = stats.filter(|stats| !stats.parked.is_empty()) {
        body["parked"] = json!(stats.parked);
    }
    answer(status).json(body)
}

fn answer(status: &str) -> HttpResponseBuilder {
    let ok = status == "healthy";
    HttpResponse::build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// In standalone mode the workers are somebody else's: the server is well without them.
async fn state(shared: &Shared) -> (&'static str, Option<Stats>) {
    let stats = shared.queue.ask(ReadStats).await.ok();
    let well = match workers::look(shared).await {
        Ok(workers) => workers.healthy || shared.workers.mode() == Mode::Standalone,
        Err(_) => false,
    };
    let status = match (shared.phase(), &stats) {
        (Phase::Draining | Phase::Stopping, _) => "draining",
        (Phase::Serving, Some(_)) if well => "healthy",
        _ => "unhealthy",
    };
    (status, stats)
}
