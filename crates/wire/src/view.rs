//! What the outside sees of a task and its events. Every field is always there, so that a
//! client can tell "not yet" (null) from "no such field".

use std::borrow::Cow;

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{Attempt, Context, ContextFile, Options, Task, TaskError};
use domain::{Event, Status, TaskId, Tokens, Wall, json};

/// Longest list with whole texts, in bytes.
pub const LIST_BYTES: usize = 4 << 20;
/// What texts of a longer one are shortened to, in bytes: the first of these with which it fits.
const SHORTENED: [usize; 4] = [256 << 10, 16 << 10, 1 << 10, 100];

/// A list as it is answered: where it would be too long, its longest texts are cut, and say how long they were.
pub fn bounded(mut list: Value) -> Value {
    for most in SHORTENED {
        if size(&list) <= LIST_BYTES {
            break;
        }
        json::shorten(&mut list, most);
    }
    list
}

/// About the length of a value, in bytes.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(fields) => fields.iter().map(|(name, field)| name.len() + size(field)).sum(),
        _ => 8,
    }
}

/// A task, whole.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView<'a> {
    #[schema(value_type = String, format = Uuid)]
    task_id: TaskId,
    status: Status,
    instruction: &'a str,
    context: ContextView<'a>,
    options: Cow<'a, Options>,
    priority: i64,
    tags: &'a [String],
    concurrency_key: Option<&'a str>,
    working_directory: Option<&'a str>,
    created_at: Wall,
    run_at: Option<Wall>,
    due_at: Option<Wall>,
    started_at: Option<Wall>,
    completed_at: Option<Wall>,
    attempt: i32,
    max_attempts: i32,
    crashes: i32,
    worker_id: Option<&'a str>,
    result: Option<&'a str>,
    result_truncated: bool,
    result_bytes: Option<i64>,
    instruction_truncated: bool,
    structured_output: Option<&'a Value>,
    error: Option<ErrorView<'a>>,
    sdk_session_id: Option<&'a str>,
    #[schema(value_type = Option<String>, format = Uuid)]
    continued_from: Option<TaskId>,
    #[schema(value_type = Option<String>, format = Uuid)]
    retry_of: Option<TaskId>,
    cost_usd: Option<f64>,
    usage: Option<&'a Value>,
    num_turns: Option<i64>,
    duration_ms: Option<i64>,
    permission_denials: Option<&'a Value>,
    waiting_for: Option<&'a Value>,
    cost_set_aside: bool,
    background_ended: &'a [String],
    changes: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempts: Option<Vec<AttemptView<'a>>>,
}

/// The surroundings of a task. What came with the request is named, not repeated.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContextView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    working_directory: Option<&'a str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    files: Vec<Value>,
}

impl<'a> ContextView<'a> {
    fn of(context: &'a Context) -> Self {
        let file = |file: &ContextFile| match file {
            ContextFile::Path(path) => json!(path),
            ContextFile::Upload(upload) => {
                json!({ "name": upload.name, "bytes": upload.bytes().map(|bytes| bytes.len()) })
            }
        };
        Self {
            working_directory: context.working_directory.as_deref(),
            files: context.files.iter().map(file).collect(),
        }
    }
}

/// One attempt, in the history of a task.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AttemptView<'a> {
    number: i32,
    worker_id: Option<&'a str>,
    started_at: Wall,
    ended_at: Option<Wall>,
    outcome: Option<&'a str>,
    error: Option<ErrorView<'a>>,
    sdk_session_id: Option<&'a str>,
    cost_usd: Option<f64>,
    cost_set_aside: bool,
    tokens: Tokens,
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            number: attempt.number,
            worker_id: attempt.worker.as_deref(),
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            outcome: attempt.outcome.as_deref(),
            error: attempt.error.as_ref().map(ErrorView::of),
            sdk_session_id: attempt.session_id.as_deref(),
            cost_usd: attempt.spent.cost_usd,
            cost_set_aside: attempt.spent.set_aside,
            tokens: attempt.spent.tokens,
        }
    }
}

