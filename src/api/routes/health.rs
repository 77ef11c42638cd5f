//! `/health`: without a key, and without counting anything.

use std::sync::PoisonError;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, HttpResponseBuilder};
use serde_json::{Map, Value, json};

use super::super::shared::Shared;
use super::{resource, workers};
use crate::config::Mode;
use crate::process::wall_now;
use crate::queue::{QueueError, ReadStats, Stats};
use crate::service::Phase;
use crate::telemetry::{self, Duty};
use domain::Status;

/// What is not answered by then is not waited for.
const ANSWER_LIMIT: Duration = Duration::from_millis(80);

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
    let health = Health::of(&shared).await;
    let mut body = json!({ "status": health.status, "checks": health.checks });
    if let Some(reason) = health.reason {
        body["reason"] = json!(reason);
    }
    answer(health.status).json(body)
}

async fn health(shared: Data<Shared>) -> HttpResponse {
    let Health { status, reason, checks, stats, workers } = Health::of(&shared).await;
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
        "checks": checks,
        "panics": telemetry::panics(),
    });
    if let Some(reason) = reason {
        body["reason"] = json!(reason);
    }
    if let Some(stats) = stats.filter(|stats| !stats.parked.is_empty()) {
        body["parked"] = json!(stats.parked);
    }
    answer(status).json(body)
}

fn answer(status: &str) -> HttpResponseBuilder {
    let ok = status == "healthy";
    HttpResponse::build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// How the server is.
struct Health {
    status: &'static str,
    /// Why it is not healthy.
    reason: Option<String>,
    /// Each duty, and whether it is done.
    checks: Map<String, Value>,
    stats: Option<Stats>,
    workers: Option<workers::Seen>,
}

impl Health {
    /// In standalone mode the workers are somebody else's: the server is well without them.
    async fn of(shared: &Shared) -> Self {
        // A queue that waits for the disk answers late; that is an answer too.
        let (stats, workers) = tokio::join!(
            tokio::time::timeout(ANSWER_LIMIT, shared.queue.ask(ReadStats)),
            tokio::time::timeout(ANSWER_LIMIT, workers::look(shared)),
        );
        let stats = keep_last(shared, stats.ok());
        let late = workers.is_err();
        let workers = workers.ok().and_then(Result::ok);
        let mut reasons = Vec::new();
        let mut checks = Map::new();
        let mut check = |name: &str, why: Option<String>, lasts: Option<Duration>| {
            let mut check = json!({ "ok": why.is_none() });
            if let Some(why) = why {
                check["failingMs"] = json!(lasts.map(|lasts| lasts.as_millis() as u64));
                reasons.push(format!("{name}: {why}"));
                check["error"] = json!(why);
            }
            checks.insert(name.to_owned(), check);
        };
        for duty in Duty::ALL {
            let failing = shared.vitals.failing(duty);
            check(
                duty.name(),
                failing.as_ref().map(|failing| failing.why.clone()),
                failing.map(|failing| failing.lasts()),
            );
        }
        check("store", stats.as_ref().err().map(|error| telemetry::chain(error)), None);
        let needs_workers = shared.workers.mode() != Mode::Standalone;
        let complaint = match &workers {
            None if late => None,
            None => Some("nothing is known of the workers".to_owned()),
            Some(workers) => workers.complaint.clone(),
        };
        check("workers", complaint.filter(|_| needs_workers), None);
        let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
        let status = match shared.phase() {
            Phase::Draining | Phase::Stopping => "draining",
            Phase::Serving if reason.is_none() => "healthy",
            Phase::Serving => "unhealthy",
        };
        Self { status, reason, checks, stats: stats.ok().flatten(), workers }
    }
}

/// The counts as they are, or, where they are late, as they were last read.
fn keep_last(shared: &Shared, stats: Option<Result<Stats, QueueError>>) -> Result<Option<Stats>, QueueError> {
    let mut last = shared.last_stats.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(stats) = stats {
        *last = Some(stats?);
    }
    Ok(last.clone())
}
