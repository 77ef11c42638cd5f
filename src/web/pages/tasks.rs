//! `/tasks`: the list, with its filter in the address.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::view::Row;
use crate::api::{LIST_PARAMS, Params, Shared, wanted_tasks};
use crate::process::wall_now;
use domain::{Named as _, Status};
use strum::VariantArray as _;
use wire::KeyScope;

/// Rows of a page.
const LIMIT: u64 = 50;

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
    status: String,
    query: String,
    next: Option<String>,
    /// True if more than words narrow the list.
    is_narrow: bool,
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
    let found = shared.queue.ask(wanted_tasks(&visitor.caller, &params, LIMIT, 0)?).await?;
    let (now, text) = (wall_now(), |name| params.text(name).unwrap_or_default().to_owned());
    let template = Tasks {
        shell: Shell::new(&shared, &visitor, "/tasks", "Tasks").await?,
        tasks: found.tasks.iter().map(|task| Row::of(task, now)).collect(),
        tabs: tabs(&params, found.counts),
        query: params.query(),
        is_narrow: ["tag", "key", "workingDirectory"].into_iter().any(|name| params.text(name).is_some()),
        q: text("q"),
        tag: text("tag"),
        key: text("key"),
        folder: text("workingDirectory"),
        status: text("status"),
        next: found.next(LIMIT).map(|last| params.with("cursor", &last.to_string()).query()),
    };
    Ok(page(&request, &visitor, &template))
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
