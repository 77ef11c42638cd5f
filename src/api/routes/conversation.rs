//! Conversations: which one a new task goes on with, and what was said in one.

use std::path::Path as FilePath;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Bytes, Data, Path};
use futures_util::stream::unfold;
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::memory::Memory;
use super::super::shared::Shared;
use super::submit::{folder, unreachable_folder};
use super::tasks::find;
use crate::claude;
use crate::process;
use crate::queue::{Find, Queue, QueueError, ReadEvents, Resumes};
use domain::{Event, EventKind, SessionId, TaskId};
use wire::{Task, TaskSpec};

/// Events of one read, and bytes of them.
const PAGE: u64 = 500;
const PAGE_BYTES: u64 = 256 << 10;
/// Tasks that may have gone before, each with the conversation of the one before it.
const MAX_CHAIN: usize = 100;

/// The transcripts of sessions are found and read within so long.
const TRANSCRIPT_LIMIT: Duration = Duration::from_secs(5);

/// A conversation that a new task goes on with.
pub struct Conversation {
    /// Which.
    pub resumes: Resumes,
    /// Where it is held; not known where its worker is on another machine.
    held_in: Option<String>,
    field: &'static str,
    /// Whether it goes on in another folder.
    moves: bool,
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
    let claude = shared.claude.clone();
    let written = process::blocking(TRANSCRIPT_LIMIT, move || claude::transcript(&claude, session)).await;
    let written = written.map_err(|error| unreachable_folder(field, &error))?;
    let begun = written.as_ref().is_some_and(claude::Transcript::has_messages);
    if !begun && shared.workers.are_local() {
        return Err(ApiError::invalid(field, format!("nothing was said in session {session} yet, or it is gone")));
    }
    let known = written.and_then(|written| written.directory().map(|folder| folder.display().to_string()));
    let of_task = task.as_ref().and_then(|task| task.working_directory.clone());
    let resumes = Resumes { session, fork, task: task.map(|task| task.id) };
    let moves = sdk.move_session == Some(true);
    Ok(Some(Conversation { resumes, held_in: of_task.or(known), field, moves }))
}

fn session_of(task: &Task, field: &str) -> Result<SessionId, ApiError> {
    if !task.status.is_terminal() {
        let message = format!("task {} is {}: wait for its end, or send it a message", task.id, task.status);
        return Err(ApiError::new(StatusCode::CONFLICT, "TASK_NOT_ENDED", message).with(json!({ "taskId": task.id })));
    }
    let session = task.attempted.session_id.as_deref().and_then(|id| id.parse::<SessionId>().ok());
    session.ok_or_else(|| ApiError::invalid(field, format!("task {} never had a session", task.id)))
}

impl Conversation {
    /// Where the task works: the CLI finds a session only from the folder that it was begun in.
    pub async fn directory(&self, shared: &Shared, named: Option<String>) -> Result<String, ApiError> {
        match (&self.held_in, named) {
            (_, Some(named)) if self.moves => Ok(named),
            (_, None) if self.moves => {
                let rule = "must name the folder that the session is moved to (options.sdk.moveSession)";
                Err(ApiError::invalid("context.workingDirectory", rule))
            }
            (Some(held_in), Some(named)) if *held_in != named => {
                let rule = format!(
                    "this session works only from {held_in}; name that folder, or none, or set options.sdk.moveSession: true"
                );
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
            (Some(held_in), _) => folder(shared, self.field, held_in).await.map_err(|error| error.and(
                "; where it was moved or renamed, name the new one as context.workingDirectory with options.sdk.moveSession: true",
            )),
            (None, Some(named)) => Ok(named),
            (None, None) => {
                Err(ApiError::invalid("context.workingDirectory", "must name the folder that the session was begun in"))
            }
        }
    }
}

/// `GET /api/tasks/{id}/conversation`: what was said, by whom, from the first task of it on. Written while it is
/// read, so that its length costs no memory.
pub async fn show(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find(&shared, &id).await?;
    let head = json!({ "taskId": *id, "sdkSessionId": task.attempted.session_id }).to_string();
    let mut chain = vec![Told::of(&task)];
    let mut before = task.continued_from;
    while let Some(id) = before.filter(|_| chain.len() < MAX_CHAIN) {
        let Some(task) = shared.queue.ask(Find(id)).await? else { break };
        chain.push(Told::of(&task));
        before = task.continued_from;
    }
    let head = format!("{},\"messages\":[", head.trim_end_matches('}'));
    let telling =
        Telling { queue: shared.queue.clone(), memory: shared.memory.clone(), chain, at: None, head: Some(head) };
    let body = unfold(Some(telling), |telling| async move {
        let mut telling = telling?;
        match telling.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(telling))),
            Ok(None) => Some((Ok(Bytes::from_static(b"]}")), None)),
            // What is cut off is no JSON: nobody takes it for the whole.
            Err(error) => Some((Err(actix_web::Error::from(ApiError::from(error))), None)),
        }
    });
    Ok(HttpResponse::Ok().content_type("application/json").streaming(body))
}

/// A task of a conversation, and what it began with.
struct Told {
    id: TaskId,
    first: String,
}

impl Told {
    fn of(task: &Task) -> Self {
        let text = json!([{ "type": "text", "text": task.spec.instruction }]);
        let first = json!({ "taskId": task.id, "seq": null, "at": task.created_at, "role": "user", "content": text });
        Self { id: task.id, first: first.to_string() }
    }
}

/// A conversation that is being told: the tasks that are left, the oldest last.
struct Telling {
    queue: Queue,
    memory: Memory,
    chain: Vec<Told>,
    /// The task that is told, and its last event that was.
    at: Option<(TaskId, i64)>,
    head: Option<String>,
}

impl Telling {
    /// The next piece; `None` at the end.
    async fn next(&mut self) -> Result<Option<String>, QueueError> {
        if let Some(head) = self.head.take() {
            let told = self.chain.pop();
            self.at = told.as_ref().map(|told| (told.id, 0));
            return Ok(Some(head + &told.map(|told| told.first).unwrap_or_default()));
        }
        let Some((task, after)) = self.at else { return Ok(None) };
        let _room = self.memory.room(PAGE_BYTES).await;
        let page = self.queue.ask(ReadEvents { task, after, limit: PAGE, bytes: PAGE_BYTES }).await?;
        let mut piece = String::new();
        for event in &page.events {
            self.at = Some((task, event.seq));
            if let Some(message) = message_of(task, event) {
                piece.push(',');
                piece.push_str(&message.to_string());
            }
        }
        if !page.more {
            let told = self.chain.pop();
            self.at = told.as_ref().map(|told| (told.id, 0));
            piece.extend(told.map(|told| format!(",{}", told.first)));
        }
        Ok(Some(piece))
    }
}

/// What an event adds to the conversation.
fn message_of(task: TaskId, event: &Event) -> Option<Value> {
    let said = |role: &str, content: &Value| json!({ "taskId": task, "seq": event.seq, "at": event.at, "role": role, "content": content });
    let data = || serde_json::from_str::<Value>(&event.data).unwrap_or_default();
    match event.kind {
        EventKind::Message => {
            let data = data();
            (data["state"] == "begun").then(|| said("user", &json!([{ "type": "text", "text": data["text"] }])))
        }
        EventKind::Assistant | EventKind::ToolUse => Some(said("assistant", &data()["frame"]["message"]["content"])),
        EventKind::ToolResult => Some(said("user", &data()["frame"]["message"]["content"])),
        _ => None,
    }
}
