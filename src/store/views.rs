//! Questions to the store and its answers: the same for every engine.

mod keys;

use strum::VariantArray as _;

use crate::process::Identity;
use domain::{
    Event, EventKind, FailureClass, Group, Labels, LeaseKey, Limit, Missed, Name, Overlap, Question, RunOutcome,
    ScheduleId, SessionId, Status, TaskId, TaskInput, Timestamp, Tokens, Usd, WorkerInstanceId,
};
use wire::{DeliveryState, HookEvent, Task, TaskSpec};

pub use keys::{AuditRecord, StoredKey};

/// A task, and what it waits for.
#[derive(Clone, Debug)]
pub struct Explained {
    pub task: Task,
    /// Ready tasks that start before it, by priority and age; where it is held back, those that wait for the same.
    pub ahead: i64,
    /// The CLI's newest announcement of a retry, where it waits to ask the API again: its time, and its frame.
    pub retry: Option<(Timestamp, String)>,
}

/// Reads tasks, newest first.
#[derive(Clone, Debug)]
pub struct ListTasks {
    /// The tasks that are meant.
    pub filter: Filter,
    /// Maximum number of them.
    pub limit: u64,
    /// Number of the first ones that are left out.
    pub offset: u64,
    /// Maximum id: only older tasks.
    pub before: Option<TaskId>,
}

/// Reads the ids of tasks, newest first.
#[derive(Clone, Debug)]
pub struct ListTaskIds {
    /// The tasks that are meant.
    pub filter: Filter,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum id: only older tasks.
    pub before: Option<TaskId>,
}

/// Reads conversations, by their newest task, newest first.
#[derive(Clone, Debug)]
pub struct ListConversations {
    /// Name of the client's key.
    pub key: Option<String>,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum id of the newest task: only older ones.
    pub before: Option<TaskId>,
}

/// Finds the first commit of a time.
#[derive(Clone, Copy, Debug)]
pub struct FindCommit {
    /// The time.
    pub since: Timestamp,
    /// Maximum number of commits from there to the newest.
    pub most: i64,
}

/// A place in the history.
#[derive(Clone, Copy, Debug, Default)]
pub struct FoundCommit {
    /// Number of the commit before it; 0 where it is the first.
    pub before: i64,
    /// Time of the commit that was found.
    pub at: Option<Timestamp>,
}

/// A search by halves for the first commit of a time.
#[derive(Debug)]
pub struct CommitSearch {
    since: Timestamp,
    low: i64,
    high: i64,
}

impl CommitSearch {
    /// A search among the commits up to this one.
    #[must_use]
    pub fn new(newest: i64, find: FindCommit) -> Self {
        Self { since: find.since, low: newest.saturating_sub(find.most).max(0) + 1, high: newest + 1 }
    }

    /// The number at which to look next.
    #[must_use]
    pub const fn middle(&self) -> Option<i64> {
        if self.low < self.high { Some(self.low + (self.high - self.low) / 2) } else { None }
    }

    /// Takes the first commit from there on: its number and its time.
    pub fn note(&mut self, commit: Option<(i64, i64)>) {
        let middle = self.low + (self.high - self.low) / 2;
        match commit {
            Some((seq, at)) if at < self.since.0 && seq < self.high => self.low = seq + 1,
            _ => self.high = middle,
        }
    }

    /// The number from which on the commits are of that time.
    #[must_use]
    pub const fn from(&self) -> i64 {
        self.low
    }

    /// The place, with the first commit from there on.
    #[must_use]
    pub fn found(&self, commit: Option<(i64, i64)>) -> FoundCommit {
        FoundCommit { before: self.low - 1, at: commit.map(|(_, at)| Timestamp(at)) }
    }
}

/// Maximum number of tasks of a conversation in a list, besides the first.
pub const MAX_CONVERSATION: i64 = 20;

/// The tasks of a conversation.
#[derive(Clone, Debug)]
pub struct ConversationTasks {
    /// The Claude session.
    pub session: SessionId,
    /// The tasks, oldest first, each as a summary; of many the first and the newest.
    pub tasks: Vec<Task>,
    /// Number of them in all.
    pub count: i64,
    /// Sum of their costs in US dollars.
    pub cost_usd: Option<Usd>,
    /// Sum of their turns.
    pub num_turns: i64,
}

/// Reads the open questions of all tasks, oldest first.
#[derive(Clone, Debug)]
pub struct ListQuestions {
    /// Name of the client's key.
    pub key: Option<String>,
    /// The last one of the page before: its time, its task and its name.
    pub after: Option<(Timestamp, TaskId, String)>,
    /// Maximum number of them.
    pub limit: u64,
}

