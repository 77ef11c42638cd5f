//! Changes of tasks in the order in which they were committed: written beside every change, in the same transaction,
//! and read by the [checker](super::Audit).

use serde::{Deserialize, Serialize};

use domain::{
    AttemptOutcome, BootId, Epoch, FailureClass, FileId, Group, LeaseKey, Limit, Name, ScheduleId, Status, TaskId, Usd,
    WorkerInstanceId,
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
    /// The change.
    pub did: HistoryEvent,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "did", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum HistoryEvent {
    /// A line that can't be read whole.
    #[serde(skip)]
    Unread {
        /// Reason.
        why: String,
    },
    /// A task was stored.
    Submit {
        /// The task.
        task: TaskId,
        /// Higher starts first.
        priority: i64,
        /// Earliest start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
        /// Maximum number of attempts that end by themselves.
        max_attempts: i32,
        /// The group that has a limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        concurrency_key: Option<String>,
        /// Labels that its worker must have, between commas.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        lane: String,
        /// The client's key for it, and the fingerprint of its request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<(String, String)>,
        /// Cause of the submit.
        #[serde(default, skip_serializing_if = "Source::is_client")]
        source: Source,
        /// Tasks that must end before it starts.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        waits: Vec<Wait>,
        /// Share whose turns it takes.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        share: String,
        /// Turns of the share for each one of a share of weight 1.
        #[serde(default = "one", skip_serializing_if = "is_one")]
        weight: i64,
        /// Files that it names.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<NamedFile>,
        /// True if its work counts only when it was checked.
        #[serde(default, skip_serializing_if = "is_false")]
        verify: bool,
        /// The running task from inside which it was made.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        parent: Option<TaskId>,
        /// US dollars that all of its attempts may cost together.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        budget: Option<Usd>,
    },
    /// A race of tasks was stored, which has the name of its first.
    StartRace {
        /// The race.
        race: TaskId,
        /// Its contenders.
        tasks: Vec<TaskId>,
    },
    /// A race was decided.
    DecideRace {
        /// The race.
        race: TaskId,
        /// The contender that has won; none where none has completed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        winner: Option<TaskId>,
    },
    /// A file is there, whole.
    PutFile {
        /// The file.
        #[serde(flatten)]
        file: NamedFile,
    },
    /// A file is there no more.
    RemoveFile {
        /// The file.
        #[serde(flatten)]
        file: NamedFile,
    },
    /// A pending task is to start sooner, or later.
    Amend {
        /// The task.
        task: TaskId,
        /// Higher starts first.
        priority: i64,
        /// Earliest start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// A retry stands for its task from now on, for those that wait for one.
    Repoint {
        /// The retry.
        task: TaskId,
        /// The task that it repeats.
        from: TaskId,
        /// Those that wait.
        tasks: Vec<TaskId>,
    },
    /// A client has let a task go that waited for others.
    Waive {
        /// The task.
        task: TaskId,
    },
    /// The time of pending tasks had come, by the clock of the process that wrote it.
    Due {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Pending tasks go on before their time, because the cause of their wait is over.
    Wake {
        /// The tasks.
        tasks: Vec<TaskId>,
    },
    /// Pending tasks that were due may not start yet.
    Hold {
        /// The tasks.
        tasks: Vec<TaskId>,
        /// Cause of the wait.
        why: String,
        /// Earliest start.
        due: i64,
    },
    /// A worker took it.
    Claim {
        /// The task, and the new epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// The worker.
        holder: WorkerInstanceId,
        /// The credential.
        #[serde(default)]
        credential: String,
        /// The labels of the worker, between commas.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        labels: String,
        /// The number of the attempt.
        attempt: i32,
        /// The end of the lease, on the clock of the boot.
        expires: i64,
    },
    /// Leases were moved ahead.
    Renew {
        /// The leases.
        leases: Vec<LeaseKey>,
        /// End of the leases, on the clock of the boot.
        expires: i64,
    },
    /// A worker has left, and its attempts run on, for another one to take over.
    HandOver {
        /// The leases.
        leases: Vec<LeaseKey>,
        /// The worker that has left.
        holder: WorkerInstanceId,
        /// End of the leases, on the clock of the boot.
        expires: i64,
    },
    /// A worker took over an attempt that was handed over.
    Adopt {
        /// The task and the epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// The worker.
        holder: WorkerInstanceId,
        /// End of the lease, on the clock of the boot.
        expires: i64,
    },
    /// An attempt was reported.
    Finish {
        /// The task and the epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// Outcome of the attempt.
        outcome: AttemptOutcome,
        /// True if it counted as an end by itself, as a crash, or as nothing.
        counts: Counts,
        /// Class of the failure.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        class: Option<Name<FailureClass>>,
        /// US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Usd>,
        /// New status of the task.
        to: Status,
        /// Earliest start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
        /// True if its work was checked, and has passed.
        #[serde(default, skip_serializing_if = "is_false")]
        verified: bool,
    },
    /// Cost of an attempt that had ended without one: from a report that came too late to count, or as far as it is known of
    /// one whose worker died.
    LateCost {
        /// The task and the epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// US dollars.
        cost: Usd,
    },
    /// A worker gave it back.
    Release {
        /// The task and the epoch.
        #[serde(flatten)]
        lease: LeaseKey,
        /// Reason of the release.
        reason: String,
        /// US dollars.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Usd>,
        /// Earliest start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// The task was taken back from a worker that died, or whose lease had ended.
    TakeBack {
        /// The task and the epoch under which it ran.
        #[serde(flatten)]
        lease: LeaseKey,
        /// True if the worker was known to be dead.
        died: bool,
        /// New status of the task.
        to: Status,
        /// Earliest start.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        due: Option<i64>,
    },
    /// A client called it off.
    Cancel {
        /// The task, and its epoch from now on.
        #[serde(flatten)]
        lease: LeaseKey,
    },
    /// Claims were held back, or let go on.
    Pause {
        /// True if it was paused, false if it goes on.
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
        /// Limit from now on.
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
        /// End of the time, by the wall clock.
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
    /// True if it is about this task, alone or among others.
    #[must_use]
    pub fn is_about(&self, task: TaskId) -> bool {
        match self {
            Self::Due { tasks } | Self::Wake { tasks } | Self::Hold { tasks, .. } | Self::Prune { tasks } => {
                tasks.contains(&task)
            }
            Self::Renew { leases, .. } | Self::HandOver { leases, .. } => leases.iter().any(|lease| lease.task == task),
            Self::Fire { made, .. } => *made == Some(task),
            Self::StartRace { tasks, .. } => tasks.contains(&task),
            Self::DecideRace { race, winner } => *race == task || *winner == Some(task),
            Self::Repoint { task: retry, tasks, .. } => *retry == task || tasks.contains(&task),
            _ => self.task() == Some(task),
        }
    }

    /// The task that it is about, where it is about one.
    #[must_use]
    pub const fn task(&self) -> Option<TaskId> {
        match self {
            Self::Submit { task, .. }
            | Self::Amend { task, .. }
            | Self::Repoint { task, .. }
            | Self::Waive { task } => Some(*task),
            Self::Claim { lease, .. }
            | Self::Adopt { lease, .. }
            | Self::Finish { lease, .. }
            | Self::LateCost { lease, .. }
            | Self::Release { lease, .. }
            | Self::TakeBack { lease, .. }
            | Self::Cancel { lease } => Some(lease.task),
            Self::Unread { .. }
            | Self::Renew { .. }
            | Self::HandOver { .. }
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
            | Self::StartRace { .. }
            | Self::DecideRace { .. }
            | Self::PutFile { .. }
            | Self::RemoveFile { .. }
            | Self::Drain { .. } => None,
        }
    }
}

const fn one() -> i64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_one(weight: &i64) -> bool {
    *weight == 1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
const fn is_false(value: &bool) -> bool {
    !*value
}

/// Task that must end before another one starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Wait {
    /// The task.
    pub task: TaskId,
    /// True if any end will do; otherwise it must complete.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub any_end: bool,
}

/// A file of a key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct NamedFile {
    /// Name of the key.
    pub key: String,
    /// Digest of its content.
    pub id: FileId,
}

/// Cause of a submit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "snake_case")]
pub enum Source {
    /// A client asked for it.
    #[default]
    Api,
    /// A client asked that an ended task run again.
    Retry,
    /// A schedule has fired.
    Schedule,
    /// A cause that this version doesn't know.
    #[serde(other)]
    Other,
}

impl Source {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
    fn is_client(&self) -> bool {
        *self == Self::Api
    }
}

/// Meaning of an attempt's end for the counts.
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

/// Observation of one process tree by its shim, written to a file on the shim's machine.
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

/// State of a task in the tables, to be held against its history.
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
    /// Maximum number of attempts that end by themselves.
    pub max_attempts: i32,
    /// The number of its last event, and how many there are from 1 on.
    pub events: (i64, i64),
    /// Cost of the task, and of each attempt by its epoch.
    pub cost: Option<Usd>,
    /// Costs by epoch.
    pub attempt_costs: Vec<(Epoch, Usd)>,
    /// Of a completed task: true if its last `result` is one without error, behind at least one answer of the model.
    pub well_completed: bool,
}
