//! Lists of tasks and of conversations, and the filter of tasks.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::answer;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use crate::queue::{ConversationTasks, Filter, ListConversations, ListOrder, ListTasks};
use domain::{Named, TaskId, Timestamp};
use wire::request::TaskFilter;
use wire::response::{SessionPage, SessionTask, SessionView, StatusCounts, TaskPage, TaskView};

/// Maximum number of words that are looked for.
const MAX_WORDS: usize = 8;
/// Longest word that is looked for, in bytes.
const MAX_WORD: usize = 200;

/// Parameters of a list of tasks.
pub const LIST: &[&str] = &[
    "status",
    "errorClass",
    "session",
    "schedule",
    "parent",
    "since",
    "until",
    "tag",
    "key",
    "q",
    "id",
    "workingDirectory",
    "order",
    "limit",
    "offset",
    "cursor",
];
const TIME: &str = "must be a time, such as 2026-01-31T08:15:00Z";
const CURSOR: &str = "must be a nextCursor of an earlier answer";

/// `GET /api/tasks`
pub async fn list(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, LIST)?;
    let limit = params.number("limit", 1, 100, 20)?;
    let offset = params.number("offset", 0, i64::from(u32::MAX), 0)?;
    let list = wanted(&caller, &params, limit.unsigned_abs(), offset.unsigned_abs())?;
    let is_newest_first = list.order == ListOrder::Newest;
    let page = shared.queue.ask(list).await?;
    let next_cursor = page.next(limit.unsigned_abs()).filter(|_| is_newest_first);
    let tasks = page.tasks.iter().map(TaskView::of).collect();
    let counts = StatusCounts::of(page.counts);
    Ok(answer::list(&TaskPage { tasks, total: page.total, counts, limit, offset, next_cursor }))
}

/// The tasks that the parameters of a list mean.
pub fn wanted(caller: &Caller, params: &Params, limit: u64, offset: u64) -> Result<ListTasks, ApiError> {
    let before = read::<TaskId>("cursor", params, CURSOR)?;
    let order = match params.text("order") {
        None => ListOrder::Newest,
        Some(name) => ListOrder::from_name(name).ok_or_else(|| {
            ApiError::invalid("order", format!("must be one of {}, got \"{name}\"", ListOrder::names()))
        })?,
    };
    if order != ListOrder::Newest && before.is_some() {
        return Err(ApiError::invalid("cursor", "goes with order=newest; use offset"));
    }
    Ok(ListTasks { filter: filter(caller, named(params)?)?, limit, offset, before, order })
}

/// `GET /api/sessions`
pub async fn sessions(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["key", "limit", "cursor"])?;
    let limit = params.number("limit", 1, 100, 20)?.unsigned_abs();
    let (key, before) = (key_of(&caller, params.text("key"))?, read("cursor", &params, CURSOR)?);
    let found = shared.queue.ask(ListConversations { key, limit, before }).await?;
    let last = found.last().filter(|_| found.len() as u64 == limit);
    let next_cursor = last.and_then(|conversation| conversation.tasks.last()).map(|task| task.id);
    Ok(answer::list(&SessionPage { sessions: found.into_iter().filter_map(session).collect(), next_cursor }))
}

/// `None` where its newest task was removed meanwhile.
fn session(conversation: ConversationTasks) -> Option<SessionView> {
    let ConversationTasks { session, tasks, count, cost_usd, num_turns } = conversation;
    let newest = tasks.last()?;
    let (key, working_directory) = (newest.key.clone(), newest.working_directory.clone());
    let tasks = tasks.into_iter().map(|task| SessionTask {
        task_id: task.id,
        title: task.spec.title(),
        status: task.status,
        created_at: task.created_at,
    });
    let tasks = tasks.collect();
    Some(SessionView { session_id: session, key, working_directory, task_count: count, tasks, num_turns, cost_usd })
}

/// The conditions of a query.
pub fn named(params: &Params) -> Result<TaskFilter, ApiError> {
    let text = |name| params.text(name).map(str::to_owned);
    Ok(TaskFilter {
        status: names("status", params)?,
        error_class: names("errorClass", params)?,
        session: read("session", params, "must be the id of a session")?,
        schedule: read("schedule", params, "must be the id of a schedule")?,
        parent: read("parent", params, "must be the id of a task")?,
        since: time("since", params)?,
        until: time("until", params)?,
        tag: text("tag"),
        key: text("key"),
        q: text("q"),
        id: text("id"),
        working_directory: text("workingDirectory"),
    })
}

/// The tasks that are meant, of those that the caller sees.
pub fn filter(caller: &Caller, named: TaskFilter) -> Result<Filter, ApiError> {
    let TaskFilter { status, error_class, session, schedule, parent, since, until, tag, key, q, id, working_directory } =
        named;
    Ok(Filter {
        statuses: status,
        error_classes: error_class,
        session,
        schedule,
        parent,
        since,
        until,
        tag,
        working_directory,
        key: key_of(caller, key.as_deref())?,
        words: words(&q.unwrap_or_default())?,
        id: id.as_deref().map(digits).transpose()?,
    })
}

/// The words of `q`.
fn words(q: &str) -> Result<Vec<String>, ApiError> {
    let words: Vec<String> = q.split_whitespace().map(str::to_owned).collect();
    if words.len() > MAX_WORDS || words.iter().any(|word| word.len() > MAX_WORD) {
        let rule = format!("must be at most {MAX_WORDS} words of at most {MAX_WORD} bytes each");
        return Err(ApiError::invalid("q", rule));
    }
    Ok(words)
}

/// The digits of a part of an id.
fn digits(id: &str) -> Result<String, ApiError> {
    let digits = id.replace('-', "").to_ascii_lowercase();
    let is_part = (4..=32).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_part.then_some(digits).ok_or_else(|| ApiError::invalid("id", "must be 4 to 32 hexadecimal digits of an id"))
}

/// Names between commas, each of them known.
pub fn names<T: Named>(field: &'static str, params: &Params) -> Result<Vec<T>, ApiError> {
    let named = params.text(field).into_iter().flat_map(|text| text.split(','));
    let known = |name: &str| {
        let rule = || format!("must be one of {}, or several between commas, got \"{name}\"", T::names());
        T::from_name(name).ok_or_else(|| ApiError::invalid(field, rule()))
    };
    named.map(known).collect()
}

fn read<T: std::str::FromStr>(field: &'static str, params: &Params, rule: &str) -> Result<Option<T>, ApiError> {
    params.text(field).map(|text| text.parse().map_err(|_| ApiError::invalid(field, rule))).transpose()
}

/// A time.
pub fn time(field: &'static str, params: &Params) -> Result<Option<Timestamp>, ApiError> {
    let read = |text: &str| serde_json::from_value(json!(text)).map_err(|_| ApiError::invalid(field, TIME));
    params.text(field).map(read).transpose()
}

/// The key whose tasks are meant: a client that isn't an admin sees its own only.
fn key_of(caller: &Caller, named: Option<&str>) -> Result<Option<String>, ApiError> {
    match (caller.own(), named) {
        (Some(own), Some(named)) if own != named => Err(ApiError::invalid("key", "must be your own, or none")),
        (own, named) => Ok(own.or_else(|| named.map(str::to_owned))),
    }
}
