//! Rows: what an engine reads and writes, without any driver's types.
//!
//! Whole rows are in `tables`; the others are parts of a table, or of several. `convert` makes of them what the domain
//! knows.

use domain::{
    AttemptOutcome, BlobId, BootInstant, Epoch, FileId, Group, LeaseKey, Ready, RuleId, RuleScope, RunOutcome,
    ScheduleId, SessionId, Share, Status, TaskId, Timestamp, Usd, WorkerInstanceId,
};
use wire::{DeliveryState, TaskError};

pub use super::tables::{
    ApiKeyRow, AttemptRow, AuditRow, ChangesRow, CredentialRow, DependencyRow, EventRow, HistoryRow, IdempotencyKeyRow,
    MessageRow, QuestionRow, TaskRow, WorkerRow,
};

/// The time of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// Wall time.
    pub wall: Timestamp,
    /// The clock that leases end by.
    pub lease: BootInstant,
}

/// A row of a task that can't be read.
#[derive(Clone, Debug)]
pub struct UnreadRow {
    /// The task.
    pub id: TaskId,
    /// Reason for which it can't be read.
    pub why: String,
}

/// A row, or what can be said of one that can't be read.
pub type Lenient<T> = Result<T, UnreadRow>;

/// A task that is held until the end of the transaction.
#[derive(Clone, Debug)]
pub struct FoundTask {
    /// The task.
    pub row: TaskRow,
    /// True if any pending task is held back, besides those that wait for dependencies.
    pub any_held: bool,
    /// True if any task waits for dependencies.
    pub any_waits: bool,
}

/// State of a task before it is written.
#[derive(Clone, Copy, Debug)]
pub struct TaskBefore {
    /// Its status.
    pub status: Status,
    /// Its epoch.
    pub epoch: Epoch,
}

/// A rule of a key: calls of tools that need no answer of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleRow {
    /// Id.
    pub id: RuleId,
    /// Name of the key.
    pub key_name: String,
    /// The rule, as the CLI writes it.
    pub rule: String,
    /// Only tasks with this tag.
    pub tag: Option<String>,
    /// Only tasks of this folder or repository.
    pub folder: Option<String>,
    /// Time at which it was stored.
    pub created_at: Timestamp,
    /// Name of the key that asked for it.
    pub created_by: String,
}

impl RuleRow {
    /// Tasks that it is for.
    #[must_use]
    pub fn scope(&self) -> RuleScope {
        RuleScope::of(self.tag.clone(), self.folder.clone())
    }
}

/// Character between the tags of a webhook, which is in none.
pub const TAG_BORDER: char = '\u{1f}';

/// Newest answers of people that rules are learnt from.
pub const MAX_ANSWERED: i64 = 1_000;
/// Maximum number of conflicts of a task that are read.
pub const MAX_CONFLICTS: i64 = 50;

/// An answer of a person to a call of a tool, and the task that asked.
#[derive(Clone, Debug)]
pub struct AnsweredRow {
    /// Name of the key.
    pub key_name: String,
    /// Request of the task, as it is stored.
    pub spec: String,
    /// True if its folder is its own.
    pub own_directory: bool,
    /// The tool.
    pub tool: String,
    /// Input of the tool, as JSON.
    pub input: String,
    /// Rules that the CLI suggested, as JSON.
    pub suggestions: String,
    /// The answer, as JSON.
    pub answer: String,
    /// Time at which it was asked.
    pub asked_at: Timestamp,
    /// Time of the answer.
    pub answered_at: Timestamp,
}

/// The tasks above a task and below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FamilyRow {
    /// Number of tasks above it.
    pub depth: i64,
    /// The task from inside which it was made.
    pub parent: Option<TaskId>,
    /// Number of tasks that were made from inside it.
    pub children: i64,
    /// What these have of its budget: that of each which has not ended; of each which has, its cost, and what its own
    /// children have.
    pub given: Usd,
}

/// A secret of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretRow {
    /// Name of the key.
    pub key_name: String,
    /// Name.
    pub name: String,
    /// Its value, sealed with the operator's key.
    pub sealed: Vec<u8>,
    /// Time at which it was first stored.
    pub created_at: Timestamp,
    /// Time at which it got its value.
    pub updated_at: Timestamp,
}

