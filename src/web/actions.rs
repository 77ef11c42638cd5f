//! What forms do: each calls what the handler of the API calls, and lets through what the key may.

use std::collections::BTreeMap;

use actix_web::http::header::{CACHE_CONTROL, HeaderName, HeaderValue};
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::bulk;
use super::door::{Turned, Visitor, is_ours};
use super::page::{done, not_done};
use super::pages::choices;
use crate::api::{
    ApiError, Shared, add_schedule, amend_task, cancel_task, change_schedule, crash_worker, find_task, note_action,
    own_task, pick_as, read_body, remove_schedule, retry_task, run_schedule, start_worker, stop_worker, submit_task,
};
use crate::queue::{SetConcurrency, SetPaused, Unpark};
use crate::service;
use domain::{Behavior, Decision, Question, Scope, TaskId};
use wire::request::{NewRule, NewSchedule, NewWorker, ScheduleChanges, TaskChanges};
use wire::{KeyScope, TaskSpec};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .route("/tasks", web::post().to(submit))
        .route("/tasks/json", web::post().to(as_json))
        .route("/tasks/bulk", web::post().to(bulk::chosen))
        .route("/tasks/all", web::post().to(bulk::all))
        .route("/tasks/{id}/answer", web::post().to(answer))
        .route("/tasks/{id}/say", web::post().to(say))
        .route("/tasks/{id}/interrupt", web::post().to(interrupt))
        .route("/tasks/{id}/cancel", web::post().to(cancel))
        .route("/tasks/{id}/retry", web::post().to(retry))
        .route("/tasks/{id}/pick", web::post().to(pick))
        .route("/tasks/{id}/waive", web::post().to(waive))
        .route("/rules", web::post().to(add_rule))
        .route("/rules/{id}/remove", web::post().to(remove_rule))
        .route("/queue", web::post().to(queue))
        .route("/workers", web::post().to(start_one))
        .route("/workers/{name}/crash", web::post().to(crash_one))
        .route("/workers/{name}/stop", web::post().to(stop_one))
        .route("/schedules", web::post().to(add))
        .route("/schedules/{id}", web::post().to(change));
}

/// The fields of a form, in order.
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// Reads a form.
    ///
    /// # Errors
    /// It is too long, or can't be read.
    pub async fn read(payload: Payload, shared: &Shared) -> Result<Self, Turned> {
        let body = read_body(payload, shared).await?;
        let fields = web::Query::<Vec<(String, String)>>::from_query(&String::from_utf8_lossy(&body));
        let fields = fields.map_err(|_| ApiError::invalid("body", "must be a form"))?;
        Ok(Self(fields.into_inner()))
    }

    /// Reads a form of one of our pages.
    ///
    /// # Errors
    /// It is none.
    pub async fn of_ours(
        request: &HttpRequest,
        visitor: &Visitor,
        payload: Payload,
        shared: &Shared,
    ) -> Result<Self, Turned> {
        let fields = Self::read(payload, shared).await?;
        let has_token = fields.text("token") == visitor.token;
        if !visitor.is_open && !has_token && !is_ours(request) {
            let message = "this form is not of a page that you have open: load the page again";
            return Err(ApiError::forbidden("FORM_NOT_OURS", message).into());
        }
        Ok(fields)
    }

    /// The last value of a field; empty where it isn't there.
    pub fn text(&self, name: &str) -> &str {
        self.all(name).last().copied().unwrap_or_default()
    }

    /// All values of a field.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.0.iter().filter(|(field, _)| field == name).map(|(_, value)| value.as_str()).collect()
    }

    /// A field that is not empty.
    pub fn some(&self, name: &str) -> Option<String> {
        Some(self.text(name).trim()).filter(|text| !text.is_empty()).map(str::to_owned)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Turned> {
        let read = |text: String| text.parse().map_err(|_| ApiError::invalid(name, "must be a number").into());
        self.some(name).map(read).transpose()
    }

    fn list(&self, name: &str, between: &[char]) -> Vec<String> {
        self.text(name).split(between).map(str::trim).filter(|one| !one.is_empty()).map(str::to_owned).collect()
    }
}

