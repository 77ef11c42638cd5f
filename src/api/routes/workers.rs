//! `/api/workers`

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::body::body;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::{Shared, Workers};
use super::resource;
use crate::process::boot_now;
use crate::queue::{DrainWorker, QueueError, ReadClock, ReadStats, ReadWorkers, WorkerInfo};
use crate::service::Capacity;
use crate::supervisor::{CrashWorker, List, StartFailed, StartWorker, StopWorker};
use domain::{Status, Timestamp};
use wire::request::NewWorker;
use wire::response::{Worker, WorkerState, WorkerStopped};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/workers").get(list).post(start))
        .service(resource("/api/workers/{id}").get(show).delete(stop))
        .service(resource("/api/workers/{id}/crash").post(crash));
}

/// The workers, and whether they are well.
pub struct WorkerOverview {
    pub healthy: bool,
    pub count: usize,
    /// Reason for which they are not well.
    pub complaint: Option<String>,
    pub workers: Vec<Worker>,
}

/// Looks at the workers of this mode.
pub async fn overview(shared: &Shared) -> Result<WorkerOverview, ApiError> {
    match &shared.workers {
        Workers::Inline => Ok(WorkerOverview { healthy: true, count: 1, complaint: None, workers: Vec::new() }),
        Workers::Managed(supervisor) => {
            let mut workers = supervisor.send(List).await.map_err(|_| ApiError::from(QueueError::Restarting))?;
            add_what_is_stored(shared, &mut workers).await?;
            let runs = |worker: &Worker| worker.connected && worker.state == Some(WorkerState::Running);
            let complaint = complaint(&workers, workers.iter().any(runs));
            Ok(WorkerOverview { healthy: complaint.is_none(), count: workers.len(), complaint, workers })
        }
        Workers::Standalone => {
            let workers = shared.queue.ask(ReadWorkers).await?;
            let now = shared.queue.ask(ReadClock).await?;
            let lives = |worker: &WorkerInfo| worker.is_fresh(now) && !is_known_dead(worker);
            let workers: Vec<_> =
                workers.iter().filter(|worker| lives(worker)).map(|worker| standalone_view(worker, now)).collect();
            let complaint = workers.is_empty().then(|| "no worker is there".to_owned());
            Ok(WorkerOverview { healthy: !workers.is_empty(), count: workers.len(), complaint, workers })
        }
    }
}

/// Slots of the workers that could take a task.
pub async fn capacity(shared: &Shared) -> Result<Capacity, ApiError> {
    let WorkerOverview { count, workers, .. } = overview(shared).await?;
    let (slots, running) = match shared.workers {
        Workers::Inline => {
            let stats = shared.queue.ask(ReadStats(None)).await?;
            (stats.concurrency.unwrap_or(shared.concurrency).into(), stats.count(Status::Running))
        }
        // One that drains has no slot for anything new.
        _ => workers
            .iter()
            .filter(|worker| worker.state == Some(WorkerState::Running))
            .fold((0, 0), |sum, worker| (sum.0 + worker.concurrency, sum.1 + worker.running)),
    };
    Ok(Capacity { workers: count, slots, free: (slots - running).max(0) })
}

/// Returns the reason for which managed workers are not well.
fn complaint(workers: &[Worker], any_runs: bool) -> Option<String> {
    if let Some(worker) = workers.iter().find(|worker| worker.crash_looping == Some(true)) {
        return Some(format!("{} ends too often", worker.worker_id));
    }
    if let Some((name, why)) = workers.iter().find_map(|worker| Some((&worker.worker_id, worker.failing.as_ref()?))) {
        return Some(format!("{name}: {why}"));
    }
    (!any_runs).then(|| "no worker is connected".to_owned())
}

/// Adds what managed workers say of themselves in the store.
async fn add_what_is_stored(shared: &Shared, workers: &mut [Worker]) -> Result<(), ApiError> {
    let (stored, now) = (shared.queue.ask(ReadWorkers).await?, shared.queue.ask(ReadClock).await?);
    for worker in workers {
        let of_name = |info: &&WorkerInfo| info.name == worker.worker_id && info.process.pid == worker.pid;
        let Some(info) = stored.iter().find(of_name) else { continue };
        describe(worker, info, now);
    }
    Ok(())
}

/// Adds what a worker says of itself in the store.
fn describe(worker: &mut Worker, info: &WorkerInfo, now: Timestamp) {
    worker.host = Some(info.host.clone());
    worker.last_beat_ms = Some(now.since_ms(info.beat_at));
    worker.labels = Some(info.labels.iter().map(str::to_owned).collect());
    worker.version = Some(info.version.clone());
}

/// A process of another machine is not known here, which says nothing of it.
fn is_known_dead(worker: &WorkerInfo) -> bool {
    worker.process.boot == boot_now().boot && worker.process.is_known_dead()
}

fn standalone_view(worker: &WorkerInfo, now: Timestamp) -> Worker {
    let mut view = Worker {
        worker_id: worker.name.clone(),
        pid: worker.process.pid,
        start_time: worker.started_at,
        uptime: now.since_ms(worker.started_at),
        restart_count: 0,
        connected: true,
        state: Some(if worker.drain { WorkerState::Draining } else { WorkerState::Running }),
        crash_looping: None,
        host: None,
        last_beat_ms: None,
        labels: None,
        version: None,
        running: worker.running,
        concurrency: worker.concurrency,
        failing: None,
    };
    describe(&mut view, worker, now);
    view
}

