//! Questions to the store and its answers: the same for every engine.

mod dependencies;
mod events;
mod files;
mod history;
mod keys;
mod lists;
mod races;

use std::time::Duration;

use strum::VariantArray as _;

use crate::process::Identity;
use domain::{
    FailureClass, Group, Labels, LeaseKey, Limit, Missed, Name, Overlap, RunOutcome, ScheduleId, SessionId, Status,
    TaskId, TaskInput, Timestamp, Tokens, Usd, WorkerInstanceId,
};
use wire::{DeliveryState, HookEvent, HookFormat, Task, TaskSpec};

pub use dependencies::{Dependency, GraphTask, MAX_DEPENDENCIES_SHOWN, ReadDependencies, ReadGraph, TaskGraph};
pub use events::{EventPage, LatestEvents, PagePlace, ReadEventPage, ReadEvents, SequencedEvent};
pub use files::{FindFile, ListFiles, ReadArtifacts};
pub use history::{CommitSearch, FindCommit, FoundCommit};
pub use keys::{AuditRecord, StoredKey};
pub use lists::{
    ConversationTasks, Filter, ListConversations, ListOrder, ListQuestions, ListTaskIds, ListTasks, MAX_CONVERSATION,
    OpenQuestion, Page, QuestionPage,
};
pub use races::{Race, RaceEntry};

/// A task, and what it waits for.
#[derive(Clone, Debug)]
pub struct Explained {
    pub task: Task,
    /// Ready tasks that start before it, by priority and age; where it is held back, those that wait for the same.
    pub ahead: i64,
    /// The CLI's newest announcement of a retry, where it waits to ask the API again: its time, and its frame.
    pub retry: Option<(Timestamp, String)>,
}

/// Ready tasks of a share that may start before a task.
#[derive(Clone, Copy, Debug)]
pub struct ShareAhead {
    /// Number of those with a higher priority.
    pub higher: i64,
    /// Number of those with the same.
    pub same: i64,
    /// Number of those with the same that are older.
    pub older: i64,
    /// Weight of the share.
    pub weight: i64,
    /// True if the task is of this share.
    pub own: bool,
}

/// The counts; none of them is counted at the call.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Number of tasks in each status, in the order of `Status::VARIANTS`.
    pub counts: [i64; 5],
    /// True if claims are held back.
    pub paused: bool,
    /// Tasks at a time in each worker, where it was changed while running.
    pub concurrency: Option<u32>,
    /// Time at which the oldest pending task was stored.
    pub oldest_pending: Option<Timestamp>,
    /// Credentials that wait.
    pub parked: Vec<Parked>,
}

impl Stats {
    /// Number of tasks are in this status.
    #[must_use]
    pub fn count(&self, status: Status) -> i64 {
        Status::VARIANTS.iter().position(|each| *each == status).map_or(0, |at| self.counts[at])
    }
}

/// What waits, counted at the call.
#[derive(Clone, Debug, Default)]
pub struct Backlog {
    /// Number of pending tasks by the cause of their wait.
    pub waiting: Vec<(Name<WaitCause>, i64)>,
    /// Number of open questions.
    pub questions: i64,
    /// Time at which the oldest of them was asked.
    pub oldest_question: Option<Timestamp>,
    /// Number of messages to webhooks that are not delivered.
    pub deliveries: i64,
    /// Size of the database, in bytes.
    pub bytes: u64,
    /// Ready tasks that require labels, by what they require.
    pub lanes: Vec<LaneBacklog>,
}

/// Ready tasks that require the same labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaneBacklog {
    /// The labels, between commas.
    pub lane: String,
    /// Number of tasks.
    pub tasks: i64,
    /// Time at which the oldest of them was stored.
    pub oldest: Timestamp,
}

/// Cause for which a task waits, as the rows have it: a hold by its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum WaitCause {
    /// Only a slot is missing.
    Due,
    /// An answer.
    Answer,
    /// Its time.
    Time,
    /// Its folder.
    Directory,
    /// The money of the day.
    Budget,
    /// A group that is paused.
    Paused,
    /// The number of tasks of a group.
    Concurrency,
    /// The pace of a group.
    Rate,
    /// Tasks that they depend on.
    Dependencies,
}

/// A credential with which nothing is started for a time: its account has reached a limit, or it
/// was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parked {
    /// A name that tells it from others and doesn't give it away.
    pub credential: String,
    /// End of the parking.
    pub until: Timestamp,
    /// `usage_limit` or `auth`.
    pub class: Name<FailureClass>,
    /// Message of the CLI.
    pub message: String,
}

/// Reads what was spent, by days in UTC such as `2026-01-31`, both included.
#[derive(Clone, Debug)]
pub struct ReadUsage {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// Name of the key, where only one is asked for.
    pub key: Option<String>,
}

