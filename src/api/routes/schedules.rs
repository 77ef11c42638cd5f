//! `/api/schedules`: tasks that are submitted by the clock.

use std::borrow::Cow;

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::{resource, submit};
use crate::process::wall_now;
use crate::queue::{self, FindSchedule, Fire, Fired, Firing, ReadRuns, ReadSchedules, RemoveSchedule, Schedule};
use crate::service::{self, Planned};
use domain::{ScheduleId, Timetable};
use wire::TaskSpec;
use wire::request::{NewSchedule, ScheduleChanges};
use wire::response::{self, Preview, Run, Runs, Schedules};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/schedules").get(list).post(add))
        .service(resource("/api/schedules/preview").get(preview))
        .service(resource("/api/schedules/{id}").get(show).patch(change).delete(remove))
        .service(resource("/api/schedules/{id}/run").post(run))
        .service(resource("/api/schedules/{id}/runs").get(runs));
}

fn view(schedule: &Schedule) -> response::Schedule<'_> {
    let task = match schedule.spec.options.shown() {
        Cow::Borrowed(_) => Cow::Borrowed(&schedule.spec),
        Cow::Owned(options) => Cow::Owned(TaskSpec { options, ..schedule.spec.clone() }),
    };
    response::Schedule {
        schedule_id: schedule.id,
        name: schedule.name.as_deref().map(Cow::Borrowed),
        cron: Cow::Borrowed(&schedule.cron),
        time_zone: Cow::Borrowed(&schedule.time_zone),
        task,
        missed: schedule.missed,
        overlap: schedule.overlap,
        continue_session: schedule.continue_session,
        enabled: schedule.enabled,
        next_run_at: schedule.next_at.filter(|_| schedule.enabled),
        created_at: schedule.created_at,
        unreadable: schedule.unreadable.as_deref().map(Cow::Borrowed),
    }
}

async fn list(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let schedules = shared.queue.ask(ReadSchedules(caller.own())).await?;
    Ok(answer::list(&Schedules { schedules: schedules.iter().map(view).collect() }))
}

/// `GET /api/schedules/preview`: the next firings of a timetable, whether a schedule has it or not.
async fn preview(_: Caller, request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["cron", "timeZone", "n"])?;
    let cron = params.text("cron").ok_or_else(|| ApiError::invalid("cron", "must be a cron expression"))?;
    let time_zone = params.text("timeZone").unwrap_or("UTC");
    let number = params.number("n", 1, 100, 5)?;
    let table = Timetable::read(cron, time_zone).map_err(|error| ApiError::invalid(error.field, error.rule))?;
    let firings = std::iter::successors(table.next(wall_now()), |last| table.next(*last));
    let firings = firings.take(usize::try_from(number).unwrap_or_default()).collect();
    Ok(HttpResponse::Ok().json(Preview { cron: cron.to_owned(), time_zone: time_zone.to_owned(), firings }))
}

/// The schedule in a path, if the caller sees it.
async fn find(shared: &Shared, caller: &Caller, id: &str) -> Result<Schedule, ApiError> {
    let found = match str::parse::<ScheduleId>(id) {
        Ok(id) => shared.queue.ask(FindSchedule(id)).await?,
        Err(_) => None,
    };
    found.filter(|schedule| caller.sees(&schedule.key)).ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "SCHEDULE_NOT_FOUND", format!("there is no schedule {id}"))
}

async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(view(&find(&shared, &caller, &id).await?)))
}

async fn add(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let new: NewSchedule = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let schedule = add_as(&shared, &caller, new).await?;
    let location = (header::LOCATION, format!("/api/schedules/{}", schedule.id));
    Ok(HttpResponse::Created().insert_header(location).json(view(&schedule)))
}

/// Adds a schedule of this caller.
pub async fn add_as(shared: &Shared, caller: &Caller, new: NewSchedule) -> Result<Schedule, ApiError> {
    let schedule = Schedule {
        id: ScheduleId::new(),
        name: new.name,
        cron: new.cron,
        time_zone: new.time_zone,
        spec: new.task,
        unreadable: None,
        key: caller.name().to_owned(),
        missed: new.missed,
        overlap: new.overlap,
        continue_session: new.continue_session,
        enabled: new.enabled,
        next_at: None,
        created_at: wall_now(),
    };
    Box::pin(store(shared, caller, schedule, true)).await
}