/// A file that a client has sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileRow {
    /// Name of the key that has sent it.
    pub key_name: String,
    /// Digest of its content.
    pub id: FileId,
    /// Its content.
    pub blob: BlobId,
    /// Number of bytes that it has once it is complete.
    pub bytes: i64,
    /// True if all of it is there.
    pub complete: bool,
    /// Time at which it was first sent.
    pub created_at: Timestamp,
    /// Time at which it was last sent, or named by a task.
    pub used_at: Timestamp,
}

/// Maximum number of lanes with requirements: each claim looks at the first task of each.
pub const MAX_LANES: usize = 200;

/// Facts that decide how many tasks a worker may claim.
#[derive(Clone, Debug)]
pub struct Allowance {
    /// True if the queue is paused, or the worker's credential is parked.
    pub held_back: bool,
    /// Maximum number of tasks of each worker, where it was set.
    pub concurrency: Option<u32>,
    /// Number of tasks that the worker runs.
    pub running: u32,
    /// Highest number of crashes among the tasks that the worker runs.
    pub own_crashes: i32,
    /// True if a task that has not ended needs its folder for itself, or has a concurrency key.
    pub gated: bool,
    /// True if limits are set.
    pub limited: bool,
    /// True if any key has a budget of its own.
    pub key_budgets: bool,
    /// The turn that it is now, among shares.
    pub turn: i64,
    /// True if the time has come of tasks that are not ready yet.
    pub any_due: bool,
    /// The lanes with requirements in which tasks are ready, at most [`MAX_LANES`].
    pub lanes: Vec<String>,
}

/// Use of a key, as its limits count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// Number of pending tasks.
    pub pending: i64,
    /// Number of tasks submitted on the day, at most as many as were asked for.
    pub submitted: i64,
    /// Stored bytes.
    pub bytes: i64,
}

/// A claim.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRow<'a> {
    /// Incarnation of the worker.
    pub holder: WorkerInstanceId,
    /// Name of the worker.
    pub worker: &'a str,
    /// End of the leases.
    pub expires: BootInstant,
    /// Start of the tasks.
    pub now: Timestamp,
    /// The tasks.
    pub tasks: &'a [TaskId],
}

/// A ready task, as far as it is looked at before a claim.
#[derive(Clone, Debug)]
pub struct ReadyRow {
    /// The task.
    pub id: TaskId,
    /// Higher starts first.
    pub priority: i64,
    /// Crashes in a row.
    pub crashes: i32,
    /// Its share.
    pub share: String,
    /// Weight of the share, and where its next turn begins.
    pub turns: Share,
    /// Folder that the task works in.
    pub working_directory: Option<String>,
    /// True if it needs the folder for itself.
    pub exclusive: bool,
    /// Budget in US dollars.
    pub max_budget_usd: Option<Usd>,
    /// US dollars that are used: its cost, and where it has a budget what its children have of that.
    pub used_usd: Option<Usd>,
    /// Name of the client's key.
    pub key_name: String,
    /// The groups that it is in.
    pub groups: Vec<Group>,
}

impl Ready for ReadyRow {
    fn priority(&self) -> i64 {
        self.priority
    }

    fn share(&self) -> &str {
        &self.share
    }
}

/// Maximum number of lines that a claim looks at, each of a lane and a share.
pub const MAX_LINES: usize = 5_000;

/// Maximum number of shares: each claim looks at the first tasks of each. Tasks of further ones take their turns together.
pub const MAX_SHARES: usize = 500;

/// End of an attempt.
#[derive(Clone, Debug)]
pub struct AttemptEnd {
    /// Time of the end.
    pub at: Timestamp,
    /// Outcome.
    pub outcome: AttemptOutcome,
    /// The failure, or the reason of the release.
    pub error: Option<TaskError>,
    /// The session, where it has become known.
    pub session_id: Option<SessionId>,
}

