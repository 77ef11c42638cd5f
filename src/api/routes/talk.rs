//! Talking to a task: `…/permissions`, `…/messages`, `…/interrupt`.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::input::{self, Params, task_id};
use super::super::shared::Shared;
use super::tasks::find;
use crate::queue::{Answer, Answered, ReadQuestions, SaidTo, Say};
use crate::service::Phase;
use crate::service::is_below_ceiling;
use domain::{Decision, Question, Scope, TaskId};
use wire::MAX_INSTRUCTION_BYTES;
use wire::view::{TaskView, bounded};

/// `GET …/permissions`: open questions, oldest first; `?all=true` those that were answered as well.
pub async fn questions(id: Path<String>, request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["all"])?;
    let all = params.text("all") == Some("true");
    let questions = read(&shared, &id).await?;
    let wanted = questions.iter().filter(|question| all || question.answer.is_none());
    let permissions: Vec<_> = wanted.map(view).collect();
    Ok(HttpResponse::Ok().json(bounded(json!({ "taskId": *id, "permissions": permissions }))))
}

async fn read(shared: &Shared, id: &str) -> Result<Vec<Question>, ApiError> {
    shared.queue.ask(ReadQuestions(task_id(id)?)).await?.ok_or_else(|| ApiError::no_task(id))
}

fn view(question: &Question) -> Value {
    json!({
        "requestId": question.request_id,
        "toolName": question.tool,
        "input": question.input,
        "sessionRules": question.session_rules(),
        "askedAt": question.asked_at,
        "deadline": question.deadline,
        "answer": question.answer,
    })
}

/// `POST …/permissions/{requestId}`
pub async fn answer(
    path: Path<(String, String)>,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let (id, request_id) = path.into_inner();
    let task = task_id(&id)?;
    let decision: Decision = input::json(&request, &input::body(payload).await?)?;
    decision.validate().map_err(|(field, rule)| ApiError::invalid(field, rule))?;
    if decision.scope == Scope::Session {
        let questions = read(&shared, &id).await?;
        let question = questions.iter().find(|question| question.request_id == request_id);
        check_ceiling(&shared, question)?;
    }
    let answer = Answer { task, request_id: request_id.clone(), decision: decision.clone() };
    match shared.queue.ask(answer).await? {
        Answered::Done => {}
        // Said again because the first answer was lost.
        Answered::Before(before) if before == decision => {}
        Answered::Before(before) => {
            let message = "this question was answered before, in another way";
            let error = ApiError::new(StatusCode::CONFLICT, "PERMISSION_ANSWERED", message);
            return Err(error.with(json!({ "answer": before })));
        }
        Answered::NoQuestion => {
            let message = format!("task {id} doesn't ask {request_id}; see GET /api/tasks/{id}/permissions");
            return Err(ApiError::new(StatusCode::NOT_FOUND, "PERMISSION_NOT_FOUND", message));
        }
        Answered::NoTask => return Err(ApiError::no_task(&id)),
    }
    Ok(HttpResponse::Ok().json(json!({ "taskId": task, "requestId": request_id, "answer": decision })))
}

/// A yes for the whole session is as much as the option that would allow it.
fn check_ceiling(shared: &Shared, question: Option<&Question>) -> Result<(), ApiError> {
    let ceiling = shared.claude.max_permission_mode;
    let rules = question.map(Question::session_rules).unwrap_or_default();
    match rules.iter().find(|rule| !is_below_ceiling(rule, ceiling)) {
        Some(rule) => {
            let message = format!(
                "allowing {rule} for the session is above MAX_PERMISSION_MODE={}; allow it once",
                ceiling.name()
            );
            Err(ApiError::forbidden("PERMISSION_CEILING", message))
        }
        None => Ok(()),
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    #[schema(min_length = 1)]
    text: String,
}

/// `POST …/messages`
pub async fn message(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let task = task_id(&id)?;
    let Message { text } = input::json(&request, &input::body(payload).await?)?;
    if text.trim().is_empty() || text.len() > MAX_INSTRUCTION_BYTES {
        let rule = format!("must have 1 to {MAX_INSTRUCTION_BYTES} bytes, and more than spaces");
        return Err(ApiError::invalid("text", rule));
    }
    say(&shared, Say { task, text: Some(text) }).await
}

/// `POST …/interrupt`
pub async fn interrupt(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    say(&shared, Say { task: task_id(&id)?, text: None }).await
}

async fn say(shared: &Shared, say: Say) -> Result<HttpResponse, ApiError> {
    if shared.phase() != Phase::Serving {
        return Err(ApiError::draining());
    }
    let task = say.task;
    match shared.queue.ask(say).await? {
        SaidTo::Stored(message) => Ok(HttpResponse::Accepted().json(json!({ "taskId": task, "messageId": message }))),
        SaidTo::Deaf(status) => deaf(shared, task, status.is_terminal()).await,
        SaidTo::TooMany(most) => {
            let message = format!("{most} messages wait for this task already; try again later");
            Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_MESSAGES", message))
        }
        SaidTo::NoTask => Err(ApiError::no_task(&task.to_string())),
    }
}

async fn deaf(shared: &Shared, id: TaskId, ended: bool) -> Result<HttpResponse, ApiError> {
    let task = find(shared, &id.to_string()).await?;
    let (code, message) = if ended {
        let message = format!("the task is {}; a new one goes on with options.sdk.continueFromTaskId", task.status);
        ("TASK_ENDED", message)
    } else {
        ("TASK_NOT_RUNNING", format!("the task is {}: no turn runs that could be stopped", task.status))
    };
    Err(ApiError::new(StatusCode::CONFLICT, code, message).with(json!({ "task": TaskView::of(&task) })))
}
