//! `/a/CODE`: the links of notifications that answer a question. The code is all that is needed.
//!
//! A GET only shows what would be answered: services that show messages look at the links in them. The answer is a POST, which
//! a notification may also send by itself, from wherever it is shown.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde_json::json;

use super::assets;
use super::door::Turned;
use super::page::{failure, lone};
use super::render::{self, Html};
use crate::api::{ApiError, Shared, note_at};
use crate::process::wall_now;
use crate::queue::Find;
use crate::service::{self, Caller, CodedAnswer};
use domain::{Behavior, Decision, Question, Scope};
use wire::{KeyScope, Task};

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(web::resource("/a/{code}").get(show).post(answer));
}

#[derive(Template)]
#[template(path = "answer.html")]
struct Page {
    title: String,
    /// What is asked; none where it was answered.
    question: Option<Html>,
    said: &'static str,
    action: String,
    button: &'static str,
    css: &'static str,
}

/// What a code is about.
struct Found {
    answer: CodedAnswer,
    task: Task,
    question: Question,
    /// The key in whose name it answers.
    caller: Caller,
}

/// `None` for a code that is not good, or not any more.
async fn find(shared: &Shared, code: &str) -> Result<Option<Found>, Turned> {
    let Some(answer) = shared.keys.answer_of(code, wall_now()) else { return Ok(None) };
    let Some(task) = shared.queue.ask(Find(answer.task)).await? else { return Ok(None) };
    let questions = service::questions(shared, task.id).await?;
    let question = questions.into_iter().find(|question| question.request_id == answer.request_id);
    let caller = match answer.by_operator {
        true => Some(Caller::operator()),
        // The key may have lost its right since.
        false => shared.keys.named(&task.key).await?.ok().filter(|caller| caller.may(KeyScope::Decide)),
    };
    let Some((question, caller)) = question.zip(caller) else { return Ok(None) };
    Ok(Some(Found { answer, task, question, caller }))
}

async fn show(code: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    let Some(found) = find(&shared, &code).await? else { return Ok(ended()) };
    let given = found.question.answer.as_ref().map(|given| given.behavior);
    let (button, said) = match (given, found.answer.behavior) {
        (Some(given), _) => ("", answered(given)),
        (None, Behavior::Allow) => ("Allow", ""),
        (None, Behavior::Deny) => ("Deny", ""),
    };
    Ok(lone(&Page {
        title: found.task.spec.title(),
        question: given.is_none().then(|| render::question(&found.question)),
        said,
        action: format!("/a/{code}"),
        button,
        css: assets::css(),
    }))
}

async fn answer(request: HttpRequest, code: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    let Some(Found { answer, task, caller, .. }) = find(&shared, &code).await? else { return Ok(ended()) };
    let behavior = answer.behavior;
    let decision = Decision { behavior, message: None, updated_input: None, scope: Scope::Once };
    service::answer(&shared, &caller, task.id, &answer.request_id, decision).await.map_err(ApiError::from)?;
    let path = format!("/api/tasks/{}/permissions/{}", task.id, answer.request_id);
    note_at(&shared, &caller, &request, path, "answerPermission", json!({ "behavior": behavior, "byCode": true }))
        .await;
    let (title, question, css) = (task.spec.title(), None, assets::css());
    Ok(lone(&Page { title, question, said: answered(behavior), action: String::new(), button: "", css }))
}

const fn answered(behavior: Behavior) -> &'static str {
    match behavior {
        Behavior::Allow => "It was allowed.",
        Behavior::Deny => "It was denied.",
    }
}

fn ended() -> HttpResponse {
    failure(
        StatusCode::GONE,
        "This link has ended, or is none of this server. The inbox has the questions that are open.",
    )
}
