//! Requests other than a task. Read strictly: an unknown field is refused, never ignored.

use domain::{FailureClass, GroupKind, Missed, Overlap, Rate, ScheduleId, SessionId, Status, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{DependsOn, KeyLimits, KeyScope, PermissionMode, TaskSpec};

/// Several tasks, which are stored together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// The tasks.
    #[schema(min_items = 1, max_items = 1000)]
    pub tasks: Vec<TaskSpec>,
}

/// The value of a secret. It is printed nowhere.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewSecret {
    /// The value.
    #[schema(min_length = 8, max_length = 65536)]
    pub value: String,
}

impl std::fmt::Debug for NewSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NewSecret")
    }
}

/// A rule: calls of a tool that need no answer of a person from now on.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewRule {
    /// Tool, or calls of it, as the CLI writes them: `Write`, `Bash(cargo test *)`.
    #[schema(min_length = 1, max_length = 1024)]
    pub rule: String,
    /// Only tasks with this tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Only tasks of this folder or repository, and below it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<String>,
    /// Name of the key whose tasks are meant; the caller's where not set. Another one needs the scope `admin`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Changes of a pending task.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct TaskChanges {
    /// 0 to 100; higher starts first.
    #[schema(minimum = 0, maximum = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// Earliest start; `null`: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Option<Timestamp>>,
    /// `[]`: it waits for no other task any more.
    #[schema(max_items = 0)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depends_on: Option<Vec<DependsOn>>,
}

/// A field that is there, `null` or not.
fn present<'de, D: serde::Deserializer<'de>>(field: D) -> Result<Option<Option<Timestamp>>, D::Error> {
    Option::deserialize(field).map(Some)
}

/// Conditions of tasks; all together.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TaskFilter {
    /// Statuses, any of them; with none, all.
    pub status: Vec<Status>,
    /// Classes of the newest failure, any of them; with none, all.
    pub error_class: Vec<FailureClass>,
    /// The Claude session.
    pub session: Option<SessionId>,
    /// The schedule that has submitted it.
    pub schedule: Option<ScheduleId>,
    /// The task from inside which it was made.
    pub parent: Option<TaskId>,
    /// Earliest time of the submit.
    pub since: Option<Timestamp>,
    /// Latest time of the submit, which is not meant itself.
    pub until: Option<Timestamp>,
    /// Tag.
    pub tag: Option<String>,
    /// Name of the client's key.
    pub key: Option<String>,
    /// Words, each of which stands in the instruction or in the result.
    pub q: Option<String>,
    /// Beginning or end of the id: at least four hexadecimal digits; dashes don't matter.
    pub id: Option<String>,
    /// Folder.
    pub working_directory: Option<String>,
}

/// What is done with many tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum BulkAction {
    /// Those that have not ended are cancelled.
    Cancel,
    /// Those that have ended run again, each as a new task, and once.
    Retry,
    /// Those that are pending get another priority, or another time.
    Amend,
}

/// A change of many tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Bulk {
    /// The tasks that are meant.
    pub filter: TaskFilter,
    /// What is done with them.
    pub action: BulkAction,
    /// With `amend`: 0 to 100; higher starts first.
    #[schema(minimum = 0, maximum = 100)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
    /// With `amend`: earliest start; `null`: now.
    #[schema(value_type = Option<String>, format = DateTime)]
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub run_at: Option<Option<Timestamp>>,
    /// Number of tasks that is expected. Without it they are only counted; if there are more by a tenth, nothing is done.
    #[schema(minimum = 0)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expect: Option<i64>,
    /// The `nextCursor` of the answer before, to go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<TaskId>,
}

/// A message of the Model Context Protocol (JSON-RPC 2.0).
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(default)]
pub struct ToolMessage {
    /// Version of JSON-RPC: `2.0`.
    pub jsonrpc: Option<String>,
    /// Name of a request, a number or a text; without it nothing is answered.
    #[schema(value_type = Option<Value>)]
    pub id: Option<Value>,
    /// Method.
    pub method: Option<String>,
    /// Parameters of the method.
    #[schema(value_type = Option<Value>)]
    pub params: Option<Value>,
}

/// A message to a task: a further turn.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// The message, word for word.
    #[schema(min_length = 1)]
    pub text: String,
}

/// Number of tasks at a time.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Concurrency {
    /// Maximum number of tasks of each worker at a time.
    #[schema(minimum = 1, maximum = 1000)]
    pub concurrency: i64,
}

/// The tasks of one group, or with nothing set the whole queue.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Members {
    /// Tasks with this tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<String>,
    /// Tasks of this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Tasks with this `concurrencyKey`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrency_key: Option<String>,
    /// With `start`: a parked credential that may be used again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credential: Option<String>,
}

/// The limit of a group, whole.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewLimit {
    /// Kind of the group.
    pub group: GroupKind,
    /// Key or tag of the group; empty for the queue.
    #[serde(default)]
    pub name: String,
    /// Maximum number of tasks at a time.
    pub concurrency: Option<u32>,
    /// Maximum number of starts in a time.
    pub rate: Option<Rate>,
    /// True if none of the group is started.
    #[serde(default)]
    pub paused: bool,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewSchedule {
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cron expression: five fields, or six with seconds in front.
    pub cron: String,
    /// Zone of the IANA database.
    #[serde(default = "utc")]
    pub time_zone: String,
    /// Task to submit.
    pub task: TaskSpec,
    /// Policy for firings whose time has passed while no server ran.
    #[serde(default)]
    pub missed: Missed,
    /// Policy for a firing while the previous task has not ended.
    #[serde(default)]
    pub overlap: Overlap,
    /// True if each task goes on with the session of the last one that completed.
    #[serde(default)]
    pub continue_session: bool,
    /// True if it fires.
    #[serde(default = "yes")]
    pub enabled: bool,
}

fn utc() -> String {
    "UTC".to_owned()
}

const fn yes() -> bool {
    true
}

/// Changes of a schedule: what is not set stays.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ScheduleChanges {
    /// Name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Cron expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// Zone of the IANA database.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time_zone: Option<String>,
    /// Task to submit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<TaskSpec>,
    /// Policy for firings whose time has passed while no server ran.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missed: Option<Missed>,
    /// Policy for a firing while the previous task has not ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlap: Option<Overlap>,
    /// True if each task goes on with the session of the last one that completed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub continue_session: Option<bool>,
    /// True if it fires.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Changes of a webhook.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WebhookChanges {
    /// True: messages are sent again. False: no more.
    pub enabled: bool,
}

/// A worker that is started.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewWorker {
    /// Name: 1 to 64 letters, digits, dashes or underscores; the first free one where it isn't set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worker_id: Option<String>,
}

/// A new API key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewKey {
    /// Name under which its tasks are counted; 1 to 64 letters, digits, dashes or underscores.
    #[schema(min_length = 1, max_length = 64)]
    pub name: String,
    /// Parts of the API that it may use.
    #[schema(min_items = 1)]
    pub scopes: Vec<KeyScope>,
    /// Folders below which its tasks work; those of the server where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
    /// Highest permission mode of its tasks; the server's where it isn't set, and never above that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_permission_mode: Option<PermissionMode>,
    /// Limits.
    #[serde(default)]
    pub limits: KeyLimits,
    /// Time at which it expires; never where it isn't set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// Another secret for an API key.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rotation {
    /// Milliseconds for which the old secret works beside the new one, 0 to 30 days; 0 by default.
    #[schema(minimum = 0, maximum = 2592000000i64)]
    #[serde(default)]
    pub grace_ms: i64,
}