fn unavailable(message: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "WORKER_MANAGER_UNAVAILABLE", message)
}

fn not_inline(shared: &Shared) -> Result<(), ApiError> {
    match shared.workers {
        Workers::Inline => Err(unavailable(
            "in inline mode this process does the work; start it with WORKER_MODE=managed to manage workers",
        )),
        _ => Ok(()),
    }
}

fn manager(shared: &Shared) -> Result<&actix::Addr<crate::supervisor::SupervisorActor>, ApiError> {
    not_inline(shared)?;
    match &shared.workers {
        Workers::Managed(supervisor) => Ok(supervisor),
        _ => Err(unavailable("in standalone mode workers are started and stopped where they run")),
    }
}

fn no_worker(name: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "WORKER_NOT_FOUND", format!("there is no worker {name}"))
}

async fn list(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    not_inline(&shared)?;
    let WorkerOverview { healthy, count, workers, .. } = overview(&shared).await?;
    Ok(HttpResponse::Ok().json(wire::response::Workers { healthy, worker_count: count, workers }))
}

async fn show(name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    not_inline(&shared)?;
    let workers = overview(&shared).await?.workers;
    let worker = workers.into_iter().find(|worker| worker.worker_id == **name);
    worker.map(|worker| HttpResponse::Ok().json(worker)).ok_or_else(|| no_worker(&name))
}

async fn start(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let body = body(payload, &shared.bodies).await?;
    let start = if body.is_empty() { NewWorker::default() } else { input::json(&request, &body)? };
    Ok(HttpResponse::Created().json(start_named(&shared, start).await?))
}

/// Starts a worker process.
pub async fn start_named(shared: &Shared, start: NewWorker) -> Result<Worker, ApiError> {
    let supervisor = manager(shared)?;
    if let Some(name) = &start.worker_id
        && (name.is_empty()
            || name.len() > 64
            || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)))
    {
        return Err(ApiError::invalid("workerId", "must have 1 to 64 letters, digits, dashes or underscores"));
    }
    let started = supervisor.send(StartWorker { name: start.worker_id }).await;
    match started.map_err(|_| ApiError::from(QueueError::Restarting))? {
        Ok(worker) => Ok(worker),
        Err(StartFailed::NameTaken) => Err(ApiError::new(
            StatusCode::CONFLICT,
            "WORKER_EXISTS",
            "there is a worker of that name; choose another, or none",
        )),
        Err(StartFailed::ShuttingDown) => Err(ApiError::draining()),
        Err(error @ StartFailed::System(_)) => {
            Err(ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "WORKER_NOT_STARTED", error.to_string()))
        }
    }
}

async fn stop(name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (has_ended, message) = stop_named(&shared, &name).await?;
    let status = if has_ended { StatusCode::OK } else { StatusCode::ACCEPTED };
    let stopped = WorkerStopped { success: true, worker_id: name.to_string(), message };
    Ok(HttpResponse::build(status).json(stopped))
}

/// Lets a worker finish what it runs, and end. Returns whether it has ended, and what was done in words.
pub async fn stop_named(shared: &Shared, name: &str) -> Result<(bool, String), ApiError> {
    if let Workers::Standalone = shared.workers {
        return Ok((false, drain(name, shared).await?));
    }
    let supervisor = manager(shared)?;
    let stopped = supervisor.send(StopWorker { name: name.to_string() }).await;
    if stopped.map_err(|_| ApiError::from(QueueError::Restarting))? {
        Ok((true, format!("worker {name} has finished and stopped")))
    } else {
        Err(no_worker(name))
    }
}

async fn crash(name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Accepted().json(crash_named(&shared, &name).await?))
}

/// Kills a worker, as a fault of the machine would. Returns it as it was.
pub async fn crash_named(shared: &Shared, name: &str) -> Result<Worker, ApiError> {
    if !shared.server.crash_button {
        let message = "workers are killed over HTTP with CRASH_BUTTON=on alone; DELETE drains one";
        return Err(ApiError::forbidden("CRASH_BUTTON_OFF", message));
    }
    let crashed = manager(shared)?.send(CrashWorker { name: name.to_owned() }).await;
    crashed.map_err(|_| ApiError::from(QueueError::Restarting))?.ok_or_else(|| no_worker(name))
}

/// Tells a worker of another process, on whichever machine, to finish what it runs, and to end.
async fn drain(name: &str, shared: &Shared) -> Result<String, ApiError> {
    let (workers, now) = (shared.queue.ask(ReadWorkers).await?, shared.queue.ask(ReadClock).await?);
    let mut any = false;
    for worker in workers.iter().filter(|worker| worker.name == name && worker.is_fresh(now) && !is_known_dead(worker))
    {
        any |= shared.queue.ask(DrainWorker(worker.holder)).await?;
    }
    if !any {
        return Err(no_worker(name));
    }
    Ok(format!("worker {name} claims no more; it ends when its tasks have ended"))
}
