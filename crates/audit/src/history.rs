//! What was done to the tasks, in the order in which it was committed: written beside every
//! change, in the same transaction, and read by the [checker](super::Audit).

use serde::{Deserialize, Serialize};

use domain::{
    AttemptOutcome, BootId, Epoch, Group, LeaseKey, Limit, ScheduleId, Status, TaskId, Usd, WorkerInstanceId,
};

/// One line of the history.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The number of the commit that it was part of, whichever process made that.
    pub commit: i64,
    /// Wall clock of the process that wrote it, in milliseconds.
    pub at: i64,
    /// `CLOCK_BOOTTIME` of the process that wrote it, in milliseconds.
    pub boot_ms: i64,
    /// What was done.
    pub did: HistoryEvent,
}

/// Something that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HistoryEvent {
    /// What a line says, as far as it can be read.
    #[serde(skip)]
    Unread {
        /// What is wrong with it.
        why: String,
    },
    /// A task was stored.
    Submit {
        /// It.
        task: TaskId,
        /// Higher starts first.
        priority: i64,
        /// Not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
        /// How often it may end by itself.
        max_attempts: i32,
        /// The group that has a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        concurrency_key: Option<String>,
        /// The client's key for it, and the fingerprint of its request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<(String, String)>,
    },
    /// A pending task is to start sooner, or later.
    Amend {
        /// The task.
        task: TaskId,
        /// Higher starts first.
        priority: i64,
        /// Not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// The time of pending tasks had come, by the clock of the process that wrote it.
    Due {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// What pending tasks waited for has come, before their time.
    Wake {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Pending tasks that were due may not start yet.
    Hold {
        /// The tasks.
        tasks: Vec<TaskId>,
        /// What they wait for.
        why: String,
        /// Not before.
        due: i64,
    },
    /// A worker took it.
    Claim {
        /// It, and the new epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// The worker.
        holder: WorkerInstanceId,
        /// With which credential.
        #[serde(default)]
        credential: String,
        /// The number of the attempt.
        attempt: i32,
        /// The end of the lease, on the clock of the boot.
        expires: i64,
    },
    /// Leases were moved ahead.
    Renew {
        /// The leases.
        leases: Vec<LeaseKey>,
        /// Their end, on the clock of the boot.
        expires: i64,
    },
    /// An attempt was reported.
    Finish {
        /// Under which epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// How the attempt ended.
        outcome: AttemptOutcome,
        /// True if it counted as an end by itself, as a crash, or as nothing.
        counts: Counts,
        /// US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Usd>,
        /// Where the task went.
        to: Status,
        /// Not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// A report came too late to count, and said what the attempt had cost.
    LateCost {
        /// Under which epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// US dollars.
        cost: Usd,
    },
    /// A worker gave it back.
    Release {
        /// Under which epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// Reason of the release.
        reason: String,
        /// US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Usd>,
        /// Not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// It was taken back from a worker that died, or whose lease had ended.
    TakeBack {
        /// Under which epoch it ran.
        #[serde(flatten)]
        lease: LeaseKey,
        /// True if the worker was known to be dead.
        died: bool,
        /// Where the task went.
        to: Status,
        /// Not before.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// A client called it off.
    Cancel {
        /// It, and its epoch from now on.
        #[serde(flatten)]
        lease: LeaseKey,
    },
    /// Claims were held back, or let go on.
    Pause {
        /// Which of the two.
        paused: bool,
    },
    /// The number of tasks at a time was changed for every worker.
    Limit {
        /// Tasks of each worker at a time.
        concurrency: u32,
    },
    /// A limit was set on a group, or taken off.
    SetLimit {
        /// The group.
        #[serde(flatten)]
        group: Group,
        /// What holds now.
        #[serde(flatten)]
        limit: Limit,
    },
    /// Tasks that ended long ago were removed.
    Prune {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Nothing is started with a credential for a time.
    Park {
        /// The credential.
        credential: String,
        /// Until then, by the wall clock.
        until: i64,
    },
    /// A schedule was made, or changed.
    PutSchedule {
        /// Id of the schedule.
        schedule: ScheduleId,
        /// True if it is a new one.
        new: bool,
    },
    /// A schedule was removed.
    RemoveSchedule {
        /// Id of the schedule.
        schedule: ScheduleId,
    },
    /// The firing to come of a schedule was moved, after the clock was set back.
    Replan {
        /// Id of the schedule.
        schedule: ScheduleId,
        /// The firing to come.
        next: i64,
    },
    /// A schedule has fired.
    Fire {
        /// Id of the schedule.
        schedule: ScheduleId,
        /// The time that it was due at; `None` where a request asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
        /// The task that was stored, if one was.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        made: Option<TaskId>,
    },
    /// A credential that nothing was started with may be used again.
    Unpark {
        /// Id of the credential.
        credential: String,
    },
    /// A worker claims no more.
    Drain {
        /// Incarnation of the worker; new at each start.
        holder: WorkerInstanceId,
    },
}

impl HistoryEvent {
    /// The task that it is about, where it is about one.
    #[must_use]
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Submit { task, .. } | Self::Amend { task, .. } => Some(*task),
            Self::Claim { lease, .. }
            | Self::Finish { lease, .. }
            | Self::LateCost { lease, .. }
            | Self::Release { lease, .. }
            | Self::TakeBack { lease, .. }
            | Self::Cancel { lease } => Some(lease.task),
            Self::Unread { .. }
            | Self::Renew { .. }
            | Self::Pause { .. }
            | Self::Limit { .. }
            | Self::SetLimit { .. }
            | Self::Prune { .. }
            | Self::Park { .. }
            | Self::Due { .. }
            | Self::Wake { .. }
            | Self::Hold { .. }
            | Self::PutSchedule { .. }
            | Self::RemoveSchedule { .. }
            | Self::Fire { .. }
            | Self::Replan { .. }
            | Self::Unpark { .. }
            | Self::Drain { .. } => None,
        }
    }
}

/// What the end of an attempt counts as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Counts {
    /// An end by itself.
    Ended,
    /// A crash.
    Crash,
    /// Nothing.
    Nothing,
}

/// What the shim saw of one process tree: written by it, on its own machine, to a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TreeLine {
    /// The attempt.
    #[serde(flatten)]
    pub lease: LeaseKey,
    /// The machine's boot.
    pub boot: BootId,
    /// `CLOCK_BOOTTIME`, in milliseconds.
    pub at: i64,
    /// True if its CLI starts now, or all of it has ended.
    pub lives: bool,
}

/// What the tables say of a task, to be held against its history.
#[derive(Clone, Debug, PartialEq)]
pub struct TaskSnapshot {
    /// The task.
    pub task: TaskId,
    /// Status.
    pub status: Status,
    /// Epoch.
    pub epoch: Epoch,
    /// Attempts that ended by themselves.
    pub ended: i32,
    /// Crashes in a row.
    pub crashes: i32,
    /// How often it may end by itself.
    pub max_attempts: i32,
    /// The number of its last event, and how many there are from 1 on.
    pub events: (i64, i64),
    /// What it cost, and what each attempt cost by its epoch.
    pub cost: Option<Usd>,
    /// By epoch.
    pub attempt_costs: Vec<(Epoch, Usd)>,
    /// Of a completed task: whether its last `result` is one without error, behind at least one
    /// answer of the model.
    pub well_completed: bool,
}
