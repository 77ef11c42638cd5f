//! Rows of whole tables, as an engine reads and writes them: plain structs, without any driver's types.
//!
//! The `entity` crate describes the same tables for the builder of queries. A test compares those that an engine reads and
//! writes whole; of the others it names the columns.

use domain::{
    AttemptOutcome, BootId, Condition, DependencyState, Epoch, EventKind, FailureClass, Name, OnFailure, Status,
    TaskId, Timestamp, Usd, WorkerInstanceId, lane_of,
};
use wire::response::GraphEdge;
use wire::{DependsOn, TaskSpec, stored};

use super::StoreError;

/// One row a task.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskRow {
    /// UUID of version 7: sorts by the time of its making.
    pub id: TaskId,
    /// `pending`, `running`, `completed`, `failed` or `cancelled`.
    pub status: Name<Status>,
    /// The request, as JSON.
    pub spec: String,
    /// Higher starts first.
    pub priority: i64,
    /// Time at which it was stored.
    pub created_at: i64,
    /// Pending and not before this time; null when it may start at once.
    pub due_at: Option<i64>,
    /// Time of its first claim.
    pub started_at: Option<i64>,
    /// Time of its end.
    pub completed_at: Option<i64>,
    /// Starts so far.
    pub attempt: i32,
    /// Attempts that ended by themselves.
    pub finished_attempts: i32,
    /// Crashes in a row.
    pub crashes: i32,
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// Grows by one at every claim and at the cancel of a running task.
    pub epoch: Epoch,
    /// The life of the worker that holds it; null when none does.
    pub holder: Option<WorkerInstanceId>,
    /// The end of the lease, on the clock that never jumps.
    pub lease_ms: Option<i64>,
    /// The boot that `lease_ms` belongs to.
    pub lease_boot: Option<BootId>,
    /// The name of the worker that has it, or had it last.
    pub worker: Option<String>,
    /// Folder in which it works.
    pub working_directory: Option<String>,
    /// The task that this one repeats.
    pub retry_of: Option<TaskId>,
    /// The number of its newest event.
    pub last_event: i64,
    /// Events that its newest attempt has sent and that are stored.
    pub attempt_events: i64,
    /// The Claude session.
    pub session_id: Option<String>,
    /// The session that it goes on with: its own id, or, where it forks, another.
    pub resume_session_id: Option<String>,
    /// The task whose conversation it goes on with.
    pub continued_from: Option<TaskId>,
    /// Name of the client's key.
    pub key_name: String,
    /// Budget of all attempts together, in US dollars.
    pub max_budget_usd: Option<Usd>,
    /// True if its folder is its own, with its id in the name.
    pub own_directory: bool,
    /// True if no other task may work in its folder meanwhile.
    pub exclusive: bool,
    /// Tasks with the same one are a group with a limit.
    pub concurrency_key: Option<String>,
    /// Labels that its worker must have, between commas.
    pub lane: String,
    /// Share whose turns it takes.
    pub share: String,
    /// Reason besides its time for which it is kept back, while pending.
    pub held: Option<String>,
    /// The answer or message that it waits for, as JSON.
    pub waiting_for: Option<String>,
    /// Messages that were sent to it and are not done.
    pub pending_messages: i32,
    /// The text of the result.
    pub result: Option<String>,
    /// The result as the schema wants it, as JSON.
    pub structured_output: Option<String>,
    /// The class of the newest failure.
    pub error_class: Option<Name<FailureClass>>,
    /// The code of the newest failure.
    pub error_code: Option<String>,
    /// The newest failure in words.
    pub error_message: Option<String>,
    /// US dollars.
    pub cost_usd: Option<Usd>,
    /// US dollars of the attempt that runs, as far as is known.
    pub cost_so_far: Option<Usd>,
    /// How the attempt that runs goes round in circles, in words.
    pub looping: Option<String>,
    /// Its place in a trace, as W3C writes it.
    pub trace_parent: Option<String>,
    /// Number of tasks that it depends on.
    pub dependencies: i64,
    /// Tokens, as JSON.
    pub usage: Option<String>,
    /// Turns of the conversation.
    pub num_turns: Option<i64>,
    /// Milliseconds of the newest attempt.
    pub duration_ms: Option<i64>,
    /// Refused tool calls, as JSON.
    pub permission_denials: Option<String>,
    /// Remarks beside its result, as JSON.
    pub remarks: Option<String>,
}