/// Spending.
#[derive(Clone, Debug)]
pub struct Usage {
    /// Days, then keys.
    pub days: Vec<UsageDay>,
    /// The day that it is.
    pub today: String,
    /// Today's US dollars by key.
    pub spent: Vec<(String, Usd)>,
    /// US dollars that are reserved by what runs, by key.
    pub reserved: Vec<(String, Usd)>,
}

/// Spending of one key on one day.
#[derive(Clone, Debug)]
pub struct UsageDay {
    /// Day in UTC.
    pub day: String,
    /// The name of the key.
    pub key: String,
    /// US dollars.
    pub cost_usd: Usd,
    /// Attempts that said what they cost.
    pub attempts: i64,
    pub tokens: Tokens,
}

/// A worker, as it last said.
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    /// Incarnation of the worker; new at every start.
    pub holder: WorkerInstanceId,
    pub name: String,
    /// Name of the machine.
    pub host: String,
    pub process: Identity,
    /// Start of the process.
    pub started_at: Timestamp,
    /// Time of the last heartbeat.
    pub beat_at: Timestamp,
    /// Tasks that it runs.
    pub running: i64,
    /// Tasks that it may run at a time.
    pub concurrency: i64,
    /// Its labels.
    pub labels: Labels,
    /// Version of its program.
    pub version: String,
    /// True once it is to finish what it runs, and to end.
    pub drain: bool,
}

/// A worker says every 5 s that it lives; one that missed three is taken for gone.
const FRESH_MS: i64 = 15_000;

impl WorkerInfo {
    /// True if it has been heard of lately.
    #[must_use]
    pub fn is_fresh(&self, now: Timestamp) -> bool {
        now.since_ms(self.beat_at) < FRESH_MS
    }

    /// True if it may claim tasks of this lane: it lives, is not draining, and has the labels.
    #[must_use]
    pub fn takes(&self, lane: &str, now: Timestamp) -> bool {
        self.is_fresh(now) && !self.drain && self.labels.meet(lane)
    }
}

/// State of a conversation.
#[derive(Clone, Debug, Default)]
pub struct ConversationState {
    /// The message whose turn was begun and is not over.
    pub current: Option<(i64, String)>,
    /// The first message that waits.
    pub next: Option<(i64, String)>,
    /// True if what came before the messages is done.
    pub idle: bool,
    /// Rules that were allowed for the whole session.
    pub allowed: Vec<String>,
}

/// A limit in use.
#[derive(Clone, Debug)]
pub struct LimitUse {
    pub group: Group,
    /// Limit.
    pub limit: Limit,
    /// Tasks that wait because of it.
    pub waiting: i64,
}

/// A webhook of all tasks, or of those of a key.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Name.
    pub id: String,
    /// Name of the key whose tasks are told of; `None`: of all tasks.
    pub key: Option<String>,
    /// Address that is told.
    pub url: String,
    /// Events that are told.
    pub events: Vec<Name<HookEvent>>,
    /// Shape of the messages.
    pub format: Name<HookFormat>,
    /// Tags of the tasks that are told of; without any of all.
    pub tags: Vec<String>,
    /// True if nothing is sent while somebody has a page open.
    pub quiet: bool,
    /// Time at which it was created.
    pub created_at: Timestamp,
    /// Time since which each message to it has failed.
    pub failing_since: Option<Timestamp>,
    /// Time at which it was disabled, and the reason.
    pub disabled: Option<(Timestamp, String)>,
}

/// A delivery to be sent.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Name, the same at each attempt.
    pub id: String,
    /// The task.
    pub task: TaskId,
    /// Address that is told.
    pub url: String,
    /// Host, as in [`ClaimDeliveries::busy`](crate::queue::ClaimDeliveries::busy).
    pub host: String,
    /// Secret of the signature, where it is not the server's.
    pub secret: Option<String>,
    /// Kind of the message.
    pub event: Name<HookEvent>,
    /// Shape of the message.
    pub format: HookFormat,
    /// True if it is not sent while somebody has a page open.
    pub quiet: bool,
    /// True if its webhook is one of all tasks.
    pub of_all: bool,
    /// Time of the event.
    pub created_at: Timestamp,
    /// The number of this attempt.
    pub attempt: i32,
    /// Body that was sent before.
    pub body: Option<String>,
}

/// A delivery, as it stands.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Name.
    pub id: String,
    /// Kind of the message.
    pub event: Name<HookEvent>,
    /// Address that is told.
    pub url: String,
    /// State.
    pub state: Name<DeliveryState>,
    /// Number of attempts.
    pub attempts: i32,
    /// Time of the next attempt, or at which it is taken from a sender that is not heard of.
    pub next_at: Timestamp,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Error of the last attempt.
    pub last_error: Option<String>,
    /// Time of the event.
    pub created_at: Timestamp,
    /// Time at which it was delivered, or given up.
    pub ended_at: Option<Timestamp>,
}

