//! A new task: everything that is checked before anything is stored.

use std::borrow::Cow;
use std::collections::HashSet;

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;
use sha2::{Digest, Sha256};

use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::shared::Shared;
use super::super::{input, stream};
use super::races;
use crate::config::DEFAULT_KEY;
use crate::queue::{ReadDependencies, SubmitAll, Submitted};
use crate::service::{Origin, Refusal, admit, name_batch, not_taken};
use crate::telemetry::traces::Span;
use domain::TaskId;
use wire::request::Batch;
use wire::response::{BatchReceipt, Receipt, TaskView};
use wire::{Task, TaskSpec};

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Tasks of one batch.
const MAX_BATCH: usize = 1_000;

/// `POST /api/tasks`
pub async fn submit(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let body = body(payload, &shared.bodies).await?;
    let spec: TaskSpec = input::json(&request, &body)?;
    let idempotency = idempotency(&request, &caller, &body)?;
    drop(body);
    if let Some(options) = spec.race.clone() {
        return Box::pin(races::submit(&shared, &caller, spec, &options, idempotency)).await;
    }
    let wait = spec.options.run_async == Some(false);
    let (task, repeated) = store(&shared, spec, &caller, None, idempotency).await?;
    if !wait {
        return Ok(accepted(&task, repeated));
    }
    let limit = shared.server.wait_limit;
    let task = Box::pin(stream::wait_for_end(&shared, task.id, limit)).await?.map_or(task, Box::new);
    let status = if task.status.is_terminal() { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
    Ok(HttpResponse::build(status).insert_header(location(task.id)).json(TaskView::of(&task)))
}

/// `POST /api/tasks/batch`: all or none.
pub async fn batch(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let body = body(payload, &shared.bodies).await?;
    let Batch { tasks } = input::json(&request, &body)?;
    if !(1..=MAX_BATCH).contains(&tasks.len()) {
        let rule = format!("must have 1 to {MAX_BATCH} tasks, got {}", tasks.len());
        return Err(ApiError::invalid("tasks", rule));
    }
    let idempotency = idempotency(&request, &caller, &body)?;
    let mut span = Span::of_send(tasks.len());
    let stored = span.within(store_all(&shared, tasks, &caller, idempotency)).await;
    let stored = stored.inspect_err(|error| span.fail(error.code()))?;
    let tasks = stored.iter().map(|(task, _)| Receipt::of(task)).collect();
    let mut response = HttpResponse::Accepted();
    if stored.iter().all(|(_, repeated)| *repeated) {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(BatchReceipt { tasks }))
}

/// Stores all of these tasks, or none. Returns each with whether it was stored before.
async fn store_all(
    shared: &Shared,
    mut tasks: Vec<TaskSpec>,
    caller: &Caller,
    idempotency: Option<(String, String)>,
) -> Result<Vec<(Box<Task>, bool)>, ApiError> {
    let of_task = |n: usize, refused: Refusal| ApiError::from(refused).of_task(n);
    let ids = name_batch(&mut tasks).map_err(|(n, refused)| of_task(n, *refused))?;
    let batch: HashSet<TaskId> = ids.iter().copied().collect();
    let mut submits = Vec::with_capacity(tasks.len());
    for (n, (spec, id)) in tasks.into_iter().zip(ids).enumerate() {
        if spec.race.is_some() {
            return Err(ApiError::invalid("race", "can't be set in a batch: submit it alone").of_task(n));
        }
        if spec.options.run_async == Some(false) {
            return Err(
                ApiError::invalid("options.async", "can't be false in a batch, which waits for no end").of_task(n)
            );
        }
        // One key stands for all of them.
        let own = idempotency.as_ref().map(|(key, print)| (format!("{key}/{n}/batch"), print.clone()));
        let origin = Origin { id: Some(id), retry_of: None, idempotency: own, batch: Cow::Borrowed(&batch) };
        submits.push(admit(shared, spec, caller, origin).await.map_err(|refused| of_task(n, refused))?);
    }
    shared.queue.ask(SubmitAll(submits)).await?.map_err(|(n, refused)| {
        let error = ApiError::from(not_taken(shared, &refused));
        if matches!(refused, Submitted::KeyReused) { error } else { error.of_task(n) }
    })
}

/// Stores a task of this caller. Returns its id.
pub async fn submit_as(shared: &Shared, caller: &Caller, spec: TaskSpec) -> Result<TaskId, ApiError> {
    Ok(store(shared, spec, caller, None, None).await?.0.id)
}

/// Runs an ended task again, as a new one.
pub async fn again(shared: &Shared, caller: &Caller, old: Task) -> Result<Box<Task>, ApiError> {
    Ok(Box::pin(repeat(shared, caller, old, None)).await?.0)
}

/// The same, unless it was done before: an ended task is run again once, however often this is asked. Returns whether it
/// was.
pub async fn again_once(shared: &Shared, caller: &Caller, old: Task) -> Result<bool, ApiError> {
    // No client can choose a name with a line break.
    let name = format!("bulk\nretry of {}", old.id);
    Ok(!Box::pin(repeat(shared, caller, old, Some((name.clone(), name)))).await?.1)
}

async fn repeat(
    shared: &Shared,
    caller: &Caller,
    old: Task,
    idempotency: Option<(String, String)>,
) -> Result<(Box<Task>, bool), ApiError> {
    if !old.status.is_terminal() {
        let message = format!("the task is {}; cancel it first, or wait for its end", old.status);
        let error = ApiError::new(StatusCode::CONFLICT, "TASK_NOT_ENDED", message);
        return Err(error.with(json!({ "task": TaskView::of(&old) })));
    }
    let mut spec = old.spec;
    if old.dependencies > 0 {
        let read = ReadDependencies { task: old.id, limit: i64::MAX, results: false };
        let all = shared.queue.ask(read).await?;
        spec.depends_on = all.iter().map(|one| one.row.asked_again()).collect();
    }
    // Its time has passed; the new task is due at once, and alone.
    (spec.run_at, spec.race, spec.parent) = (None, None, None);
    store(shared, spec, caller, Some(old.id), idempotency).await
}

pub fn accepted(task: &Task, repeated: bool) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    response.insert_header(location(task.id));
    if repeated {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    response.json(Receipt::of(task))
}

/// The answer to a race that was stored: the receipt of its first task, with all of them.
pub fn accepted_all(stored: &[(Box<Task>, bool)]) -> HttpResponse {
    let Some((first, repeated)) = stored.first() else { return HttpResponse::Accepted().finish() };
    let mut response = HttpResponse::Accepted();
    response.insert_header(location(first.id));
    if *repeated {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    let race = stored.iter().map(|(task, _)| task.id).collect();
    response.json(Receipt { race: Some(race), ..Receipt::of(first) })
}

/// The refusal of a task that the queue has not taken.
pub fn refused(shared: &Shared, why: &Submitted) -> ApiError {
    ApiError::from(not_taken(shared, why))
}

fn location(id: TaskId) -> (header::HeaderName, String) {
    (header::LOCATION, format!("/api/tasks/{id}"))
}

fn idempotency(request: &HttpRequest, caller: &Caller, body: &[u8]) -> Result<Option<(String, String)>, ApiError> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(ApiError::invalid("Idempotency-Key", format!("must have 1 to {MAX_KEY_BYTES} ASCII characters")));
    }
    let fingerprint = hex::encode(Sha256::digest(body));
    // Each client has its own; what the first key is called would change the names that are stored.
    let owner = caller.name();
    let key = if owner == DEFAULT_KEY { key.to_owned() } else { format!("{owner}/{key}") };
    Ok(Some((key, fingerprint)))
}

async fn store(
    shared: &Shared,
    spec: TaskSpec,
    caller: &Caller,
    retry_of: Option<TaskId>,
    idempotency: Option<(String, String)>,
) -> Result<(Box<Task>, bool), ApiError> {
    let mut span = Span::of_send(1);
    let submit = Box::pin(async {
        let origin = Origin { retry_of, idempotency, ..Origin::default() };
        let submit = admit(shared, spec, caller, origin).await?;
        match shared.queue.ask(submit).await? {
            Submitted::Created(task) => Ok((task, false)),
            Submitted::Repeated(task) => Ok((task, true)),
            refused => Err(ApiError::from(not_taken(shared, &refused))),
        }
    });
    let submitted = span.within(submit).await;
    match &submitted {
        Ok((task, _)) => span.stored(task.id),
        Err(error) => span.fail(error.code()),
    }
    submitted
}