/// Does what a form asks for, and answers as its sender needs it.
macro_rules! form {
    ($request:ident, $visitor:ident, $payload:ident, $shared:ident, $scope:expr, |$fields:ident| $work:expr) => {{
        let work = async {
            $visitor.check($scope)?;
            let $fields = Fields::of_ours(&$request, &$visitor, $payload, &$shared).await?;
            $work
        };
        let next: Result<String, Turned> = work.await;
        match next {
            Ok(next) => Ok(done(&$request, &next)),
            Err(turned) => not_done(&$request, turned),
        }
    }};
}

pub(super) use form;

/// A new task, or one that goes on with a conversation.
async fn submit(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        let task = submit_task(&shared, &visitor.caller, spec(&fields)?).await?;
        Ok(format!("/tasks/{task}"))
    })
}

/// The request that a form makes, as a client would send it. Nothing is submitted.
async fn as_json(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    let work = async {
        visitor.check(KeyScope::Submit)?;
        let fields = Fields::of_ours(&request, &visitor, payload, &shared).await?;
        Ok::<_, Turned>(serde_json::to_string_pretty(&spec(&fields)?).unwrap_or_default())
    };
    let answer = |text: String| HttpResponse::Ok().insert_header((CACHE_CONTROL, "no-store")).body(text);
    match work.await {
        Ok(text) => Ok(answer(text)),
        // No failure: somebody is in the middle of a word.
        Err(Turned::Failed(error)) if is_ours(&request) => {
            let mut told = answer(error.message().to_owned());
            told.headers_mut().insert(HeaderName::from_static("x-problem"), HeaderValue::from_static("1"));
            Ok(told)
        }
        Err(turned) => Err(turned),
    }
}

fn spec(fields: &Fields) -> Result<TaskSpec, Turned> {
    let mut sdk = json!({});
    if let Some(mode) = fields.some("mode") {
        sdk["permissionMode"] = json!(mode);
    }
    if let Some(model) = fields.some("model") {
        sdk["model"] = json!(model);
    }
    if let Some(budget) = fields.number::<f64>("budget")? {
        sdk["maxBudgetUsd"] = json!(budget);
    }
    if let Some(task) = fields.some("continue") {
        sdk["continueFromTaskId"] = json!(task);
    }
    let allowed = fields.list("allowed", &[',']);
    if !allowed.is_empty() {
        sdk["allowedTools"] = json!(allowed);
    }
    let mut body = json!({
        "instruction": fields.text("instruction"),
        "tags": fields.list("tags", &[' ', ',']),
        "options": { "sdk": sdk },
        "context": {},
    });
    if let Some(folder) = fields.some("folder") {
        body["context"]["workingDirectory"] = json!(folder);
    }
    if fields.text("worktree") == "on" {
        body["options"]["useWorktree"] = json!(true);
    }
    let artifacts = fields.list("artifacts", &[' ']);
    if !artifacts.is_empty() {
        body["artifacts"] = json!(artifacts);
    }
    if let Some(command) = fields.some("verify") {
        body["verify"] = json!({ "command": command });
    }
    if let Some(priority) = fields.number::<i64>("priority")? {
        body["priority"] = json!(priority);
    }
    if let Some(at) = fields.some("runAt") {
        body["runAt"] = json!(at);
    }
    serde_json::from_value(body).map_err(|error| ApiError::invalid("body", error.to_string()).into())
}

async fn cancel(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |_fields| {
        cancel_task(&shared, &visitor.caller, &id).await?;
        Ok(format!("/tasks/{id}"))
    })
}

async fn waive(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |_fields| {
        let changes = TaskChanges { depends_on: Some(Vec::new()), ..TaskChanges::default() };
        amend_task(&shared, &visitor.caller, &id, changes).await?;
        Ok(format!("/tasks/{id}"))
    })
}

