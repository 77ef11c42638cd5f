//! Schedules.

use std::borrow::Cow;

use domain::{Missed, Overlap, RunOutcome, ScheduleId, Status, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::TaskSpec;

/// A schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Schedule<'a> {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// Name for people.
    pub name: Option<Cow<'a, str>>,
    /// Cron expression.
    pub cron: Cow<'a, str>,
    /// Zone of the IANA database.
    pub time_zone: Cow<'a, str>,
    /// Task to submit.
    pub task: Cow<'a, TaskSpec>,
    /// Policy for firings whose time has passed while no server ran.
    pub missed: Missed,
    /// Policy for a firing while the previous task has not ended.
    pub overlap: Overlap,
    /// True if each task goes on with the session of the last one that completed.
    pub continue_session: bool,
    /// True if it fires.
    pub enabled: bool,
    /// The firing to come; `null` while it is disabled.
    pub next_run_at: Option<Timestamp>,
    /// Time at which it was created.
    pub created_at: Timestamp,
    /// Reason for which this version of the program can't read it, and no longer fires it.
    pub unreadable: Option<Cow<'a, str>>,
}

/// All schedules.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Schedules<'a> {
    /// The schedules, oldest first.
    pub schedules: Vec<Schedule<'a>>,
}

/// Firings of a schedule.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Runs {
    /// The schedule.
    pub schedule_id: ScheduleId,
    /// Firings, newest first.
    pub runs: Vec<Run>,
}

/// A firing.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Time at which it was due; `null` where it was asked for by `…/run`.
    pub due_at: Option<Timestamp>,
    /// Time of the firing.
    pub fired_at: Timestamp,
    /// `submitted`, `missed`, `skipped` or `refused`.
    #[schema(value_type = String)]
    pub outcome: domain::Name<RunOutcome>,
    /// The task that was submitted.
    pub task_id: Option<TaskId>,
    /// Status of the task; `null` where it was removed.
    pub task_status: Option<Status>,
    /// A remark for people.
    pub detail: Option<String>,
}

/// The next firings of a timetable.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Preview {
    /// The cron expression.
    pub cron: String,
    /// The time zone.
    pub time_zone: String,
    /// Times, in order.
    pub firings: Vec<Timestamp>,
}
