//! Conversations: what was said in one.

use actix_web::HttpResponse;
use actix_web::web::{Bytes, Data, Path};
use futures_util::stream::unfold;
use serde_json::{Value, json};
use wire::response::{Conversation, ConversationMessage, Role};

use super::super::caller::{Caller, find_task};
use super::super::error::ApiError;
use super::super::memory::Memory;
use super::super::shared::Shared;
use crate::queue::{Find, Queue, QueueError, ReadEvents};
use domain::{Event, EventKind, TaskId};
use wire::Task;

/// Events of one read, and bytes of them.
const PAGE: u64 = 500;
const PAGE_BYTES: u64 = 256 << 10;
/// Tasks that may have gone before, each with the conversation of the one before it.
const MAX_CHAIN: usize = 100;

/// `GET /api/tasks/{id}/conversation`: what was said, by whom, from the first task of it on. Written while it is
/// read, so that its length costs no memory.
pub async fn show(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find_task(&shared, &caller, &id).await?;
    let whole = Conversation { task_id: task.id, sdk_session_id: task.attempted.session_id, messages: Vec::new() };
    let mut chain = vec![Link::of(&task)];
    let mut before = task.continued_from;
    while let Some(id) = before.filter(|_| chain.len() < MAX_CHAIN) {
        let Some(task) = shared.queue.ask(Find(id)).await?.filter(|task| caller.sees(&task.key)) else { break };
        chain.push(Link::of(&task));
        before = task.continued_from;
    }
    // The messages come piece by piece.
    let head = text(&whole).trim_end_matches("]}").to_owned();
    let telling = ConversationStream {
        queue: shared.queue.clone(),
        memory: shared.memory.clone(),
        chain,
        at: None,
        head: Some(head),
    };
    let body = unfold(Some(telling), |telling| async move {
        let mut telling = telling?;
        match telling.next().await {
            Ok(Some(piece)) => Some((Ok(Bytes::from(piece)), Some(telling))),
            Ok(None) => Some((Ok(Bytes::from_static(b"]}")), None)),
            // What is cut off is no JSON: no reader takes it for the whole.
            Err(error) => Some((Err(actix_web::Error::from(ApiError::from(error))), None)),
        }
    });
    Ok(HttpResponse::Ok().content_type("application/json").streaming(body))
}

/// A task of a conversation, and what it began with.
struct Link {
    id: TaskId,
    first: String,
}

impl Link {
    fn of(task: &Task) -> Self {
        let content = json!([{ "type": "text", "text": task.spec.instruction }]);
        let (task_id, at) = (task.id, task.created_at);
        let first = ConversationMessage { task_id, seq: None, at, role: Role::User, content };
        Self { id: task.id, first: text(&first) }
    }
}

/// A conversation that is being told: the tasks that are left, the oldest last.
struct ConversationStream {
    queue: Queue,
    memory: Memory,
    chain: Vec<Link>,
    /// The task that is told, and its last event that was.
    at: Option<(TaskId, i64)>,
    head: Option<String>,
}

impl ConversationStream {
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
                piece.push_str(&text(&message));
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

fn text(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// Returns the message that an event adds to the conversation.
fn message_of(task_id: TaskId, event: &Event) -> Option<ConversationMessage> {
    let said = |role, content| ConversationMessage { task_id, seq: Some(event.seq), at: event.at, role, content };
    let data = || serde_json::from_str::<Value>(&event.data).unwrap_or_default();
    match event.kind {
        EventKind::Message => {
            let data = data();
            (data["state"] == "begun").then(|| said(Role::User, json!([{ "type": "text", "text": data["text"] }])))
        }
        EventKind::Assistant | EventKind::ToolUse => {
            Some(said(Role::Assistant, data()["frame"]["message"]["content"].clone()))
        }
        EventKind::ToolResult => Some(said(Role::User, data()["frame"]["message"]["content"].clone())),
        _ => None,
    }
}