#[derive(Serialize, ToSchema)]
struct ErrorView<'a> {
    code: &'a str,
    message: &'a str,
    class: &'a str,
}

impl<'a> ErrorView<'a> {
    fn of(error: &'a TaskError) -> Self {
        Self { code: &error.code, message: &error.message, class: &error.class }
    }
}

impl<'a> TaskView<'a> {
    /// The view of a task.
    pub fn of(task: &'a Task) -> Self {
        let left = &task.attempted;
        Self {
            task_id: task.id,
            status: task.status,
            instruction: &task.spec.instruction,
            context: ContextView::of(&task.spec.context),
            options: task.spec.options.shown(),
            priority: task.spec.priority,
            tags: &task.spec.tags,
            concurrency_key: task.spec.concurrency_key.as_deref(),
            working_directory: task.working_directory.as_deref(),
            created_at: task.created_at,
            run_at: task.spec.run_at,
            due_at: task.due_at,
            started_at: task.started_at,
            completed_at: task.completed_at,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            crashes: task.crashes,
            worker_id: task.worker.as_deref(),
            result: left.result.as_deref(),
            result_truncated: task.truncated.result_bytes.is_some(),
            result_bytes: task.truncated.result_bytes.or_else(|| left.result.as_ref().map(|text| text.len() as i64)),
            instruction_truncated: task.truncated.request,
            structured_output: left.structured_output.as_ref(),
            error: left.error.as_ref().map(ErrorView::of),
            sdk_session_id: left.session_id.as_deref(),
            continued_from: task.continued_from,
            retry_of: task.retry_of,
            cost_usd: left.cost_usd,
            usage: left.usage.as_ref(),
            num_turns: left.num_turns,
            duration_ms: left.duration_ms,
            permission_denials: left.permission_denials.as_ref(),
            waiting_for: task.waiting_for.as_ref(),
            cost_set_aside: task.remarks.cost_set_aside,
            background_ended: &task.remarks.background_ended,
            changes: task.changes.as_ref(),
            attempts: task.attempts.as_ref().map(|attempts| attempts.iter().map(AttemptView::of).collect()),
        }
    }
}

/// Some tasks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskPage<'a> {
    /// Summaries, newest first.
    pub tasks: Vec<TaskView<'a>>,
    /// How many there are in all.
    pub total: i64,
    /// How many were asked for.
    pub limit: i64,
    /// How many were left out before them.
    pub offset: i64,
    /// Where the next page begins.
    pub next_cursor: Option<TaskId>,
}

/// Some events of a task.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EventPageView<'a> {
    /// The task.
    pub task_id: &'a str,
    /// Where it stands.
    pub status: Option<Status>,
    /// In order.
    pub events: Vec<EventView<'a>>,
    /// The number of the last of them.
    pub last: i64,
    /// True if more are stored behind it.
    pub has_more: bool,
}

/// Some events of all tasks.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AllEventsView<'a> {
    /// In order.
    pub events: Vec<EventView<'a>>,
    /// The number of the last that was looked at.
    pub last: i64,
    /// True if there may be more behind it.
    pub has_more: bool,
}

/// An event.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EventView<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    #[schema(value_type = String, format = Uuid)]
    task_id: TaskId,
    seq: i64,
    at: Wall,
    kind: &'static str,
    #[schema(value_type = Object)]
    data: &'a RawValue,
}

impl<'a> EventView<'a> {
    /// The view of an event; `None` where its data is no JSON, which nobody writes.
    pub fn of(event: &'a Event) -> Option<Self> {
        let data = serde_json::from_str(&event.data).ok()?;
        Some(Self { n: None, task_id: event.task, seq: event.seq, at: event.at, kind: event.kind.name(), data })
    }

    /// The same with its place among the events of all tasks.
    pub fn numbered(n: i64, event: &'a Event) -> Option<Self> {
        Some(Self { n: Some(n), ..Self::of(event)? })
    }
}
