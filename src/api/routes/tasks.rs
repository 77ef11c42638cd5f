//! `/api/tasks`

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::body::body;
use super::super::caller::{Caller, find_task, own_task};
use super::super::error::ApiError;
use super::super::follow;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::super::stream::TaskEvents;
use super::{artifacts, bulk, conversation, explain, graph, list, races, resource, submit, talk};
use crate::queue::{self, Amend, Amended, Cancel, Cancelled, PagePlace, ReadEventPage, ReadEvents, ReadPatch};
use domain::{Status, TaskId};
use wire::request::TaskChanges;
use wire::response::{EventPage, EventView, Logs, TaskView};
use wire::{PRIORITIES, Task};

/// Lines of `…/logs`: more than anybody reads.
const MAX_LOG_LINES: u64 = 10_000;

/// Maximum size of the events in one answer, in bytes; one event is shown whatever its size.
const PAGE_BYTES: u64 = 2 << 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/tasks").get(list::list).post(submit::submit))
        .service(resource("/api/tasks/batch").post(submit::batch))
        .service(resource("/api/tasks/bulk").post(bulk::bulk))
        .service(resource("/api/sessions").get(list::sessions))
        .service(resource("/api/tasks/{id}").get(show).patch(amend).delete(cancel))
        .service(resource("/api/tasks/{id}/logs").get(logs))
        .service(resource("/api/tasks/{id}/events").get(events))
        .service(resource("/api/tasks/{id}/events/page").get(event_page))
        .service(resource("/api/tasks/{id}/conversation").get(conversation::show))
        .service(resource("/api/tasks/{id}/changes.patch").get(patch))
        .service(resource("/api/tasks/{id}/permissions").get(talk::questions))
        .service(resource("/api/tasks/{id}/permissions/{request}").post(talk::answer))
        .service(resource("/api/questions").get(talk::open_questions))
        .service(resource("/api/tasks/{id}/messages").post(talk::message))
        .service(resource("/api/tasks/{id}/interrupt").post(talk::interrupt))
        .service(resource("/api/tasks/{id}/explain").get(explain::explain))
        .service(resource("/api/tasks/{id}/artifacts").get(artifacts::list))
        .service(resource("/api/tasks/{id}/artifacts/content").get(artifacts::read))
        .service(resource("/api/tasks/{id}/artifacts.zip").get(artifacts::archive))
        .service(resource("/api/tasks/{id}/graph").get(graph::show))
        .service(resource("/api/tasks/{id}/race").get(races::show))
        .service(resource("/api/tasks/{id}/race/pick").post(races::pick))
        .service(resource("/api/tasks/{id}/retry").post(retry));
}

async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(TaskView::of(&find_task(&shared, &caller, &id).await?)))
}

/// Checks a priority that was asked for.
pub fn check_priority(priority: Option<i64>) -> Result<(), ApiError> {
    if priority.is_some_and(|priority| !PRIORITIES.contains(&priority)) {
        let rule = format!("must be from {} to {}", PRIORITIES.start(), PRIORITIES.end());
        return Err(ApiError::invalid("priority", rule));
    }
    Ok(())
}

async fn amend(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let changes = input::json(&request, &body(payload, &shared.bodies).await?)?;
    Ok(HttpResponse::Ok().json(TaskView::of(&*amend_as(&shared, &caller, &id, changes).await?)))
}

/// Changes when a task of this caller starts. Returns it as it is then.
pub async fn amend_as(shared: &Shared, caller: &Caller, id: &str, changes: TaskChanges) -> Result<Box<Task>, ApiError> {
    let TaskChanges { priority, run_at, depends_on } = changes;
    if priority.is_none() && run_at.is_none() && depends_on.is_none() {
        return Err(ApiError::invalid("body", "must have priority, runAt or dependsOn"));
    }
    if depends_on.as_ref().is_some_and(|left| !left.is_empty()) {
        return Err(ApiError::invalid("dependsOn", "can only be taken away: []"));
    }
    check_priority(priority)?;
    let task = own_task(shared, caller, id).await?;
    match shared.queue.ask(Amend { task, priority, run_at, waive: depends_on.is_some() }).await? {
        Amended::Done(task) => Ok(task),
        Amended::NotPending(task) => {
            let message = format!("the task is {}; only one that is pending can be changed", task.status);
            let error = ApiError::new(StatusCode::CONFLICT, "TASK_NOT_PENDING", message);
            Err(error.with(json!({ "task": TaskView::of(&task) })))
        }
        Amended::Begun(task) => {
            let message =
                "the task has been started before, and waits for its next attempt; only its priority can be changed";
            let error = ApiError::new(StatusCode::CONFLICT, "TASK_NOT_PENDING", message);
            Err(error.with(json!({ "task": TaskView::of(&task) })))
        }
        Amended::Unknown => Err(ApiError::no_task(id)),
    }
}

async fn cancel(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(TaskView::of(&*cancel_as(&shared, &caller, &id).await?)))
}

