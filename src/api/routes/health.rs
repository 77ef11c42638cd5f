//! `/health`: without a key, and without counting anything.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::Duration;
use strum::VariantArray as _;

use actix_web::http::StatusCode;
use actix_web::web::{self, Data};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::super::shared::Shared;
use super::{resource, workers};
use crate::config::Mode;
use crate::process::wall_now;
use crate::queue::{Parked, QueueError, ReadStats, Stats};
use crate::service::Phase;
use crate::telemetry::{self, Duty};
use domain::{Named as _, Status};
use wire::response::{Alive, Check, Health, HealthStatus, ParkedCredential, QueueCounts, Readiness, WorkerCounts};

/// Longest time that an answer is waited for.
const ANSWER_LIMIT: Duration = Duration::from_millis(80);

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/health").get(health))
        .service(resource("/health/live").get(live))
        .service(resource("/health/ready").get(ready));
}

/// The process answers.
async fn live() -> HttpResponse {
    HttpResponse::Ok().json(Alive { status: "alive".to_owned() })
}

/// The server takes tasks.
async fn ready(shared: Data<Shared>) -> HttpResponse {
    let Snapshot { status, reason, checks, .. } = Snapshot::of(&shared).await;
    answer(status).json(Readiness { status, checks, reason })
}

async fn health(shared: Data<Shared>) -> HttpResponse {
    let Snapshot { status, reason, checks, stats, workers } = Snapshot::of(&shared).await;
    let count = |status| stats.as_ref().map(|stats| stats.count(status));
    let (pending, running) = (count(Status::Pending), count(Status::Running));
    let queue = QueueCounts {
        size: pending.zip(running).map(|(pending, running)| pending + running),
        pending,
        running,
        completed: count(Status::Completed),
        failed: count(Status::Failed),
    };
    let workers = WorkerCounts {
        count: workers.as_ref().map_or(0, |workers| workers.count),
        healthy: workers.is_some_and(|workers| workers.healthy),
    };
    answer(status).json(Health {
        status,
        timestamp: wall_now(),
        queue,
        worker_mode: shared.workers.mode().name().to_owned(),
        workers,
        checks,
        panics: telemetry::panics(),
        reason,
        parked: stats.into_iter().flat_map(|stats| stats.parked).map(parked).collect(),
    })
}

fn parked(parked: Parked) -> ParkedCredential {
    let Parked { credential, until, class, message } = parked;
    ParkedCredential { credential, until, class, message }
}

fn answer(status: HealthStatus) -> HttpResponseBuilder {
    let ok = status == HealthStatus::Healthy;
    HttpResponse::build(if ok { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE })
}

/// Facts for the answer.
struct Snapshot {
    status: HealthStatus,
    /// Reason for which it is not healthy.
    reason: Option<String>,
    /// Each duty, and whether it is done.
    checks: BTreeMap<String, Check>,
    stats: Option<Stats>,
    workers: Option<workers::WorkerOverview>,
}

impl Snapshot {
    /// Gathers the facts. In standalone mode the workers are the operator's: the server is well without them.
    async fn of(shared: &Shared) -> Self {
        // A queue that waits for the disk answers late; that is an answer too.
        let (stats, workers) = tokio::join!(
            tokio::time::timeout(ANSWER_LIMIT, shared.queue.ask(ReadStats(None))),
            tokio::time::timeout(ANSWER_LIMIT, workers::overview(shared)),
        );
        let stats = keep_last(shared, stats.ok());
        let late = workers.is_err();
        let workers = workers.ok().and_then(Result::ok);
        let mut reasons = Vec::new();
        let mut checks = BTreeMap::new();
        let mut check = |name: &str, why: Option<String>, lasts: Option<Duration>| {
            reasons.extend(why.as_ref().map(|why| format!("{name}: {why}")));
            let failing_ms = lasts.map(|lasts| lasts.as_millis() as u64);
            checks.insert(name.to_owned(), Check { ok: why.is_none(), failing_ms, error: why });
        };
        for duty in Duty::VARIANTS.iter().copied() {
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
            Phase::Draining | Phase::Stopping => HealthStatus::Draining,
            Phase::Serving if reason.is_none() => HealthStatus::Healthy,
            Phase::Serving => HealthStatus::Unhealthy,
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
