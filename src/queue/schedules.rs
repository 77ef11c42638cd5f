//! What [`QueueActor`](super::QueueActor) is asked about schedules.

use super::messages::{Submit, Submitted, answers};
use crate::task::{Missed, Overlap, Status, Task, TaskId, TaskSpec, Wall};

answers! {
    PutSchedule => bool;
    RemoveSchedule => bool;
    Fire => Fired;
    Replan => bool;
    NextFiring => Option<Wall>;
    DueSchedules => Vec<Schedule>;
    ReadSchedules => Vec<Schedule>;
    FindSchedule => Option<Schedule>;
    ReadRuns => Vec<Run>;
    LastTask => Option<(TaskId, Status)>;
}

/// The name of a schedule: a UUID of version 7.
pub type ScheduleId = uuid::Uuid;

/// A task that is submitted by the clock.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Its name.
    pub id: ScheduleId,
    /// What people call it.
    pub name: Option<String>,
    /// When it fires.
    pub cron: String,
    /// On whose clock.
    pub time_zone: String,
    /// What is submitted; validated.
    pub spec: TaskSpec,
    /// Why the stored schedule can't be fired; `None` where all of it could be read.
    pub unreadable: Option<String>,
    /// Whose tasks they are: the name of the client's key.
    pub key: String,
    /// What becomes of firings that nobody was there for.
    pub missed: Missed,
    /// What becomes of a firing while the task of the one before has not ended.
    pub overlap: Overlap,
    /// Whether each task goes on with the session of the last one that completed.
    pub continue_session: bool,
    /// Whether it fires.
    pub enabled: bool,
    /// The firing to come.
    pub next_at: Option<Wall>,
    /// When it was made.
    pub created_at: Wall,
}

/// Stores a schedule, new or in place of the one of the same id; its next firing counts where it is new, or
/// where its timetable or whether it fires was changed. Answered false where one that is to be changed is not there
/// any more: who deletes it wins.
#[derive(Clone, Debug)]
pub struct PutSchedule {
    /// The schedule.
    pub schedule: Box<Schedule>,
    /// True if it is a new one.
    pub new: bool,
}

/// Removes a schedule with its history; its tasks stay. Answered with whether there was one.
#[derive(Clone, Copy, Debug)]
pub struct RemoveSchedule(pub ScheduleId);

/// Moves the firing to come of a schedule, after the clock was set back. Answered false where it is another one by now.
#[derive(Clone, Copy, Debug)]
pub struct Replan {
    /// The schedule.
    pub schedule: ScheduleId,
    /// The firing that was to come.
    pub was: Wall,
    /// The one that is.
    pub next: Wall,
}

/// A schedule fires: its task is stored, its history written and its next firing set, all in one.
#[derive(Clone, Debug)]
pub struct Fire {
    /// Which.
    pub schedule: ScheduleId,
    /// The firing; whoever comes second with it changes nothing. `None`: somebody asked for it.
    pub due: Option<Wall>,
    /// The firing after it.
    pub next: Option<Wall>,
    /// What is done.
    pub firing: Firing,
    /// In words, for the history.
    pub detail: Option<String>,
}

/// What is done at a firing.
#[derive(Clone, Debug)]
pub enum Firing {
    /// A task is stored.
    Submit(Box<Submit>),
    /// Nothing: its time had passed.
    Missed,
    /// Nothing: the task before has not ended.
    Skipped,
    /// Nothing: the task can't be stored as it is.
    Refused,
}

/// What became of a firing.
#[derive(Debug)]
pub enum Fired {
    /// The task.
    Submitted(Box<Task>),
    /// Only the history was written.
    Noted,
    /// The queue has not taken the task, and the firing is still to come.
    NotTaken(Submitted),
    /// Somebody else was first, or the schedule has changed.
    Stale,
}

/// When the next schedule fires.
#[derive(Clone, Copy, Debug)]
pub struct NextFiring;

/// Reads the schedules that fire by now.
#[derive(Clone, Copy, Debug)]
pub struct DueSchedules;

/// Reads all schedules, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadSchedules;

/// Reads a schedule.
#[derive(Clone, Copy, Debug)]
pub struct FindSchedule(pub ScheduleId);

/// Reads what a schedule has done, newest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadRuns {
    /// Which.
    pub schedule: ScheduleId,
    /// At most so many.
    pub limit: u64,
}

/// What a schedule has done.
#[derive(Clone, Debug)]
pub struct Run {
    /// The firing; `None` where somebody asked for it.
    pub due_at: Option<Wall>,
    /// When it was done.
    pub fired_at: Wall,
    /// `submitted`, `missed`, `skipped` or `refused`.
    pub outcome: String,
    /// The task, and where it stands; `None` when it was removed.
    pub task: Option<(TaskId, Option<Status>)>,
    /// In words.
    pub detail: Option<String>,
}

/// Reads the newest task of a schedule, or the newest that has completed.
#[derive(Clone, Copy, Debug)]
pub struct LastTask {
    /// Which.
    pub schedule: ScheduleId,
    /// Only one that has completed.
    pub completed: bool,
}