impl TaskRow {
    /// A task that was just submitted, with the columns that follow from its request.
    ///
    /// # Errors
    /// The request can't be written as JSON.
    pub fn pending(id: TaskId, spec: &TaskSpec, key_name: String, now: Timestamp) -> Result<Self, StoreError> {
        Ok(Self {
            id,
            status: Status::Pending.into(),
            spec: stored::to_text(spec).map_err(|error| StoreError::unwritable("task", id.uuid(), &error))?,
            priority: spec.priority,
            created_at: now.0,
            due_at: spec.run_at.filter(|at| *at > now).map(|at| at.0),
            started_at: None,
            completed_at: None,
            attempt: 0,
            finished_attempts: 0,
            crashes: 0,
            max_attempts: spec.options.attempts(),
            epoch: Epoch::FIRST,
            holder: None,
            lease_ms: None,
            lease_boot: None,
            worker: None,
            working_directory: None,
            retry_of: None,
            last_event: 0,
            attempt_events: 0,
            session_id: None,
            resume_session_id: None,
            continued_from: None,
            key_name,
            max_budget_usd: spec.options.sdk.max_budget_usd,
            own_directory: false,
            exclusive: false,
            concurrency_key: spec.concurrency_key.clone(),
            lane: lane_of(&spec.requires),
            share: String::new(),
            held: None,
            waiting_for: None,
            pending_messages: 0,
            result: None,
            structured_output: None,
            error_class: None,
            error_code: None,
            error_message: None,
            cost_usd: None,
            cost_so_far: None,
            looping: None,
            trace_parent: None,
            dependencies: 0,
            usage: None,
            num_turns: None,
            duration_ms: None,
            permission_denials: None,
            remarks: None,
        })
    }
}

/// One row a start.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptRow {
    /// The task.
    pub task_id: TaskId,
    /// 1, 2, 3 …
    pub number: i32,
    /// The epoch under which it was claimed.
    pub epoch: Epoch,
    /// The worker's name.
    pub worker: Option<String>,
    /// Time of the claim.
    pub started_at: i64,
    /// Time of its end; null while it runs.
    pub ended_at: Option<i64>,
    /// `completed`, `failed`, `crashed`, `released` or `cancelled`; null while it runs.
    pub outcome: Option<Name<AttemptOutcome>>,
    /// The class of the failure.
    pub error_class: Option<Name<FailureClass>>,
    /// The code of the failure.
    pub error_code: Option<String>,
    /// The failure, or the reason of the release, in words.
    pub error_message: Option<String>,
    /// The Claude session.
    pub session_id: Option<String>,
    /// US dollars, as the CLI reported them; also where the report came too late to count.
    pub cost_usd: Option<Usd>,
    /// Name of the client's key.
    pub key_name: String,
    /// The most that it may cost, in US dollars, where there is a limit.
    pub reserved_usd: Option<Usd>,
    /// Tokens read, not from the cache.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Tokens read from the cache.
    pub cache_read_tokens: i64,
    /// Tokens put into the cache.
    pub cache_write_tokens: i64,
    /// True if the CLI reported a cost that can't be one.
    pub cost_set_aside: bool,
}

/// One row a task that another one depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DependencyRow {
    /// The dependent.
    pub task_id: TaskId,
    /// Place among the dependencies of its task, from 0 on.
    pub n: i64,
    /// The task that it depends on.
    pub on_task: TaskId,
    /// Name that the dependent uses for it.
    pub name: Option<String>,
    /// `completed` or `ended`.
    pub condition: Name<Condition>,
    /// `cancel`, `run` or `wait`.
    pub on_failure: Name<OnFailure>,
    /// `open`, `met`, `failed` or `waived`.
    pub state: Name<DependencyState>,
}

impl DependencyRow {
    /// The dependency as a client asks for it.
    #[must_use]
    pub fn asked_again(&self) -> DependsOn {
        DependsOn {
            task: self.on_task.to_string(),
            on: self.condition(),
            on_failure: self.on_failure.known().unwrap_or_default(),
            name: self.name.clone(),
        }
    }

    /// The condition; a word of another version reads as the default.
    #[must_use]
    pub fn condition(&self) -> Condition {
        self.condition.known().unwrap_or_default()
    }

    /// The dependency as it is shown, between its task and the one that it is on; words of another version read as the defaults.
    #[must_use]
    pub fn edge(&self) -> GraphEdge {
        GraphEdge {
            task: self.task_id,
            depends_on: self.on_task,
            on: self.condition(),
            on_failure: self.on_failure.known().unwrap_or_default(),
            state: self.state.known().unwrap_or(DependencyState::Open),
        }
    }
}

