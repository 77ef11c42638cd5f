//! Tasks.

use std::borrow::Cow;

use domain::{
    AttemptOutcome, FailureClass, Hold, Name, SessionId, Status, TaskId, Timestamp, Tokens, Usd, Verification,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::LimitState;
use crate::{
    Activity, Attempt, Conflict, Context, ContextFile, Dependency, Options, RaceOptions, RemoteRepository, Task,
    TaskError, TaskSecret, Verify,
};

/// A task, whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskView<'a> {
    /// The task.
    pub task_id: TaskId,
    /// Status.
    pub status: Status,
    /// Name that its client gave it.
    pub name: Option<Cow<'a, str>>,
    /// First line of the instruction, at most 120 characters.
    pub title: Cow<'a, str>,
    /// Instruction; in a list its first 4 KiB.
    pub instruction: Cow<'a, str>,
    /// Surroundings of the task.
    pub context: ContextView<'a>,
    /// Options.
    pub options: Cow<'a, Options>,
    /// 0 to 100; higher starts first.
    pub priority: i64,
    /// Labels.
    pub tags: Cow<'a, [String]>,
    /// Tasks with the same key run one at a time, or as many as its limit says.
    pub concurrency_key: Option<Cow<'a, str>>,
    /// Labels that its worker must have.
    pub requires: Cow<'a, [String]>,
    /// Secrets of its key that it gets, by name.
    #[serde(default)]
    pub secrets: Cow<'a, [TaskSecret]>,
    /// Patterns of the files that are kept when it ends.
    #[serde(default)]
    pub artifacts: Cow<'a, [String]>,
    /// Check of its work, without which it does not complete.
    #[serde(default)]
    pub verify: Option<Cow<'a, Verify>>,
    /// Race that it is in: see `GET /api/tasks/{id}/race`.
    #[serde(default)]
    pub race: Option<Cow<'a, RaceOptions>>,
    /// What the check has come to, round by round, in the newest attempt that has ended; `null` in lists.
    #[serde(default)]
    pub verification: Option<Cow<'a, Verification>>,
    /// Folder of the task.
    pub working_directory: Option<Cow<'a, str>>,
    /// Time at which it was stored.
    pub created_at: Timestamp,
    /// Earliest start, as it was asked for.
    pub run_at: Option<Timestamp>,
    /// Of a pending task: time at which it may start.
    pub due_at: Option<Timestamp>,
    /// Start of its first attempt.
    pub started_at: Option<Timestamp>,
    /// Time of its end.
    pub completed_at: Option<Timestamp>,
    /// Number of starts.
    pub attempt: i32,
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// Crashes in a row.
    pub crashes: i32,
    /// The worker that runs it, or ran it last.
    pub worker_id: Option<Cow<'a, str>>,
    /// Text of the result; in a list its first 4 KiB.
    pub result: Option<Cow<'a, str>>,
    /// True where the text is cut.
    pub result_truncated: bool,
    /// Length of the whole result in bytes.
    pub result_bytes: Option<i64>,
    /// True where the instruction is cut.
    pub instruction_truncated: bool,
    /// Result by `outputSchema`.
    #[schema(required)]
    pub structured_output: Option<Cow<'a, Value>>,
    /// Failure of the task, or of its last attempt.
    pub error: Option<ErrorView<'a>>,
    /// The Claude session.
    pub sdk_session_id: Option<SessionId>,
    /// The task whose conversation it goes on with.
    pub continued_from: Option<TaskId>,
    /// The task that it repeats.
    pub retry_of: Option<TaskId>,
    /// The task from inside which it was made; `GET /api/tasks?parent=` has those that were made from inside this one.
    pub parent: Option<TaskId>,
    /// US dollars, of all attempts.
    pub cost_usd: Option<Usd>,
    /// Tokens, as the CLI reports them.
    #[schema(required)]
    pub usage: Option<Cow<'a, Value>>,
    /// Turns of the conversation.
    pub num_turns: Option<i64>,
    /// Duration in milliseconds, as the CLI reports it.
    pub duration_ms: Option<i64>,
    /// Tool calls that were refused.
    #[schema(required)]
    pub permission_denials: Option<Cow<'a, Value>>,
    /// The question or message that it waits for.
    #[schema(value_type = Option<Object>, required)]
    pub waiting_for: Option<Cow<'a, Value>>,
    /// True if the CLI reported a cost that can't be one: it counts nowhere.
    pub cost_set_aside: bool,
    /// Descriptions of background work that was ended.
    pub background_ended: Cow<'a, [String]>,
    /// Changes in its worktree.
    #[schema(value_type = Option<Object>, required)]
    pub changes: Option<Cow<'a, Value>>,
    /// Number of its newest event.
    pub last_seq: i64,
    /// What it does, while it runs.
    pub activity: Option<Activity>,
    /// US dollars of all attempts, with an estimate of what the one that runs has cost by now: by the tokens that the CLI
    /// has told of.
    pub cost_so_far: Option<Usd>,
    /// True while a part of `costSoFar` is estimated.
    pub cost_estimated: bool,
    /// How its model goes round in circles, in words; while it runs.
    pub looping: Option<Cow<'a, str>>,
    /// Files that other running tasks of its key change too; while it runs. Empty in lists.
    #[serde(default)]
    pub conflicts: Cow<'a, [Conflict]>,
    /// The trace that it belongs to: its client's, or that of its submit.
    pub trace_id: Option<String>,
    /// Number of tasks that it depends on.
    #[serde(default)]
    pub dependencies: i64,
    /// The first 1,000 of these, in order; left out of lists.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Cow<'a, [Dependency]>>,
    /// Attempts, in order; left out of lists.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<AttemptView<'a>>>,
}

