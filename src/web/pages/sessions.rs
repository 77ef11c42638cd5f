//! `/sessions`: conversations.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::Html;
use super::super::view::{moment, money};
use crate::api::Shared;
use crate::queue::{ConversationTasks, ListConversations};
use domain::{Named as _, TaskId};
use wire::KeyScope;

/// Conversations of a page.
const LIMIT: u64 = 30;

#[derive(Template)]
#[template(path = "sessions.html")]
struct Sessions {
    shell: Shell,
    sessions: Vec<Line>,
    next: Option<TaskId>,
}

struct Line {
    title: String,
    folder: String,
    /// Sign, word, title and id of each task.
    tasks: Vec<(&'static str, &'static str, String, TaskId)>,
    count: i64,
    turns: i64,
    cost: String,
    last: Html,
    newest: TaskId,
}

#[derive(Deserialize)]
pub struct Asked {
    cursor: Option<TaskId>,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let list = ListConversations { key: visitor.caller.own(), limit: LIMIT, before: asked.cursor };
    let found = shared.queue.ask(list).await?;
    let next = found.last().filter(|_| found.len() as u64 == LIMIT);
    let next = next.and_then(|last| last.tasks.last()).map(|task| task.id);
    let shell = Shell::new(&shared, &visitor, "/sessions", "Sessions").await?;
    let sessions = found.into_iter().filter_map(line).collect();
    Ok(page(&request, &visitor, &Sessions { shell, sessions, next }))
}

fn line(conversation: ConversationTasks) -> Option<Line> {
    let (first, newest) = (conversation.tasks.first()?, conversation.tasks.last()?);
    let tasks = conversation.tasks.iter().map(|task| {
        let (sign, word) = (task.status.sign(), task.status.name());
        (sign, word, task.spec.title(), task.id)
    });
    Some(Line {
        title: first.spec.title(),
        folder: newest.working_directory.clone().unwrap_or_default(),
        tasks: tasks.collect(),
        count: conversation.count,
        turns: conversation.num_turns,
        cost: money(conversation.cost_usd),
        last: moment(newest.created_at),
        newest: newest.id,
    })
}
