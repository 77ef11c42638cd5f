//! Talking to a task: `…/permissions`, `…/messages`, `…/interrupt`.

use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::answer;
use super::super::audit::Detail;
use super::super::body::body;
use super::super::caller::{Caller, own_task};
use super::super::error::ApiError;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use crate::queue::{ListQuestions, OpenQuestion};
use crate::service;
use domain::{Decision, Question, TaskId, Timestamp};
use wire::request::Message;
use wire::response::{Answered, MessageReceipt, OpenQuestions, Permission, Permissions};

/// `GET …/permissions`: open questions, oldest first; `?all=true` those that were answered as well.
pub async fn questions(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["all"])?;
    let all = params.text("all") == Some("true");
    let task_id = own_task(&shared, &caller, &id).await?;
    let questions = service::questions(&shared, task_id).await?;
    let wanted = questions.into_iter().filter(|question| all || question.answer.is_none());
    Ok(answer::list(&Permissions { task_id, permissions: wanted.map(view).collect() }))
}

/// `GET /api/questions`: open questions of all tasks, oldest first.
pub async fn open_questions(
    caller: Caller,
    request: HttpRequest,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["state", "limit", "cursor"])?;
    if let Some(state) = params.text("state").filter(|state| *state != "open") {
        return Err(ApiError::invalid("state", format!("must be open, got \"{state}\"")));
    }
    let limit = params.number("limit", 1, 100, 50)?.unsigned_abs();
    let after = params.text("cursor").map(|cursor| {
        cursor_of(cursor).ok_or_else(|| ApiError::invalid("cursor", "must be a nextCursor of an earlier answer"))
    });
    let page = shared.queue.ask(ListQuestions { key: caller.own(), after: after.transpose()?, limit }).await?;
    let is_full = page.questions.len() as u64 == limit;
    let last = page.questions.last().filter(|_| is_full);
    let next_cursor = last.map(cursor_to);
    let questions = page.questions.into_iter().map(|OpenQuestion { question, task }| wire::response::OpenQuestion {
        task_id: task.id,
        title: task.spec.title(),
        status: task.status,
        key: task.key,
        tags: task.spec.tags,
        working_directory: task.working_directory,
        question: view(question),
    });
    Ok(answer::list(&OpenQuestions { questions: questions.collect(), total: page.total, next_cursor }))
}

/// The place behind an open question.
pub fn cursor_to(last: &OpenQuestion) -> String {
    let OpenQuestion { question, task } = last;
    format!("{}_{}_{}", question.asked_at.0, task.id, question.request_id)
}

/// Reads such a place.
pub fn cursor_of(text: &str) -> Option<(Timestamp, TaskId, String)> {
    let (at, rest) = text.split_once('_')?;
    let (task, name) = rest.split_once('_')?;
    Some((Timestamp(at.parse().ok()?), task.parse().ok()?, name.to_owned()))
}

fn view(question: Question) -> Permission {
    Permission {
        session_rules: question.session_rules(),
        request_id: question.request_id,
        tool_name: question.tool,
        input: question.input,
        asked_at: question.asked_at,
        deadline: question.deadline,
        answer: question.answer,
    }
}

/// `POST …/permissions/{requestId}`
pub async fn answer(
    path: Path<(String, String)>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (id, request_id) = path.into_inner();
    let task_id = own_task(&shared, &caller, &id).await?;
    let answer: Decision = input::json(&request, &body(payload, &shared.bodies).await?)?;
    service::answer(&shared, &caller, task_id, &request_id, answer.clone()).await?;
    let detail = Detail(json!({ "behavior": answer.behavior, "scope": answer.scope }));
    let mut response = HttpResponse::Ok().json(Answered { task_id, request_id, answer });
    response.extensions_mut().insert(detail);
    Ok(response)
}

/// `POST …/messages`
pub async fn message(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let task_id = own_task(&shared, &caller, &id).await?;
    let Message { text } = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let message_id = service::send(&shared, task_id, text).await?;
    Ok(HttpResponse::Accepted().json(MessageReceipt { task_id, message_id }))
}

/// `POST …/interrupt`
pub async fn interrupt(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task_id = own_task(&shared, &caller, &id).await?;
    let message_id = service::interrupt(&shared, task_id).await?;
    Ok(HttpResponse::Accepted().json(MessageReceipt { task_id, message_id }))
}
