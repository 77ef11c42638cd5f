//! A stored task, whole, as it is read.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::TaskSpec;
use domain::{AttemptOutcome, Failure, FailureClass, Group, Name, SessionId, Spent, Status, TaskId, Timestamp, Usd};

/// A task as the store has it.
#[derive(Clone, Debug)]
pub struct Task {
    /// Name.
    pub id: TaskId,
    /// What the client asked for.
    pub spec: TaskSpec,
    /// Where it stands.
    pub status: Status,
    /// When it was stored.
    pub created_at: Timestamp,
    /// Not before this time, while pending.
    pub due_at: Option<Timestamp>,
    /// When its first attempt was claimed.
    pub started_at: Option<Timestamp>,
    /// When it reached its end.
    pub completed_at: Option<Timestamp>,
    /// Starts so far.
    pub attempt: i32,
    /// Deaths in a row.
    pub crashes: i32,
    /// How often it may end by itself.
    pub max_attempts: i32,
    /// The worker that has it, or had it last.
    pub worker: Option<String>,
    /// Name of the client's key.
    pub key: String,
    /// Where it works.
    pub working_directory: Option<String>,
    /// The task that this one repeats.
    pub retry_of: Option<TaskId>,
    /// The session that it goes on with, where it doesn't begin one.
    pub resume_session_id: Option<SessionId>,
    /// The task whose conversation it goes on with.
    pub continued_from: Option<TaskId>,
    /// What holds it back besides its time: see [`Hold`](domain::Hold).
    pub held: Option<String>,
    /// What it waits for: an answer, or a message.
    pub waiting_for: Option<Value>,
    /// What the newest attempt left.
    pub attempted: Attempted,
    /// What it must say of itself beside its result.
    pub remarks: Remarks,
    /// What was left out where only a summary was read.
    pub truncated: Truncated,
    /// What was changed in its worktree; `None` where only the task was read.
    pub changes: Option<Value>,
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

/// What a summary of a task leaves out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Bytes of the whole result, where it was cut.
    pub result_bytes: Option<i64>,
    /// True if the request has longer texts than are shown.
    pub request: bool,
}

/// What a task must say of itself beside its result. Stored as JSON, and read leniently.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Remarks {
    /// True if the CLI reported a cost that can't be one: no sum has it.
    pub cost_set_aside: bool,
    /// What ran in the background and had to be ended, in words.
    pub background_ended: Vec<String>,
}

/// What the newest attempt left behind; empty before the first.
#[derive(Clone, Debug, Default)]
pub struct Attempted {
    /// The text of the result.
    pub result: Option<String>,
    /// The result as the schema wants it.
    pub structured_output: Option<Value>,
    /// Why it failed, or why the attempt before did.
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
    /// When it was claimed.
    pub started_at: Timestamp,
    /// When it was over.
    pub ended_at: Option<Timestamp>,
    /// See [`AttemptOutcome`]; `None` while it runs.
    pub outcome: Option<Name<AttemptOutcome>>,
    /// Why it failed or was given back.
    pub error: Option<TaskError>,
    /// The Claude session.
    pub session_id: Option<SessionId>,
    /// What it cost.
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