async fn retry(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |_fields| {
        let task = again(&shared, &visitor, &id).await?;
        Ok(format!("/tasks/{task}"))
    })
}

async fn pick(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |_fields| {
        let task = find_task(&shared, &visitor.caller, &id).await?.id;
        pick_as(&shared, task).await?;
        Ok(format!("/tasks/{task}?part=race"))
    })
}

async fn add_rule(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Decide, |fields| {
        let text = |name: &str| fields.some(name);
        let (rule, tag, folder, key) = (fields.text("rule").to_owned(), text("tag"), text("folder"), text("key"));
        let new = NewRule { rule, tag, folder, key };
        let detail = json!({ "rule": new.rule, "tag": new.tag, "folder": new.folder, "of": new.key });
        service::rules::add(&shared, &visitor.caller, new).await.map_err(ApiError::from)?;
        note_action(&shared, &visitor.caller, &request, "addRule", detail).await;
        Ok("/inbox".to_owned())
    })
}

async fn remove_rule(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Decide, |_fields| {
        service::rules::remove(&shared, &visitor.caller, &id).await.map_err(ApiError::from)?;
        note_action(&shared, &visitor.caller, &request, "removeRule", json!({ "ruleId": id.as_str() })).await;
        Ok("/inbox".to_owned())
    })
}

pub async fn again(shared: &Shared, visitor: &Visitor, id: &str) -> Result<TaskId, Turned> {
    let old = find_task(shared, &visitor.caller, id).await?;
    Ok(retry_task(shared, &visitor.caller, old).await?.id)
}

async fn say(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        let task = own_task(&shared, &visitor.caller, &id).await?;
        service::send(&shared, task, fields.text("text").to_owned()).await?;
        Ok(format!("/tasks/{id}"))
    })
}

async fn interrupt(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |_fields| {
        let task = own_task(&shared, &visitor.caller, &id).await?;
        service::interrupt(&shared, task).await?;
        Ok(format!("/tasks/{id}"))
    })
}

/// The answer to a question: `do` is `allow`, `session`, `deny` or `choose`.
async fn answer(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Decide, |fields| {
        let task = own_task(&shared, &visitor.caller, &id).await?;
        let name = fields.text("request");
        let questions = service::questions(&shared, task).await?;
        let question = questions.iter().find(|question| question.request_id == name);
        let decision = decision(&fields, question)?;
        let detail = json!({ "behavior": decision.behavior, "scope": decision.scope });
        service::answer(&shared, &visitor.caller, task, name, decision).await?;
        note_action(&shared, &visitor.caller, &request, "answerPermission", detail).await;
        Ok("/inbox".to_owned())
    })
}

fn decision(fields: &Fields, question: Option<&Question>) -> Result<Decision, Turned> {
    let allow = Decision { behavior: Behavior::Allow, message: None, updated_input: None, scope: Scope::Once };
    Ok(match fields.text("do") {
        "session" => Decision { scope: Scope::Session, ..allow },
        "deny" => Decision { behavior: Behavior::Deny, message: fields.some("why"), ..allow },
        "choose" => Decision { updated_input: question.map(|question| chosen(fields, question)).transpose()?, ..allow },
        _ => {
            let edited = match fields.some("input") {
                None => None,
                Some(text) => {
                    let rule = |error: serde_json::Error| ApiError::invalid("input", format!("is no JSON: {error}"));
                    Some(serde_json::from_str::<Value>(&text).map_err(rule)?)
                }
            };
            // What was left as it is goes as it came, to the letter.
            let edited = edited.filter(|edited| question.is_none_or(|question| question.input != *edited));
            Decision { updated_input: edited, ..allow }
        }
    })
}

