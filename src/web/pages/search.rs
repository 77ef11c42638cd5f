//! `/search`: what conversations say; and what is offered while somebody types into the search of each page.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, lone, page, places};
use super::super::render::Html;
use super::super::view::moment;
use crate::api::{ApiError, Shared};
use crate::queue::{Filter, ListTasks};
use crate::service::{Hit, Hits};
use domain::{Named as _, TaskId, pieces};
use wire::KeyScope;

/// Events of a page, and of an offer.
const LIMIT: u64 = 30;
const OFFERED: u64 = 5;

/// An event that was found.
pub struct Found {
    pub task: TaskId,
    pub title: String,
    pub sign: &'static str,
    pub status: &'static str,
    pub seq: i64,
    pub when: Html,
    pub text: Html,
}

#[derive(Template)]
#[template(path = "search.html")]
struct Page {
    shell: Shell,
    q: String,
    found: Vec<Found>,
    /// Reason for which nothing was looked for.
    why: String,
    next: Option<i64>,
}

#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
    cursor: Option<i64>,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let Asked { q, cursor } = asked.into_inner();
    let shell = Shell::new(&shared, &visitor, "/tasks", "Search").await?;
    let before = cursor.unwrap_or(i64::MAX);
    let (found, why, next) = match shared.search.find(&visitor.caller, &q, before, LIMIT).await {
        Ok(hits) => {
            let next = hits.next;
            (found(hits), String::new(), next)
        }
        Err(_) if q.trim().is_empty() => (Vec::new(), String::new(), None),
        Err(refused) => (Vec::new(), refused.message, None),
    };
    Ok(page(&request, &visitor, &Page { shell, q, found, why, next }))
}

/// Events that conversations have with these words, for a page that shows tasks; none where none can be looked for.
pub async fn in_conversations(shared: &Shared, visitor: &Visitor, q: &str) -> Vec<Found> {
    match shared.search.find(&visitor.caller, q, i64::MAX, OFFERED).await {
        Ok(hits) => found(hits),
        Err(_) => Vec::new(),
    }
}

fn found(hits: Hits) -> Vec<Found> {
    let Hits { terms, hits, .. } = hits;
    let one = |Hit { task, event, excerpt }: Hit| {
        let mut text = Html::new();
        for (piece, is_meant) in pieces(&excerpt, &terms) {
            match is_meant {
                true => text.raw("<mark>").text(piece).raw("</mark>"),
                false => text.text(piece),
            };
        }
        Found {
            task: task.id,
            title: task.spec.title(),
            sign: task.status.sign(),
            status: task.status.name(),
            seq: event.seq,
            when: moment(event.at),
            text,
        }
    };
    hits.into_iter().map(one).collect()
}

/// What is offered: places, tasks and events.
#[derive(Template)]
#[template(path = "find.html")]
struct Offer {
    places: Vec<(&'static str, &'static str)>,
    tasks: Vec<(TaskId, &'static str, &'static str, String)>,
    found: Vec<Found>,
    q: String,
}

/// `/find`
pub async fn offer(visitor: Visitor, asked: Query<Asked>, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let q = asked.into_inner().q;
    let words: Vec<String> = q.split_whitespace().take(8).map(str::to_owned).collect();
    let begins = |name: &str| q.trim().is_empty() || name.to_lowercase().starts_with(&q.trim().to_lowercase());
    let places = places(visitor.caller.is_admin()).filter(|(name, _)| begins(name)).collect();
    let (tasks, found) = if words.is_empty() {
        (Vec::new(), Vec::new())
    } else {
        let filter = Filter { words, key: visitor.caller.own(), ..Filter::default() };
        let list = ListTasks { filter, limit: OFFERED, ..ListTasks::default() };
        let tasks = shared.queue.ask(list).await.map_err(ApiError::from)?.tasks;
        (tasks, in_conversations(&shared, &visitor, &q).await)
    };
    let tasks = tasks.iter().map(|task| (task.id, task.status.sign(), task.status.name(), task.spec.title()));
    Ok(lone(&Offer { places, tasks: tasks.collect(), found, q }))
}
