//! `/tasks`: the list, with its filter in the address.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::view::Row;
use crate::api::{ApiError, Shared, list_filter};
use crate::process::wall_now;
use crate::queue::ListTasks;
use domain::{FailureClass, Named, Status, TaskId};
use strum::VariantArray as _;
use wire::KeyScope;
use wire::request::TaskFilter;

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

/// The parameters, as in the API.
#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Asked {
    q: String,
    tag: String,
    key: String,
    working_directory: String,
    status: String,
    error_class: String,
    session: String,
    schedule: String,
    since: String,
    until: String,
    cursor: String,
}

impl Asked {
    /// The parameters of an address, without those that are empty.
    fn query(&self) -> String {
        let all = [
            ("q", &self.q),
            ("tag", &self.tag),
            ("key", &self.key),
            ("workingDirectory", &self.working_directory),
            ("status", &self.status),
            ("errorClass", &self.error_class),
            ("session", &self.session),
            ("schedule", &self.schedule),
            ("since", &self.since),
            ("until", &self.until),
            ("cursor", &self.cursor),
        ];
        let set = all.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)))
            .collect::<Vec<_>>()
            .join("&")
    }

    /// True if more than words and a status narrow the list.
    fn is_narrow(&self) -> bool {
        [&self.tag, &self.key, &self.working_directory].into_iter().any(|one| !one.is_empty())
    }

    fn filter(&self) -> Result<TaskFilter, Turned> {
        let some = |text: &str| Some(text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(TaskFilter {
            status: names("status", &self.status)?,
            error_class: names::<FailureClass>("errorClass", &self.error_class)?,
            session: read("session", &self.session)?,
            schedule: read("schedule", &self.schedule)?,
            since: time("since", &self.since)?,
            until: time("until", &self.until)?,
            tag: some(&self.tag),
            key: some(&self.key),
            q: some(&self.q),
            working_directory: some(&self.working_directory),
        })
    }
}

fn names<T: Named>(field: &str, text: &str) -> Result<Vec<T>, Turned> {
    let known = |name: &str| {
        let rule = || ApiError::invalid(field, format!("must be one of {}, got \"{name}\"", T::names()));
        T::from_name(name).ok_or_else(|| rule().into())
    };
    text.split(',').map(str::trim).filter(|name| !name.is_empty()).map(known).collect()
}

fn read<T: std::str::FromStr>(field: &str, text: &str) -> Result<Option<T>, Turned> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| ApiError::invalid(field, "must be an id").into()),
    }
}

fn time(field: &str, text: &str) -> Result<Option<domain::Timestamp>, Turned> {
    match text.trim() {
        "" => Ok(None),
        text => serde_json::from_value(serde_json::json!(text))
            .map(Some)
            .map_err(|_| ApiError::invalid(field, "must be a time, such as 2026-01-31T08:15:00Z").into()),
    }
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let asked = asked.into_inner();
    let filter = list_filter(&visitor.caller, asked.filter()?)?;
    let before = read::<TaskId>("cursor", &asked.cursor)?;
    let found = shared.queue.ask(ListTasks { filter, limit: LIMIT, offset: 0, before }).await?;
    let full = found.more || found.tasks.len() as u64 == LIMIT;
    let next = found.tasks.last().filter(|_| full).map(|task| {
        let next = Asked { cursor: task.id.to_string(), ..asked.clone() };
        next.query()
    });
    let now = wall_now();
    let template = Tasks {
        shell: Shell::new(&shared, &visitor, "/tasks", "Tasks").await?,
        tasks: found.tasks.iter().map(|task| Row::of(task, now)).collect(),
        tabs: tabs(&asked, found.counts),
        query: asked.query(),
        is_narrow: asked.is_narrow(),
        q: asked.q,
        tag: asked.tag,
        key: asked.key,
        folder: asked.working_directory,
        status: asked.status,
        next,
    };
    Ok(page(&request, &visitor, &template))
}

fn tabs(asked: &Asked, counts: [i64; 5]) -> Vec<Tab> {
    let tab = |name: &'static str, status: &str, count: i64| {
        let to = Asked { status: status.to_owned(), cursor: String::new(), ..asked.clone() };
        Tab { name, count, query: to.query(), here: asked.status == status }
    };
    let each = Status::VARIANTS.iter().zip(counts).map(|(status, count)| tab(status.name(), status.name(), count));
    std::iter::once(tab("all", "", counts.iter().sum())).chain(each).collect()
}