/// The input of a question with the choices that were made.
fn chosen(fields: &Fields, question: &Question) -> Result<Value, Turned> {
    let (mut answers, choices) = (BTreeMap::new(), choices(question));
    if choices.is_empty() {
        return Err(ApiError::invalid("do", "this question has no choices: allow it, or deny it").into());
    }
    for choice in choices {
        let mut made: Vec<&str> = fields.all(&format!("a-{}", choice.number));
        let other = fields.text(&format!("other-{}", choice.number)).trim();
        made.extend(Some(other).filter(|other| !other.is_empty()));
        if made.is_empty() {
            let rule = format!("choose something for \"{}\"", choice.question);
            return Err(ApiError::invalid("answers", rule).into());
        }
        answers.insert(choice.question, made.join(", "));
    }
    let mut input = question.input.clone();
    input["answers"] = json!(answers);
    Ok(input)
}

/// `do` is `pause`, `start`, `concurrency` or `unpark`.
async fn queue(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Admin, |fields| {
        let (action, detail) = match fields.text("do") {
            "pause" => {
                shared.queue.ask(SetPaused(true)).await?;
                ("pauseQueue", json!({}))
            }
            "concurrency" => {
                let wanted = fields.number::<u32>("concurrency")?.filter(|wanted| (1..=1_000).contains(wanted));
                let rule = || ApiError::invalid("concurrency", "must be from 1 to 1000");
                let wanted = wanted.ok_or_else(rule)?;
                shared.queue.ask(SetConcurrency(wanted)).await?;
                ("setConcurrency", json!({ "concurrency": wanted }))
            }
            "unpark" => {
                shared.queue.ask(Unpark(fields.text("credential").to_owned())).await?;
                ("startQueue", json!({ "credential": fields.text("credential") }))
            }
            _ => {
                shared.queue.ask(SetPaused(false)).await?;
                ("startQueue", json!({}))
            }
        };
        note_action(&shared, &visitor.caller, &request, action, detail).await;
        Ok("/queue".to_owned())
    })
}

async fn start_one(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Admin, |fields| {
        let worker = start_worker(&shared, NewWorker { worker_id: fields.some("name") }).await?;
        note_action(&shared, &visitor.caller, &request, "startWorker", json!({ "workerId": worker.worker_id })).await;
        Ok("/workers".to_owned())
    })
}

async fn stop_one(
    request: HttpRequest,
    visitor: Visitor,
    name: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Admin, |_fields| {
        stop_worker(&shared, &name).await?;
        note_action(&shared, &visitor.caller, &request, "stopWorker", json!({ "workerId": *name })).await;
        Ok("/workers".to_owned())
    })
}

async fn crash_one(
    request: HttpRequest,
    visitor: Visitor,
    name: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Admin, |_fields| {
        crash_worker(&shared, &name).await?;
        note_action(&shared, &visitor.caller, &request, "crashWorker", json!({ "workerId": *name })).await;
        Ok("/workers".to_owned())
    })
}

async fn add(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        let body = json!({
            "name": fields.some("name"), "cron": fields.text("cron"), "timeZone": fields.some("zone").unwrap_or("UTC".into()),
            "task": spec(&fields)?, "continueSession": fields.text("session") == "on",
        });
        let new: NewSchedule =
            serde_json::from_value(body).map_err(|error| ApiError::invalid("body", error.to_string()))?;
        add_schedule(&shared, &visitor.caller, new).await?;
        Ok("/schedules".to_owned())
    })
}

/// `do` is `run`, `on`, `off` or `remove`.
async fn change(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        let switch = |on: bool| ScheduleChanges { enabled: Some(on), ..ScheduleChanges::default() };
        match fields.text("do") {
            "run" => {
                let task = run_schedule(&shared, &visitor.caller, &id).await?;
                return Ok(format!("/tasks/{}", task.id));
            }
            "remove" => remove_schedule(&shared, &visitor.caller, &id).await?,
            to => drop(change_schedule(&shared, &visitor.caller, &id, switch(to == "on")).await?),
        }
        Ok("/schedules".to_owned())
    })
}
