//! `/api/schedules`: tasks that are submitted by the clock.

use actix_web::http::{StatusCode, header};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::{resource, submit};
use crate::process::wall_now;
use crate::queue::{
    FindSchedule, Fire, Fired, Firing, PutSchedule, ReadRuns, ReadSchedules, RemoveSchedule, Run, Schedule,
};
use crate::service::{self, Planned};
use domain::{MAX_NAME, Missed, Overlap, ScheduleId, Timetable};
use wire::TaskSpec;
use wire::view::bounded;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/schedules").get(list).post(add))
        .service(resource("/api/schedules/{id}").get(show).patch(change).delete(remove))
        .service(resource("/api/schedules/{id}/run").post(run))
        .service(resource("/api/schedules/{id}/runs").get(runs));
}

/// A schedule, as a client sends it.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSchedule {
    name: Option<String>,
    cron: String,
    #[serde(default = "utc")]
    time_zone: String,
    task: TaskSpec,
    #[serde(default)]
    missed: Missed,
    #[serde(default)]
    overlap: Overlap,
    #[serde(default)]
    continue_session: bool,
    #[serde(default = "yes")]
    enabled: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn yes() -> bool {
    true
}

/// What may be changed.
#[derive(Deserialize, ToSchema)]
#[schema(as = ScheduleChanges)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    name: Option<String>,
    cron: Option<String>,
    time_zone: Option<String>,
    task: Option<TaskSpec>,
    missed: Option<Missed>,
    overlap: Option<Overlap>,
    continue_session: Option<bool>,
    enabled: Option<bool>,
}

fn view(schedule: &Schedule) -> Value {
    let mut task = json!(schedule.spec);
    task["options"] = json!(schedule.spec.options.shown());
    json!({
        "scheduleId": schedule.id,
        "name": schedule.name,
        "cron": schedule.cron,
        "timeZone": schedule.time_zone,
        "task": task,
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "continueSession": schedule.continue_session,
        "enabled": schedule.enabled,
        "nextRunAt": schedule.next_at.filter(|_| schedule.enabled),
        "createdAt": schedule.created_at,
        "unreadable": schedule.unreadable,
    })
}

async fn list(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let schedules = shared.queue.ask(ReadSchedules).await?;
    Ok(HttpResponse::Ok().json(bounded(json!({ "schedules": schedules.iter().map(view).collect::<Vec<_>>() }))))
}

async fn find(shared: &Shared, id: &str) -> Result<Schedule, ApiError> {
    let found = match str::parse::<ScheduleId>(id) {
        Ok(id) => shared.queue.ask(FindSchedule(id)).await?,
        Err(_) => None,
    };
    found.ok_or_else(|| unknown(id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "SCHEDULE_NOT_FOUND", format!("there is no schedule {id}"))
}

async fn show(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(view(&find(&shared, &id).await?)))
}

async fn add(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let new: NewSchedule = input::json(&request, &input::body(payload).await?)?;
    let schedule = Schedule {
        id: ScheduleId::new(),
        name: new.name,
        cron: new.cron,
        time_zone: new.time_zone,
        spec: new.task,
        unreadable: None,
        key: submit::caller(&request),
        missed: new.missed,
        overlap: new.overlap,
        continue_session: new.continue_session,
        enabled: new.enabled,
        next_at: None,
        created_at: wall_now(),
    };
    let schedule = store(&shared, schedule, true).await?;
    let location = (header::LOCATION, format!("/api/schedules/{}", schedule.id));
    Ok(HttpResponse::Created().insert_header(location).json(view(&schedule)))
}

async fn change(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let changes: Changes = input::json(&request, &input::body(payload).await?)?;
    let old = find(&shared, &id).await?;
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
    Ok(HttpResponse::Ok().json(view(&store(&shared, schedule, false).await?)))
}

/// Checks a schedule and its task, and stores it with its next firing.
async fn store(shared: &Shared, schedule: Schedule, new: bool) -> Result<Schedule, ApiError> {
    if let Some(why) = &schedule.unreadable {
        let rule = format!("can't be read by this version of the program ({why}); send the whole task");
        return Err(ApiError::invalid("task", rule));
    }
    if schedule.name.as_ref().is_some_and(|name| name.is_empty() || name.len() > MAX_NAME) {
        return Err(ApiError::invalid("name", format!("must have 1 to {MAX_NAME} bytes")));
    }
    let table = Timetable::read(&schedule.cron, &schedule.time_zone);
    let table = table.map_err(|(field, rule)| ApiError::invalid(field, rule))?;
    let next_at = table.next(wall_now());
    if next_at.is_none() {
        return Err(ApiError::invalid("cron", "names no time that comes"));
    }
    let sdk = &schedule.spec.options.sdk;
    if schedule.spec.run_at.is_some() || schedule.spec.options.run_async == Some(false) {
        return Err(ApiError::invalid("task", "can't have runAt, or options.async false: the clock submits it"));
    }
    if schedule.continue_session && (sdk.continue_from_task_id.is_some() || sdk.resume_session.is_some()) {
        let rule = "names a session already; leave it out where each task goes on with the one before";
        return Err(ApiError::invalid("continueSession", rule));
    }
    let checked = service::admit(shared, schedule.spec.clone(), schedule.key.clone(), None, None).await;
    checked.map_err(|refused| ApiError::from(refused).below("task"))?;
    let id = schedule.id;
    let schedule = Box::new(Schedule { next_at, ..schedule });
    match shared.queue.ask(PutSchedule { schedule, new }).await? {
        true => find(shared, &id.to_string()).await,
        false => Err(unknown(&id.to_string())),
    }
}

async fn remove(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let schedule = find(&shared, &id).await?;
    match shared.queue.ask(RemoveSchedule(schedule.id)).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(unknown(&id)),
    }
}

/// `POST …/run`: once more, at once.
async fn run(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let schedule = find(&shared, &id).await?;
    let submit = match service::plan(&shared, &schedule).await? {
        Planned::Go(submit) => submit,
        Planned::Not(_, why) | Planned::Later(why) => {
            return Err(ApiError::new(StatusCode::CONFLICT, "SCHEDULE_NOT_RUN", why));
        }
    };
    let firing = Firing::Submit(submit);
    match shared.queue.ask(Fire { schedule: schedule.id, due: None, next: None, firing, detail: None }).await? {
        Fired::Submitted(task) => Ok(submit::accepted(&task, false)),
        Fired::NotTaken(refused) => Err(service::not_taken(&shared, &refused).into()),
        Fired::Noted | Fired::Stale => Err(unknown(&id)),
    }
}

async fn runs(id: Path<String>, request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let limit = Params::read(&request, &["limit"])?.number("limit", 1, 1_000, 100)?;
    let schedule = find(&shared, &id).await?.id;
    let runs = shared.queue.ask(ReadRuns { schedule, limit: limit.unsigned_abs() }).await?;
    let view = |run: &Run| {
        json!({
            "dueAt": run.due_at,
            "firedAt": run.fired_at,
            "outcome": run.outcome,
            "taskId": run.task.map(|(id, _)| id),
            "taskStatus": run.task.and_then(|(_, status)| status),
            "detail": run.detail,
        })
    };
    Ok(HttpResponse::Ok()
        .json(bounded(json!({ "scheduleId": schedule, "runs": runs.iter().map(view).collect::<Vec<_>>() }))))
}
