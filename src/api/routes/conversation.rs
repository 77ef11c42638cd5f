//! Conversations: which one a new task goes on with, and what was said in one.

use std::path::Path as FilePath;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::shared::Shared;
use super::submit::folder;
use super::tasks::find;
use crate::claude;
use crate::queue::{Find, ReadEvents, Resumes};
use crate::task::{EventKind, Task, TaskSpec};

/// Events of one read.
const PAGE: u64 = 1_000;
/// Tasks that may have gone before, each with the conversation of the one before it.
const MAX_CHAIN: usize = 100;

/// A conversation that a new task goes on with.
pub struct Conversation {
    /// Which.
    pub resumes: Resumes,
    /// Where it is held; not known where its worker is on another machine.
    held_in: Option<String>,
    field: &'static str,
}

/// The conversation that a request names, if it can be gone on with.
pub async fn of(shared: &Shared, spec: &TaskSpec) -> Result<Option<Conversation>, ApiError> {
    let sdk = &spec.options.sdk;
    let fork = sdk.fork_session == Some(true);
    let (field, task, session) = match (sdk.continue_from_task_id, sdk.resume_session) {
        (Some(id), _) => {
            let field = "options.sdk.continueFromTaskId";
            let task = shared.queue.ask(Find(id)).await?;
            let task = task.ok_or_else(|| ApiError::invalid(field, format!("there is no task {id}")))?;
            let session = session_of(&task, field)?;
            (field, Some(task), session)
        }
        (None, Some(session)) => ("options.sdk.resumeSession", None, session),
        (None, None) => return Ok(None),
    };
    let written = claude::transcript(&shared.claude, session);
    let begun = written.as_ref().is_some_and(claude::Transcript::has_messages);
    if !begun && shared.workers.are_local() {
        return Err(ApiError::invalid(field, format!("nothing was said in session {session} yet, or it is gone")));
    }
    let known = written.and_then(|written| written.directory().map(|folder| folder.display().to_string()));
    let of_task = task.as_ref().and_then(|task| task.working_directory.clone());
    let resumes = Resumes { session, fork, task: task.map(|task| task.id) };
    Ok(Some(Conversation { resumes, held_in: of_task.or(known), field }))
}

fn session_of(task: &Task, field: &str) -> Result<uuid::Uuid, ApiError> {
    if !task.status.is_terminal() {
        let message = format!("task {} is {}: wait for its end, or send it a message", task.id, task.status);
        return Err(ApiError::new(StatusCode::CONFLICT, "TASK_NOT_ENDED", message).with(json!({ "taskId": task.id })));
    }
    let session = task.attempted.session_id.as_deref().and_then(|id| uuid::Uuid::parse_str(id).ok());
    session.ok_or_else(|| ApiError::invalid(field, format!("task {} never had a session", task.id)))
}

impl Conversation {
    /// Where the task works: the CLI finds a session only from the folder that it was begun in.
    pub fn directory(&self, shared: &Shared, named: Option<String>) -> Result<String, ApiError> {
        match (&self.held_in, named) {
            (Some(held_in), Some(named)) if *held_in != named => {
                let rule = format!("this session works only from {held_in}; name that folder, or none");
                Err(ApiError::invalid("context.workingDirectory", rule).with(json!({
                    "field": "context.workingDirectory", "workingDirectory": held_in,
                })))
            }
            // The folder of a task that named none.
            (Some(held_in), _) if FilePath::new(held_in).starts_with(&shared.work_dir) => Ok(held_in.clone()),
            (Some(held_in), _) if FilePath::new(held_in).starts_with(&shared.worktrees) => {
                if FilePath::new(held_in).is_dir() {
                    return Ok(held_in.clone());
                }
                Err(ApiError::invalid(self.field, "its worktree was removed; keep it with options.worktree.keep"))
            }
            (Some(held_in), _) => folder(shared, self.field, held_in),
            (None, Some(named)) => Ok(named),
            (None, None) => {
                Err(ApiError::invalid("context.workingDirectory", "must name the folder that the session was begun in"))
            }
        }
    }
}

/// `GET /api/tasks/{id}/conversation`: what was said, by whom, from the first task of it on.
pub async fn show(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find(&shared, &id).await?;
    let session = task.attempted.session_id.clone();
    let mut chain = vec![task];
    while let Some(before) = chain.last().and_then(|task| task.continued_from).filter(|_| chain.len() < MAX_CHAIN) {
        match shared.queue.ask(Find(before)).await? {
            Some(task) => chain.push(task),
            None => break,
        }
    }
    let mut messages = Vec::new();
    for task in chain.iter().rev() {
        say(&shared, task, &mut messages).await?;
    }
    Ok(HttpResponse::Ok().json(json!({ "taskId": *id, "sdkSessionId": session, "messages": messages })))
}

async fn say(shared: &Shared, task: &Task, messages: &mut Vec<Value>) -> Result<(), ApiError> {
    let text = json!([{ "type": "text", "text": task.spec.instruction }]);
    messages.push(json!({ "taskId": task.id, "seq": null, "at": task.created_at, "role": "user", "content": text }));
    let mut after = 0;
    loop {
        let page = shared.queue.ask(ReadEvents { task: task.id, after, limit: PAGE }).await?;
        let Some(last) = page.events.last() else { return Ok(()) };
        after = last.seq;
        for event in &page.events {
            let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
            if event.kind == EventKind::Message && data["state"] == "begun" {
                let text = json!([{ "type": "text", "text": data["text"] }]);
                messages.push(json!({
                    "taskId": task.id, "seq": event.seq, "at": event.at, "role": "user", "content": text,
                }));
            }
            if !matches!(event.kind, EventKind::Assistant | EventKind::ToolUse | EventKind::ToolResult) {
                continue;
            }
            let message = &data["frame"]["message"];
            let role = if event.kind == EventKind::ToolResult { "user" } else { "assistant" };
            messages.push(json!({
                "taskId": task.id, "seq": event.seq, "at": event.at,
                "role": role, "content": message["content"],
            }));
        }
    }
}