/// An open question, with its task as a summary.
#[derive(Clone, Debug)]
pub struct OpenQuestion {
    pub question: Question,
    pub task: Task,
}

/// A page of open questions.
#[derive(Clone, Debug)]
pub struct QuestionPage {
    /// Oldest first.
    pub questions: Vec<OpenQuestion>,
    /// Number of open questions in all.
    pub total: i64,
}

/// Filter of tasks; all conditions together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Statuses, any of them; with none, all.
    pub statuses: Vec<Status>,
    /// Classes of the newest failure, any of them; with none, all.
    pub error_classes: Vec<FailureClass>,
    /// The Claude session.
    pub session: Option<SessionId>,
    /// The schedule that has submitted it.
    pub schedule: Option<ScheduleId>,
    /// Earliest time of the submit.
    pub since: Option<Timestamp>,
    /// Latest time of the submit, which is not meant itself.
    pub until: Option<Timestamp>,
    /// Tag.
    pub tag: Option<String>,
    /// Folder.
    pub working_directory: Option<String>,
    /// Name of the client's key.
    pub key: Option<String>,
    /// Words, each of which stands in the instruction or in the result; upper and lower case are the same.
    pub words: Vec<String>,
}

impl Filter {
    /// True if the numbers of tasks by key and status say how many it has: then nothing is counted.
    #[must_use]
    pub fn is_of_statuses(&self) -> bool {
        let Self { error_classes, session, schedule, since, until, tag, working_directory, words, .. } = self;
        let is_plain = error_classes.is_empty() && words.is_empty() && session.is_none() && schedule.is_none();
        is_plain && since.is_none() && until.is_none() && tag.is_none() && working_directory.is_none()
    }

    /// Number of tasks of its statuses among these.
    #[must_use]
    pub fn sum(&self, counts: [i64; 5]) -> i64 {
        let meant = |status: &Status| self.statuses.is_empty() || self.statuses.contains(status);
        Status::VARIANTS.iter().zip(counts).filter(|(status, _)| meant(status)).map(|(_, count)| count).sum()
    }
}

/// A page of tasks.
#[derive(Clone, Debug)]
pub struct Page {
    /// Numbers of tasks that the filter has in each status, whichever statuses it names; in the order of
    /// `Status::VARIANTS`.
    pub counts: [i64; 5],
    /// Newest first, each as a summary: long texts are cut.
    pub tasks: Vec<Task>,
    /// True if more follow than fit into one answer.
    pub more: bool,
    /// Number of the filter has in all.
    pub total: i64,
}

/// Reads events of a task, in order.
#[derive(Clone, Copy, Debug)]
pub struct ReadEvents {
    pub task: TaskId,
    /// Number behind which they begin.
    pub after: i64,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum size of the data in bytes; one event is read whatever its size.
    pub bytes: u64,
}

/// Reads a page of a task's events.
#[derive(Clone, Debug)]
pub struct ReadEventPage {
    pub task: TaskId,
    /// Where it stands.
    pub place: PagePlace,
    /// Kinds of events, any of them; with none, all.
    pub kinds: Vec<EventKind>,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum size of the data in bytes; one event is read whatever its size.
    pub bytes: u64,
}

/// Place of a page among the events of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// The next behind this number.
    After(i64),
    /// The last before this number.
    Before(i64),
}

/// A page of events, and the status of the task when they were read.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Events, in order.
    pub events: Vec<Event>,
    /// True if there are more behind the last of them, or, where the page was asked for by its end, before the first.
    pub more: bool,
    /// Number of the newest event of the task.
    pub last_event: i64,
    /// `None` where there is no such task. Read before the events: a terminal status means
    /// that the last event is among them, or on a later page.
    pub status: Option<Status>,
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
}

/// An event with its place among all events.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// Grows from event to event, with gaps.
    pub n: i64,
    pub event: Event,
}

/// A page of the events of all tasks.
pub struct LatestEvents {
    /// Events, in order.
    pub events: Vec<SequencedEvent>,
    /// True if there may be more behind them.
    pub more: bool,
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
    /// True if it is to finish what it runs, and to end.
    pub drain: bool,
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
}

impl Work {
    /// True if there is something to claim for a worker with these labels.
    #[must_use]
    pub fn is_for(&self, labels: &Labels) -> bool {
        self.is_open && (self.any || self.lanes.iter().any(|lane| labels.meet(lane)))
    }
}