/// Cancels a task of this caller. Returns it as it is then.
pub async fn cancel_as(shared: &Shared, caller: &Caller, id: &str) -> Result<Box<Task>, ApiError> {
    match shared.queue.ask(Cancel(own_task(shared, caller, id).await?)).await? {
        Cancelled::Done(task) => Ok(task),
        // A second cancel says the same as the first.
        Cancelled::Ended(task) if task.status == Status::Cancelled => Ok(task),
        Cancelled::Ended(task) => {
            let message = format!("the task is {} already", task.status);
            Err(ApiError::new(StatusCode::CONFLICT, "TASK_ENDED", message).with(json!({ "task": TaskView::of(&task) })))
        }
        Cancelled::Unknown => Err(ApiError::no_task(id)),
    }
}

/// `GET …/changes.patch`
async fn patch(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find_task(&shared, &caller, &id).await?;
    match shared.queue.ask(ReadPatch(task.id)).await? {
        Some(patch) if patch.is_empty() && task.changes.as_ref().is_some_and(|changes| changes["patchBytes"] != 0) => {
            let message = "the patch is larger than what is kept; see the task's branch";
            Err(ApiError::new(StatusCode::NOT_FOUND, "PATCH_TOO_LARGE", message))
        }
        Some(patch) => Ok(HttpResponse::Ok().content_type("text/x-patch").body(patch)),
        None => {
            let message = "nothing is known of changes: the task has no worktree, or no attempt of it has ended yet";
            Err(ApiError::new(StatusCode::NOT_FOUND, "NO_CHANGES", message))
        }
    }
}

async fn retry(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let old = find_task(&shared, &caller, &id).await?;
    Ok(submit::accepted(&*submit::again(&shared, &caller, old).await?, false))
}

async fn read_events(shared: &Shared, task: TaskId, after: i64, limit: u64) -> Result<queue::EventPage, ApiError> {
    let read = ReadEvents { task, after, limit, bytes: PAGE_BYTES };
    let page = shared.queue.ask(read).await?;
    if page.status.is_some() { Ok(page) } else { Err(ApiError::no_task(&task.to_string())) }
}

async fn logs(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task_id = own_task(&shared, &caller, &id).await?;
    let (mut lines, mut after) = (Vec::new(), 0);
    loop {
        let page = read_events(&shared, task_id, after, MAX_LOG_LINES - lines.len() as u64).await?;
        after = page.events.last().map_or(after, |event| event.seq);
        lines.extend(page.events.iter().map(domain::Event::to_line));
        if !page.more || lines.len() as u64 >= MAX_LOG_LINES {
            break;
        }
    }
    Ok(HttpResponse::Ok().json(Logs { task_id, logs: lines }))
}

/// `GET …/events`: a stream. A client that accepts JSON only gets the page, as it did before that had a path of its own.
async fn events(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["after", "limit"])?;
    let after = input::after(&request, &params)?.unwrap_or(0);
    let task = own_task(&shared, &caller, &id).await?;
    if input::wants_json(&request) {
        let limit = params.number("limit", 1, 1_000, 200)?.unsigned_abs();
        let (place, kinds) = (PagePlace::After(after), Vec::new());
        return page_of(&shared, ReadEventPage { task, place, kinds, limit, bytes: PAGE_BYTES }).await;
    }
    read_events(&shared, task, after, 1).await?;
    let permit = shared.streams.open(&shared.keys, &caller)?;
    Ok(follow::answer(TaskEvents::follow(&shared, task, after), permit, shared.phase.clone()))
}

/// `GET …/events/page`: the newest, those behind a number, or those before one.
async fn event_page(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["after", "before", "kind", "limit"])?;
    let place = match (input::after(&request, &params)?, params.text("before")) {
        (Some(_), Some(_)) => return Err(ApiError::invalid("before", "must not be sent together with after")),
        (Some(after), None) => PagePlace::After(after),
        (None, _) => PagePlace::Before(params.number("before", 0, i64::MAX, i64::MAX)?),
    };
    let limit = params.number("limit", 1, 1_000, 200)?.unsigned_abs();
    let kinds = list::names("kind", &params)?;
    let task = own_task(&shared, &caller, &id).await?;
    page_of(&shared, ReadEventPage { task, place, kinds, limit, bytes: PAGE_BYTES }).await
}

async fn page_of(shared: &Shared, read: ReadEventPage) -> Result<HttpResponse, ApiError> {
    let (task_id, place) = (read.task, read.place);
    let page = shared.queue.ask(read).await?;
    let Some(status) = page.status else { return Err(ApiError::no_task(&task_id.to_string())) };
    let events: Vec<_> = page.events.iter().filter_map(EventView::of).collect();
    // Of a page without events: where it would stand.
    let empty = match place {
        PagePlace::After(after) => after,
        PagePlace::Before(before) => before.saturating_sub(1).clamp(0, page.last_event),
    };
    let first = page.events.first().map_or(empty + 1, |event| event.seq);
    let last = page.events.last().map_or(empty, |event| event.seq);
    Ok(HttpResponse::Ok().json(EventPage {
        task_id,
        status,
        events,
        first,
        last,
        total: page.last_event,
        has_more: page.more,
    }))
}
