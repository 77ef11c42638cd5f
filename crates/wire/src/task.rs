//! A stored task, whole, as it is read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Dependency, TaskSpec};
use domain::{
    AttemptOutcome, EventKind, Failure, FailureClass, Group, Name, SessionId, Spent, Status, TaskId, Timestamp,
    TraceParent, Usd, Verification,
};

/// A task as the store has it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name.
    pub id: TaskId,
    /// Request of the client.
    pub spec: TaskSpec,
    /// Status.
    pub status: Status,
    /// Time at which it was stored.
    pub created_at: Timestamp,
    /// Earliest start, while pending.
    pub due_at: Option<Timestamp>,
    /// Time of its first claim.
    pub started_at: Option<Timestamp>,
    /// Time of its end.
    pub completed_at: Option<Timestamp>,
    /// Starts so far.
    pub attempt: i32,
    /// Crashes in a row.
    pub crashes: i32,
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// The worker that has it, or had it last.
    pub worker: Option<String>,
    /// Name of the client's key.
    pub key: String,
    /// Folder in which it works.
    pub working_directory: Option<String>,
    /// The task that this one repeats.
    pub retry_of: Option<TaskId>,
    /// Number of tasks that it depends on.
    pub dependencies: i64,
    /// The session that it goes on with, where it doesn't begin one.
    pub resume_session_id: Option<SessionId>,
    /// The task whose conversation it goes on with.
    pub continued_from: Option<TaskId>,
    /// Reason besides its time for which it is kept back: see [`Hold`](domain::Hold).
    pub held: Option<String>,
    /// The answer or message that it waits for.
    pub waiting_for: Option<Value>,
    /// Results of the newest attempt.
    pub attempted: Attempted,
    /// Remarks beside its result.
    pub remarks: Remarks,
    /// Parts that were left out where only a summary was read.
    pub truncated: Truncated,
    /// Changes in its worktree; `None` where only the task was read.
    pub changes: Option<Value>,
    /// Number of its newest event.
    pub last_seq: i64,
    /// US dollars of the attempt that runs, as far as is known.
    pub cost_so_far: Option<Usd>,
    /// How it goes round in circles, while it runs, in words.
    pub looping: Option<String>,
    /// Its place in a trace: of its client, or of its submit.
    pub trace_parent: Option<TraceParent>,
    /// What it does, while it runs.
    pub activity: Option<Activity>,
    /// The first tasks that it depends on, in order; `None` where only the task was read.
    pub depends_on: Option<Vec<Dependency>>,
    /// Other running tasks that change the same files; empty where only the task was read.
    pub conflicts: Vec<Conflict>,
    /// All attempts, in order; `None` where only the task was read.
    pub attempts: Option<Vec<Attempt>>,
}

impl Task {
    /// The groups that it belongs to.
    #[must_use]
    pub fn groups(&self) -> Vec<Group> {
        Group::of(&self.key, self.spec.concurrency_key.as_deref(), &self.spec.tags)
    }
}

/// What a running task did last.
#[derive(Clone, Debug, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Activity {
    /// Time of the event.
    pub at: Timestamp,
    /// Kind of the event.
    pub kind: EventKind,
    /// The event as a line.
    pub line: String,
}

/// A file that another running task changes too.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Conflict {
    /// The other task.
    pub task_id: TaskId,
    /// The file: by its repository or folder, whichever copy of it the tasks work in.
    pub path: String,
}

/// Parts that a summary of a task leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Bytes of the whole result, where it was cut.
    pub result_bytes: Option<i64>,
    /// True if the request has longer texts than are shown.
    pub request: bool,
}

/// Remarks of a task beside its result. Stored as JSON, and read leniently.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remarks {
    /// True if the CLI reported a cost that can't be one: no sum has it.
    pub cost_set_aside: bool,
    /// Descriptions of background work that had to be ended.
    pub background_ended: Vec<String>,
    /// Checks of its newest attempt that came to an end of its own, where the task asks for some.
    pub verification: Option<Verification>,
}

/// Results of the newest attempt; empty before the first.
#[derive(Clone, Debug, Default)]
pub struct Attempted {
    /// The text of the result.
    pub result: Option<String>,
    /// The result as the schema wants it.
    pub structured_output: Option<Value>,
    /// Failure of the newest attempt, or of the one before.
    pub error: Option<TaskError>,
    /// The Claude session.
    pub session_id: Option<SessionId>,
    /// US dollars.
    pub cost_usd: Option<Usd>,
    /// Tokens.
    pub usage: Option<Value>,
    /// Turns of the conversation.
    pub num_turns: Option<i64>,
    /// Milliseconds.
    pub duration_ms: Option<i64>,
    /// Tool calls that were refused.
    pub permission_denials: Option<Value>,
}

/// One attempt of a task.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// 1, 2, 3 …
    pub number: i32,
    /// The worker's name.
    pub worker: Option<String>,
    /// Time of the claim.
    pub started_at: Timestamp,
    /// Time of its end.
    pub ended_at: Option<Timestamp>,
    /// See [`AttemptOutcome`]; `None` while it runs.
    pub outcome: Option<Name<AttemptOutcome>>,
    /// Reason for which it failed or was given back.
    pub error: Option<TaskError>,
    /// The Claude session.
    pub session_id: Option<SessionId>,
    /// Cost.
    pub spent: Spent,
}

/// A failure as the store has it: a class that this version doesn't know stays text.
#[derive(Clone, Debug)]
pub struct TaskError {
    /// See [`FailureClass`].
    pub class: Name<FailureClass>,
    /// A stable name for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl From<&Failure> for TaskError {
    fn from(failure: &Failure) -> Self {
        Self { class: failure.class.into(), code: failure.code.clone(), message: failure.message.clone() }
    }
}
