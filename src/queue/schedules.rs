//! Messages to [`QueueActor`](super::QueueActor) about schedules.

use super::messages::{Submit, Submitted, answers};
use crate::store::views::{LastTask, ReadRuns, Schedule, ScheduleRun};
use domain::{ScheduleId, Status, TaskId, Timestamp};
use wire::Task;

answers! {
    PutSchedule => SchedulePut;
    RemoveSchedule => bool;
    Fire => Fired;
    Replan => bool;
    NextFiring => (Timestamp, Option<Timestamp>);
    DueSchedules => Vec<Schedule>;
    ReadSchedules => Vec<Schedule>;
    FindSchedule => Option<Schedule>;
    ReadRuns => Vec<ScheduleRun>;
    LastTask => Option<(TaskId, Status)>;
}

/// Stores a schedule, new or in place of the one of the same id; its next firing counts where it is new, or
/// where its timetable or whether it fires was changed.
#[derive(Clone, Debug)]
pub struct PutSchedule {
    pub schedule: Box<Schedule>,
    /// True if it is a new one.
    pub new: bool,
    /// Maximum number of schedules of its key.
    pub most: Option<u32>,
}

/// Result of storing a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SchedulePut {
    /// The schedule is stored.
    Stored,
    /// The one that is to be changed is not there any more.
    Gone,
    /// Its key has the maximum number of schedules.
    Full,
}

/// Removes a schedule with its history; its tasks stay. Answered with whether there was one.
#[derive(Clone, Copy, Debug)]
pub struct RemoveSchedule(pub ScheduleId);

/// Moves the firing to come of a schedule, after the clock was set back. Answered false where it is another one by now.
#[derive(Clone, Copy, Debug)]
pub struct Replan {
    pub schedule: ScheduleId,
    /// The firing that was to come.
    pub was: Timestamp,
    /// The one that is.
    pub next: Timestamp,
}

/// A schedule fires: its task is stored, its history written and its next firing set, all in one.
#[derive(Clone, Debug)]
pub struct Fire {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The firing, which counts once; `None` where it was asked for by a request.
    pub due: Option<Timestamp>,
    /// The firing after it.
    pub next: Option<Timestamp>,
    /// Action.
    pub firing: Firing,
    /// Detail in words, for the history.
    pub detail: Option<String>,
}

/// Action of a firing.
#[derive(Clone, Debug)]
pub enum Firing {
    /// A task is stored.
    Submit(Box<Submit>),
    /// Nothing: the time had passed.
    Missed,
    /// Nothing: the previous task has not ended.
    Skipped,
    /// Nothing: the task can't be stored as it is.
    Refused,
}

/// Result of a firing.
#[derive(Debug)]
pub enum Fired {
    /// The task.
    Submitted(Box<Task>),
    /// The history was written, and nothing else.
    Noted,
    /// The queue has not taken the task, and the firing is still to come.
    NotTaken(Submitted),
    /// Another process was first, or the schedule has changed.
    Stale,
}

/// Asks for the clock of the store, and for the time of the next firing.
#[derive(Clone, Copy, Debug)]
pub struct NextFiring;

/// Reads the schedules that fire by now.
#[derive(Clone, Copy, Debug)]
pub struct DueSchedules;

/// Reads the schedules, of all keys or of one, oldest first.
#[derive(Clone, Debug)]
pub struct ReadSchedules(pub Option<String>);

/// Reads a schedule.
#[derive(Clone, Copy, Debug)]
pub struct FindSchedule(pub ScheduleId);