/// Surroundings of a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContextView<'a> {
    /// Folder of the task, as it was asked for.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_directory: Option<Cow<'a, str>>,
    /// The repository in place of a folder.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub repository: Option<Cow<'a, RemoteRepository>>,
    /// Files: paths, and `{"name", "bytes"}` of those that came with the request, `{"name", "fileId"}` of those that were sent before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Value>,
}

impl<'a> ContextView<'a> {
    fn of(context: &'a Context) -> Self {
        let file = |file: &ContextFile| match file {
            ContextFile::Path(path) => json!(path),
            ContextFile::Upload(upload) => {
                json!({ "name": upload.name, "bytes": upload.bytes().map(|bytes| bytes.len()) })
            }
            ContextFile::Sent(sent) => json!({ "name": sent.name(), "fileId": sent.file_id }),
        };
        Self {
            working_directory: context.working_directory.as_deref().map(Cow::Borrowed),
            repository: context.repository.as_ref().map(Cow::Borrowed),
            files: context.files.iter().map(file).collect(),
        }
    }
}

/// An attempt of a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AttemptView<'a> {
    /// 1, 2, 3 …
    pub number: i32,
    /// The worker that ran it.
    pub worker_id: Option<Cow<'a, str>>,
    /// Time of the claim.
    pub started_at: Timestamp,
    /// Time of its end.
    pub ended_at: Option<Timestamp>,
    /// `completed`, `failed`, `crashed`, `released` or `cancelled`; `null` while it runs.
    #[schema(value_type = Option<String>)]
    pub outcome: Option<Name<AttemptOutcome>>,
    /// Failure.
    pub error: Option<ErrorView<'a>>,
    /// The Claude session.
    pub sdk_session_id: Option<SessionId>,
    /// US dollars.
    pub cost_usd: Option<Usd>,
    /// True if the CLI reported a cost that can't be one: it counts nowhere.
    pub cost_set_aside: bool,
    /// Tokens.
    pub tokens: Tokens,
}

impl<'a> AttemptView<'a> {
    fn of(attempt: &'a Attempt) -> Self {
        Self {
            number: attempt.number,
            worker_id: attempt.worker.as_deref().map(Cow::Borrowed),
            started_at: attempt.started_at,
            ended_at: attempt.ended_at,
            outcome: attempt.outcome.clone(),
            error: attempt.error.as_ref().map(ErrorView::of),
            sdk_session_id: attempt.session_id,
            cost_usd: attempt.spent.cost_usd,
            cost_set_aside: attempt.spent.set_aside,
            tokens: attempt.spent.tokens,
        }
    }
}

/// Failure of a task or an attempt.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ErrorView<'a> {
    /// A stable name for programs, such as `TIMEOUT`.
    pub code: Cow<'a, str>,
    /// A sentence for people.
    pub message: Cow<'a, str>,
    /// Decides on another attempt: `invalid`, `auth`, `usage_limit`, `overloaded`, `network`, `crashed`, `timeout`,
    /// `refused` or `execution`.
    #[schema(value_type = String)]
    pub class: Name<FailureClass>,
}

impl<'a> ErrorView<'a> {
    fn of(error: &'a TaskError) -> Self {
        let TaskError { code, message, class } = error;
        Self { code: Cow::Borrowed(code), message: Cow::Borrowed(message), class: class.clone() }
    }
}

