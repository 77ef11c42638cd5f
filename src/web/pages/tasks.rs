//! `/tasks`: the list, with its filter in the address.

use actix_web::http::header::LOCATION;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::bulk::TYPED;
use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::view::Row;
use super::search::{Found, in_conversations};
use crate::api::{LIST_PARAMS, Params, Shared, wanted_tasks};
use crate::process::wall_now;
use crate::queue::{Filter, ListTasks};
use domain::{Named as _, Status, TaskId};
use strum::VariantArray as _;
use wire::KeyScope;

/// Rows of a page.
const LIMIT: u64 = 50;
/// Fewest digits by which a task is looked for: some words have no other letters.
const DIGITS: usize = 8;

#[derive(Template)]
#[template(path = "tasks.html")]
struct Tasks {
    shell: Shell,
    tasks: Vec<Row>,
    tabs: Vec<Tab>,
    q: String,
    tag: String,
    key: String,
    folder: String,
    /// The task from inside which they were made.
    parent: String,
    status: String,
    query: String,
    next: Option<String>,
    /// True if more than words narrow the list.
    is_narrow: bool,
    /// Events with these words.
    found: Vec<Found>,
    /// Number of tasks that match.
    total: i64,
    /// True if the number must be typed before all of them are changed.
    is_typed: bool,
    may_change: bool,
}

struct Tab {
    name: &'static str,
    count: i64,
    query: String,
    here: bool,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let params = Params::read(&request, LIST_PARAMS)?.filled();
    if let Some(task) = meant(&shared, &visitor, params.text("q").unwrap_or_default()).await? {
        return Ok(HttpResponse::SeeOther().insert_header((LOCATION, format!("/tasks/{task}"))).finish());
    }
    let found = shared.queue.ask(wanted_tasks(&visitor.caller, &params, LIMIT, 0)?).await?;
    let said = match params.text("q").filter(|_| params.text("cursor").is_none()) {
        Some(q) => in_conversations(&shared, &visitor, q).await,
        None => Vec::new(),
    };
    let (now, text) = (wall_now(), |name| params.text(name).unwrap_or_default().to_owned());
    let template = Tasks {
        shell: Shell::new(&shared, &visitor, "/tasks", "Tasks").await?,
        tasks: found.tasks.iter().map(|task| Row::of(task, now)).collect(),
        found: said,
        total: found.total,
        is_typed: found.total >= TYPED,
        may_change: visitor.caller.may(KeyScope::Submit),
        tabs: tabs(&params, found.counts),
        query: params.query(),
        is_narrow: ["tag", "key", "workingDirectory", "parent"].into_iter().any(|name| params.text(name).is_some()),
        q: text("q"),
        tag: text("tag"),
        key: text("key"),
        folder: text("workingDirectory"),
        parent: text("parent"),
        status: text("status"),
        next: found.next(LIMIT).map(|last| params.with("cursor", &last.to_string()).query()),
    };
    Ok(page(&request, &visitor, &template))
}

/// The task whose id begins or ends so, where somebody looks for one by its digits.
async fn meant(shared: &Shared, visitor: &Visitor, words: &str) -> Result<Option<TaskId>, Turned> {
    let digits = words.trim().replace('-', "").to_ascii_lowercase();
    if !(DIGITS..=32).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(None);
    }
    let filter = Filter { id: Some(digits), key: visitor.caller.own(), ..Filter::default() };
    let found = shared.queue.ask(ListTasks { filter, limit: 2, ..ListTasks::default() }).await?;
    Ok(if let [one] = &found.tasks[..] { Some(one.id) } else { None })
}

fn tabs(params: &Params, counts: [i64; 5]) -> Vec<Tab> {
    let here = params.text("status").unwrap_or_default();
    let tab = |name: &'static str, status: &str, count: i64| {
        let query = params.with("cursor", "").with("status", status).query();
        Tab { name, count, query, here: here == status }
    };
    let each = Status::VARIANTS.iter().zip(counts).map(|(status, count)| tab(status.name(), status.name(), count));
    std::iter::once(tab("all", "", counts.iter().sum())).chain(each).collect()
}
