//! What [`QueueActor`](super::QueueActor) is asked that changes nothing: answered beside the
//! commits, on connections of their own.

use serde::Serialize;

use super::messages::answers;
use crate::process::Identity;
use crate::task::{Event, HolderId, Status, Task, TaskId, Tokens, Wall};

answers! {
    Find => Option<Task>;
    HasEnded => bool;
    ReadPatch => Option<Vec<u8>>;
    Explain => Option<Explained>;
    ListTasks => Page;
    ReadEvents => EventPage;
    ReadStats => Stats;
    ReadWorkers => Vec<WorkerInfo>;
    ReadUsage => Usage;
}

/// Reads a task.
#[derive(Clone, Copy, Debug)]
pub struct Find(pub TaskId);

/// Whether a task has ended, or is not there.
#[derive(Clone, Copy, Debug)]
pub struct HasEnded(pub TaskId);

/// Reads what a task has changed, as a patch; empty where it was too large.
#[derive(Clone, Copy, Debug)]
pub struct ReadPatch(pub TaskId);

/// Reads a task, and how many start before it.
#[derive(Clone, Copy, Debug)]
pub struct Explain(pub TaskId);

/// The answer to [`Explain`].
#[derive(Clone, Debug)]
pub struct Explained {
    /// The task.
    pub task: Task,
    /// Ready tasks that start before it, by priority and age; where it is held back, those that wait for the same.
    pub ahead: i64,
    /// What the CLI last said of the API, where it waits to ask it again: when, and its frame.
    pub retry: Option<(Wall, String)>,
}

/// Reads tasks, newest first.
#[derive(Clone, Debug)]
pub struct ListTasks {
    /// Which.
    pub filter: Filter,
    /// At most so many.
    pub limit: u64,
    /// Leave out so many.
    pub offset: u64,
    /// Only what is older than this one.
    pub before: Option<TaskId>,
}

/// Which tasks; all conditions together.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// In this status.
    pub status: Option<Status>,
    /// With this tag.
    pub tag: Option<String>,
    /// In this folder.
    pub working_directory: Option<String>,
}

/// Some tasks.
#[derive(Clone, Debug)]
pub struct Page {
    /// Newest first, each as a summary: long texts are cut.
    pub tasks: Vec<Task>,
    /// True if more follow than fit into one answer.
    pub more: bool,
    /// How many the filter has in all.
    pub total: i64,
}

/// Reads events of a task, in order.
#[derive(Clone, Copy, Debug)]
pub struct ReadEvents {
    /// The task.
    pub task: TaskId,
    /// Only with a greater number.
    pub after: i64,
    /// At most so many.
    pub limit: u64,
    /// Most bytes of data; one event is read whatever its size.
    pub bytes: u64,
}

/// Some events, and where the task stood when they were read.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// In order.
    pub events: Vec<Event>,
    /// True if more were stored behind the last of them.
    pub more: bool,
    /// `None` where there is no such task. Read before the events: a terminal status means
    /// that the last event is among them, or on a later page.
    pub status: Option<Status>,
}

/// Reads the counts.
#[derive(Clone, Copy, Debug)]
pub struct ReadStats;

/// The counts; none of them is counted at the call.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// In each status, in the order of [`Status::ALL`].
    pub counts: [i64; 5],
    /// Whether claims are held back.
    pub paused: bool,
    /// Tasks at a time in each worker, where it was changed while running.
    pub concurrency: Option<u32>,
    /// When the oldest pending task was stored.
    pub oldest_pending: Option<Wall>,
    /// Credentials that wait.
    pub parked: Vec<Parked>,
}

/// A credential with which nothing is started for a time: its account has reached a limit, or it
/// was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parked {
    /// A name that tells it from others and doesn't give it away.
    pub credential: String,
    /// Until then.
    pub until: Wall,
    /// `usage_limit` or `auth`.
    pub class: String,
    /// What the CLI said.
    pub message: String,
}

impl Stats {
    /// How many tasks are in this status.
    #[must_use]
    pub fn count(&self, status: Status) -> i64 {
        Status::ALL.iter().position(|each| *each == status).map_or(0, |at| self.counts[at])
    }
}

/// Reads what was spent, by days in UTC such as `2026-01-31`, both included.
#[derive(Clone, Debug)]
pub struct ReadUsage {
    /// The first day.
    pub from: String,
    /// The last day.
    pub to: String,
    /// Of this key only.
    pub key: Option<String>,
}

/// What was spent.
#[derive(Clone, Debug)]
pub struct Usage {
    /// By day, then key.
    pub days: Vec<UsageDay>,
    /// The day that it is.
    pub today: String,
    /// Today's US dollars by key.
    pub spent: Vec<(String, f64)>,
    /// US dollars that are reserved by what runs, by key.
    pub reserved: Vec<(String, f64)>,
}

/// What one key spent on one day.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// In UTC.
    pub day: String,
    /// The name of the key.
    pub key: String,
    /// US dollars.
    pub cost_usd: f64,
    /// Attempts that said what they cost.
    pub attempts: i64,
    /// Tokens.
    pub tokens: Tokens,
}

/// Reads the workers that have a row.
#[derive(Clone, Copy, Debug)]
pub struct ReadWorkers;

/// A worker, as it last said.
#[derive(Clone, Debug)]
pub struct WorkerInfo {
    /// Its life.
    pub holder: HolderId,
    /// Its name.
    pub name: String,
    /// Its machine.
    pub host: String,
    /// Its process.
    pub process: Identity,
    /// When it began.
    pub started_at: Wall,
    /// When it last said that it lives.
    pub beat_at: Wall,
    /// Tasks that it runs.
    pub running: i64,
    /// Tasks that it may run at a time.
    pub concurrency: i64,
}