async fn change(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let changes: ScheduleChanges = input::json(&request, &body(payload, &shared.bodies).await?)?;
    Ok(HttpResponse::Ok().json(view(&change_as(&shared, &caller, &id, changes).await?)))
}

/// Changes a schedule of this caller.
pub async fn change_as(
    shared: &Shared,
    caller: &Caller,
    id: &str,
    changes: ScheduleChanges,
) -> Result<Schedule, ApiError> {
    let old = find(shared, caller, id).await?;
    let schedule = Schedule {
        name: changes.name.or(old.name),
        cron: changes.cron.unwrap_or(old.cron),
        time_zone: changes.time_zone.unwrap_or(old.time_zone),
        unreadable: if changes.task.is_some() { None } else { old.unreadable },
        spec: changes.task.unwrap_or(old.spec),
        missed: changes.missed.unwrap_or(old.missed),
        overlap: changes.overlap.unwrap_or(old.overlap),
        continue_session: changes.continue_session.unwrap_or(old.continue_session),
        enabled: changes.enabled.unwrap_or(old.enabled),
        ..old
    };
    Box::pin(store(shared, caller, schedule, false)).await
}

/// Stores a schedule, and reads it as it is then.
async fn store(shared: &Shared, caller: &Caller, schedule: Schedule, new: bool) -> Result<Schedule, ApiError> {
    let id = schedule.id.to_string();
    match service::put_schedule(shared, schedule, new).await? {
        true => find(shared, caller, &id).await,
        false => Err(unknown(&id)),
    }
}

async fn remove(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    remove_as(&shared, &caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// Removes a schedule of this caller.
pub async fn remove_as(shared: &Shared, caller: &Caller, id: &str) -> Result<(), ApiError> {
    let schedule = find(shared, caller, id).await?;
    if shared.queue.ask(RemoveSchedule(schedule.id)).await? { Ok(()) } else { Err(unknown(id)) }
}

/// `POST …/run`: once more, at once.
async fn run(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(submit::accepted(&*run_as(&shared, &caller, &id).await?, false))
}

/// Fires a schedule of this caller once more. Returns the task.
pub async fn run_as(shared: &Shared, caller: &Caller, id: &str) -> Result<Box<wire::Task>, ApiError> {
    let schedule = find(shared, caller, id).await?;
    let (submit, mut span) = match service::plan(shared, &schedule).await? {
        Planned::Go(sent) => *sent,
        Planned::Not(_, why) | Planned::Later(why) => {
            return Err(ApiError::new(StatusCode::CONFLICT, "SCHEDULE_NOT_RUN", why));
        }
    };
    let firing = Firing::Submit(Box::new(submit));
    match shared.queue.ask(Fire { schedule: schedule.id, due: None, next: None, firing, detail: None }).await? {
        Fired::Submitted(task) => {
            span.stored(task.id);
            Ok(task)
        }
        Fired::NotTaken(refused) => {
            let error = service::not_taken(shared, &refused);
            span.fail(error.code);
            Err(error.into())
        }
        Fired::Noted | Fired::Stale => Err(unknown(id)),
    }
}

async fn runs(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let limit = Params::read(&request, &["limit"])?.number("limit", 1, 1_000, 100)?;
    let schedule = find(&shared, &caller, &id).await?.id;
    let runs = shared.queue.ask(ReadRuns { schedule, limit: limit.unsigned_abs() }).await?;
    let view = |run: queue::ScheduleRun| Run {
        due_at: run.due_at,
        fired_at: run.fired_at,
        outcome: run.outcome,
        task_id: run.task.map(|(id, _)| id),
        task_status: run.task.and_then(|(_, status)| status),
        detail: run.detail,
    };
    Ok(answer::list(&Runs { schedule_id: schedule, runs: runs.into_iter().map(view).collect() }))
}