/// What the CLI has added to the transcript of a session at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TranscriptRow<'a> {
    /// The session.
    pub session: SessionId,
    /// The attempt whose CLI it was.
    pub key: LeaseKey,
    /// Number among those of the attempt.
    pub part: i64,
    /// Lines of JSON.
    pub entries: &'a str,
}

/// How far a running attempt has come.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProgressRow {
    /// Number of the task's newest event.
    pub last_event: i64,
    /// Events of the attempt that are stored.
    pub attempt_events: i64,
    /// The session, where it has become known.
    pub session: Option<SessionId>,
    /// US dollars of the attempt, where they have become known.
    pub cost_so_far: Option<Usd>,
    /// How it goes round in circles, where it has begun to.
    pub looping: Option<String>,
}

/// A webhook.
#[derive(Clone, Debug)]
pub struct WebhookRow {
    /// Name.
    pub id: String,
    /// Name of the key whose tasks are told of; `None`: of a task, or of all tasks.
    pub key_name: Option<String>,
    /// The task whose webhook it is; `None` for a registered one.
    pub task_id: Option<TaskId>,
    /// Address that is told.
    pub url: String,
    /// Secret of its signatures, where it has its own.
    pub secret: Option<String>,
    /// Names of events, each between commas.
    pub events: String,
    /// Shape of the messages.
    pub format: Option<String>,
    /// Tags of the tasks that it is told of, each between two [`TAG_BORDER`]s; without any of all.
    pub tags: Option<String>,
    /// True if nothing is sent while somebody has a page open.
    pub quiet: bool,
    /// Time at which it was created.
    pub created_at: Timestamp,
    /// Time since which each message to it has failed.
    pub failing_since: Option<Timestamp>,
    /// Time at which it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// Reason for which it was disabled.
    pub disabled_reason: Option<String>,
}

/// A claim of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct ClaimDeliveriesRow<'a> {
    /// The time by which they were due.
    pub due_by: Timestamp,
    /// The time by which they were made.
    pub made_by: Timestamp,
    /// Time at which a claimed delivery is due again, should its sender say nothing.
    pub until: Timestamp,
    /// Maximum number of deliveries.
    pub limit: u32,
    /// Maximum number of each host.
    pub per_host: u32,
    /// Hosts of which none are taken.
    pub busy: &'a [String],
}

/// End of an attempt at a delivery.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryEnd<'a> {
    /// The delivery.
    pub id: &'a str,
    /// Number of the attempt.
    pub attempt: i32,
    /// Body that was sent, where one was.
    pub body: Option<&'a str>,
    /// Status of the answer.
    pub status: Option<u16>,
    /// Reason for which it was no success.
    pub error: Option<&'a str>,
    /// New state.
    pub state: DeliveryState,
    /// Time at which it is due again.
    pub next_at: Timestamp,
    /// Time of its end.
    pub ended_at: Option<Timestamp>,
}

/// A schedule.
#[derive(Clone, Debug)]
pub struct ScheduleRow {
    /// The schedule.
    pub id: ScheduleId,
    /// Name for people.
    pub name: Option<String>,
    /// The timetable.
    pub cron: String,
    /// Time zone of the timetable.
    pub time_zone: String,
    /// The request, as it is stored.
    pub spec: String,
    /// Name of the client's key.
    pub key_name: String,
    /// `skip` or `once`.
    pub missed: String,
    /// `allow` or `skip`.
    pub overlap: String,
    /// True if each task goes on with the session of the last one that completed.
    pub continue_session: bool,
    /// True if it fires.
    pub enabled: bool,
    /// The next firing.
    pub next_at: Option<Timestamp>,
    /// Time at which it was created.
    pub created_at: Timestamp,
}

/// Firing of a schedule.
#[derive(Clone, Copy, Debug)]
pub struct ScheduleRunRow<'a> {
    pub schedule: ScheduleId,
    /// The firing.
    pub due_at: Option<Timestamp>,
    /// Time of the firing.
    pub fired_at: Timestamp,
    /// Result.
    pub outcome: RunOutcome,
    pub task: Option<TaskId>,
    /// A remark for people.
    pub detail: Option<&'a str>,
}