/// One row a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionRow {
    /// The task.
    pub task_id: TaskId,
    /// The CLI's name for it, from when it was first asked.
    pub request_id: String,
    pub tool: String,
    /// Input of the tool, as JSON.
    pub input: String,
    /// Rules that the CLI suggests to allow, as JSON.
    pub suggestions: String,
    /// Time at which it was first asked.
    pub asked_at: i64,
    /// Time at which it is denied automatically.
    pub deadline: i64,
    /// Answer, as JSON.
    pub answer: Option<String>,
    /// Time of the answer.
    pub answered_at: Option<i64>,
    /// True if the task has heard the answer, or needs none any more.
    pub closed: bool,
}

/// One row a message or an interrupt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageRow {
    /// Grows in the order of their coming.
    pub id: i64,
    /// The task.
    pub task_id: TaskId,
    /// `message` or `interrupt`.
    pub kind: String,
    /// The message, word for word.
    pub text: String,
    /// Time at which it was stored.
    pub at: i64,
    /// Of a message: the attempt that was given it; of an interrupt: the attempt that is meant.
    pub epoch: Option<Epoch>,
    /// End of its turn.
    pub done_at: Option<i64>,
}

/// One row a life of a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerRow {
    /// The life.
    pub holder: WorkerInstanceId,
    pub name: String,
    /// The machine.
    pub host: String,
    /// The process, as JSON: number, start time, boot, PID namespace.
    pub process: String,
    /// Start of the process.
    pub started_at: i64,
    /// Time of the last heartbeat.
    pub beat_at: i64,
    /// Tasks that it runs.
    pub running: i64,
    /// Tasks that it may run at a time.
    pub concurrency: i64,
    /// Its labels, between commas.
    pub labels: String,
    /// Version of its program.
    pub version: String,
    /// True once it is to finish what it runs, and to end.
    pub drain: bool,
}

/// One row an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventRow {
    /// The task.
    pub task_id: TaskId,
    /// 1, 2, 3 …
    pub seq: i64,
    /// Time at which it was stored.
    pub at: i64,
    /// Kind.
    pub kind: Name<EventKind>,
    /// A JSON object.
    pub data: String,
}

/// One row a commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HistoryRow {
    /// Grows with every commit.
    pub seq: i64,
    /// Wall time of the process that wrote it.
    pub at: i64,
    /// Time since the boot.
    pub boot_ms: i64,
    /// Changes of the commit, as a JSON array.
    pub done: String,
}

/// One row a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKeyRow {
    /// The client's `Idempotency-Key`.
    pub key: String,
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    /// The task that it made.
    pub task_id: TaskId,
    /// Time of its first use.
    pub created_at: i64,
}

/// One row a credential that was ever parked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CredentialRow {
    /// A fingerprint.
    pub id: String,
    /// Wall time before which nothing is started.
    pub parked_until: i64,
    /// The class of the failure.
    pub class: Name<FailureClass>,
    /// The failure in words.
    pub message: String,
}

/// One row a task with a worktree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangesRow {
    /// The task.
    pub task_id: TaskId,
    /// Branch, commits and files, as JSON.
    pub summary: String,
    /// The patch; empty where it would be too large.
    pub patch: Vec<u8>,
}

/// One row an API key.
#[derive(Clone, Debug, PartialEq)]
pub struct ApiKeyRow {
    /// Name under which its tasks are counted.
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub hash: String,
    /// Hash of the secret before the last rotation.
    pub previous_hash: Option<String>,
    /// Time until which that one works.
    pub previous_until: Option<i64>,
    /// Rights, as JSON.
    pub rights: String,
    /// US dollars that its tasks may cost on a day.
    pub daily_budget_usd: Option<Usd>,
    /// Time at which it was created.
    pub created_at: i64,
    /// Time at which it expires.
    pub expires_at: Option<i64>,
    /// Time at which it was revoked.
    pub revoked_at: Option<i64>,
    /// Time of its last use, to the minute.
    pub last_used_at: Option<i64>,
}

/// One row a change that was asked for with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuditRow {
    /// Name of the key.
    pub key_name: String,
    /// Address of the client.
    pub address: Option<String>,
    /// Operation, by its name in the contract.
    pub action: String,
    /// Path of the request.
    pub path: String,
    /// Status of the answer.
    pub status: u16,
    /// A JSON object.
    pub detail: String,
}