/// A task that is submitted by the clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Name.
    pub id: ScheduleId,
    /// Name for people.
    pub name: Option<String>,
    /// Cron expression.
    pub cron: String,
    /// Time zone of the timetable.
    pub time_zone: String,
    /// Task to submit; validated.
    pub spec: TaskSpec,
    /// Reason for which the stored schedule can't be fired; `None` where all of it could be read.
    pub unreadable: Option<String>,
    /// Name of the client's key.
    pub key: String,
    /// Policy for firings whose time has passed while no server ran.
    pub missed: Missed,
    /// Policy for a firing while the previous task has not ended.
    pub overlap: Overlap,
    /// True if each task goes on with the session of the last one that completed.
    pub continue_session: bool,
    /// True if it fires.
    pub enabled: bool,
    /// The firing to come.
    pub next_at: Option<Timestamp>,
    /// Time at which it was created.
    pub created_at: Timestamp,
}

/// Reads what a schedule has done, newest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadRuns {
    pub schedule: ScheduleId,
    /// Maximum number of them.
    pub limit: u64,
}

/// Firing of a schedule.
#[derive(Clone, Debug)]
pub struct ScheduleRun {
    /// The firing; `None` where a request asked for it.
    pub due_at: Option<Timestamp>,
    /// Time of the firing.
    pub fired_at: Timestamp,
    /// Result.
    pub outcome: Name<RunOutcome>,
    /// The task, and where it stands; `None` when it was removed.
    pub task: Option<(TaskId, Option<Status>)>,
    /// A remark for people.
    pub detail: Option<String>,
}

/// Reads the newest task of a schedule, or the newest that has completed.
#[derive(Clone, Copy, Debug)]
pub struct LastTask {
    pub schedule: ScheduleId,
    /// True if only a completed task counts.
    pub completed: bool,
}

/// A worker's question about its tasks and about work.
#[derive(Clone, Copy, Debug)]
pub struct Poll<'a> {
    /// Incarnation of the worker.
    pub holder: WorkerInstanceId,
    /// The credential of its CLI.
    pub credential: &'a str,
    /// Numbers of messages and interrupts that it has heard.
    pub heard: &'a [i64],
    /// Its labels.
    pub labels: &'a Labels,
}

/// The answer to a [`Poll`].
#[derive(Clone, Debug, Default)]
pub struct Polled {
    /// The leases of the worker.
    pub leases: Vec<LeaseKey>,
    /// True if there is something to claim.
    pub work: bool,
    /// Maximum number of tasks of each worker, where it was set.
    pub concurrency: Option<u32>,
    /// Input for its tasks that they have not received, in order.
    pub said: Vec<(TaskId, TaskInput)>,
    /// Budgets of its running tasks whose children have some of them, as far as they are left.
    pub budgets: Vec<(TaskId, Usd)>,
    /// True if it is to finish what it runs, and to end.
    pub drain: bool,
    /// Time for which the answer stays true where nothing is committed; `None` where that is not known.
    pub stays: Option<Duration>,
}

/// State of the queue, as far as it says whether there is something to claim.
#[derive(Clone, Debug, Default)]
pub struct Work {
    /// Maximum number of tasks of each worker, where it was set.
    pub concurrency: Option<u32>,
    /// True if tasks are started, with this credential.
    pub is_open: bool,
    /// True if a task without requirements is ready, or any has become due.
    pub any: bool,
    /// The lanes with requirements in which tasks are ready.
    pub lanes: Vec<String>,
    /// True if the worker is to end.
    pub drain: bool,
    /// True if any task was made from inside another.
    pub any_children: bool,
    /// Time at which a task becomes due, or a credential is free again, where that is known.
    pub next: Option<Timestamp>,
}

impl Work {
    /// True if there is something to claim for a worker with these labels.
    #[must_use]
    pub fn is_for(&self, labels: &Labels) -> bool {
        self.is_open && (self.any || self.lanes.iter().any(|lane| labels.meet(lane)))
    }
}

/// Who holds what, for those who take back what dead workers held.
#[derive(Clone, Debug, Default)]
pub struct Holdings {
    /// The workers that are known.
    pub workers: Vec<WorkerInfo>,
    /// The workers that hold tasks.
    pub holders: Vec<WorkerInstanceId>,
    /// The running tasks whose leases are over and whose trees have had the time to end.
    pub expired: Vec<HeldTree>,
    /// True if dependents of tasks that have ended have not all been told.
    pub any_unsettled: bool,
}

/// A running attempt whose processes may have to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTree {
    /// The task.
    pub task: TaskId,
    /// The worker that holds it.
    pub holder: WorkerInstanceId,
    /// The worker whose mark its processes carry: the one that started them.
    pub tree_holder: WorkerInstanceId,
    /// Session, by which they are known too.
    pub session: Option<SessionId>,
    /// True if that worker is known: it has neither left nor been taken for dead.
    pub is_held: bool,
}