impl<'a> TaskView<'a> {
    /// The view of a task.
    pub fn of(task: &'a Task) -> Self {
        let left = &task.attempted;
        Self {
            task_id: task.id,
            status: task.status,
            name: task.spec.name.as_deref().map(Cow::Borrowed),
            title: Cow::Owned(task.spec.title()),
            instruction: Cow::Borrowed(&task.spec.instruction),
            context: ContextView::of(&task.spec.context),
            options: task.spec.options.shown(),
            priority: task.spec.priority,
            tags: Cow::Borrowed(&task.spec.tags),
            concurrency_key: task.spec.concurrency_key.as_deref().map(Cow::Borrowed),
            requires: Cow::Borrowed(&task.spec.requires),
            secrets: Cow::Borrowed(&task.spec.secrets),
            artifacts: Cow::Borrowed(&task.spec.artifacts),
            verify: task.spec.verify.as_ref().map(Cow::Borrowed),
            race: task.spec.race.as_ref().map(Cow::Borrowed),
            verification: task.remarks.verification.as_ref().filter(|_| task.attempts.is_some()).map(Cow::Borrowed),
            working_directory: task.working_directory.as_deref().map(Cow::Borrowed),
            created_at: task.created_at,
            run_at: task.spec.run_at,
            due_at: task.due_at.filter(|_| task.held.as_deref() != Some(Hold::DEPENDENCIES)),
            started_at: task.started_at,
            completed_at: task.completed_at,
            attempt: task.attempt,
            max_attempts: task.max_attempts,
            crashes: task.crashes,
            worker_id: task.worker.as_deref().map(Cow::Borrowed),
            result: left.result.as_deref().map(Cow::Borrowed),
            result_truncated: task.truncated.result_bytes.is_some(),
            result_bytes: task.truncated.result_bytes.or_else(|| left.result.as_ref().map(|text| text.len() as i64)),
            instruction_truncated: task.truncated.request,
            structured_output: left.structured_output.as_ref().map(Cow::Borrowed),
            error: left.error.as_ref().map(ErrorView::of),
            sdk_session_id: left.session_id,
            continued_from: task.continued_from,
            retry_of: task.retry_of,
            parent: task.spec.parent,
            cost_usd: left.cost_usd,
            usage: left.usage.as_ref().map(Cow::Borrowed),
            num_turns: left.num_turns,
            duration_ms: left.duration_ms,
            permission_denials: left.permission_denials.as_ref().map(Cow::Borrowed),
            waiting_for: task.waiting_for.as_ref().map(Cow::Borrowed),
            cost_set_aside: task.remarks.cost_set_aside,
            background_ended: Cow::Borrowed(&task.remarks.background_ended),
            changes: task.changes.as_ref().map(Cow::Borrowed),
            last_seq: task.last_seq,
            activity: task.activity.clone(),
            cost_so_far: sum(left.cost_usd, task.cost_so_far),
            cost_estimated: task.cost_so_far.is_some(),
            looping: task.looping.as_deref().map(Cow::Borrowed),
            conflicts: Cow::Borrowed(&task.conflicts),
            trace_id: task.trace_parent.map(|place| place.trace_id()),
            dependencies: task.dependencies,
            depends_on: task.depends_on.as_deref().map(Cow::Borrowed),
            attempts: task.attempts.as_ref().map(|attempts| attempts.iter().map(AttemptView::of).collect()),
        }
    }
}

fn sum(known: Option<Usd>, more: Option<Usd>) -> Option<Usd> {
    known.map_or(more, |known| Some(known + more.unwrap_or_default()))
}

/// Numbers of tasks by status.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StatusCounts {
    /// Tasks that wait.
    pub pending: i64,
    /// Tasks that run.
    pub running: i64,
    /// Tasks that have completed.
    pub completed: i64,
    /// Tasks that have failed.
    pub failed: i64,
    /// Tasks that were cancelled.
    pub cancelled: i64,
}

impl StatusCounts {
    /// The counts in the order of `Status::VARIANTS`.
    #[must_use]
    pub const fn of([pending, running, completed, failed, cancelled]: [i64; 5]) -> Self {
        Self { pending, running, completed, failed, cancelled }
    }
}

/// A page of tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskPage<'a> {
    /// Summaries, newest first.
    pub tasks: Vec<TaskView<'a>>,
    /// Number of tasks that the filter has in all.
    pub total: i64,
    /// Numbers of tasks that the filter has in each status, whichever it names.
    pub counts: StatusCounts,
    /// Maximum number that was asked for.
    pub limit: i64,
    /// Number of tasks that were left out before them.
    pub offset: i64,
    /// Start of the next page.
    pub next_cursor: Option<TaskId>,
}

/// Reasons for a task's status.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The task.
    pub task_id: TaskId,
    /// Status of the task.
    pub status: Status,
    /// Place in line, from 1 on; `null` where it has none.
    pub position: Option<i64>,
    /// Every reason that holds now, the strongest first.
    pub reasons: Vec<Reason>,
    /// What it may expect, as tasks like it did; `null` where there were too few, and for one that has ended.
    #[serde(default)]
    pub forecast: Option<Forecast>,
}

/// What a task may expect, as the newest that were most like it did.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Forecast {
    /// Time at which it will start; `null` where nothing tells when, or it runs already.
    pub starts_at: Option<Timestamp>,
    /// Milliseconds from its first start to its end.
    pub duration_ms: Range<i64>,
    /// US dollars.
    pub cost_usd: Option<Range<Usd>>,
    /// Number of those tasks.
    pub based_on: i64,
    /// What they have in common with it: `folder, tag and model`, `tag and model`, `folder and model`, `model` or `any`.
    pub like: String,
}

/// How a value is spread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Range<T> {
    /// Half of them stay below.
    pub median: T,
    /// Nine of ten stay below.
    pub most: T,
}

/// A reason.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reason {
    /// A stable name for programs, such as `QUEUE_PAUSED`.
    pub code: Cow<'static, str>,
    /// A sentence for people.
    pub message: String,
    /// The credential that is parked.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
    /// The question that waits for its answer.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
    /// Time until which it holds, where that is known.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Tasks that it waits for, at most 20.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<Dependency>>,
    /// The limit that holds the task back.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<LimitState>,
}
