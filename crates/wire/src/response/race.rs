//! Races.

use domain::{Pick, Status, TaskId, Timestamp, Usd};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::TaskView;

/// Progress of a race.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, strum::IntoStaticStr)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum RaceProgress {
    /// Contenders run, or the judge.
    Open,
    /// A person must choose.
    NeedsPick,
    /// A contender has won.
    Won,
    /// No contender has completed.
    Lost,
}

/// A race: its contenders, side by side.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RaceView {
    /// The race: the id of its first contender.
    pub race_id: TaskId,
    /// Rule by which the winner is chosen.
    pub pick: Pick,
    /// Progress.
    pub state: RaceProgress,
    /// The contender that has won.
    pub winner: Option<TaskId>,
    /// US dollars of all contenders so far.
    #[schema(value_type = f64)]
    pub cost_usd: Usd,
    /// Contenders, in order.
    pub contenders: Vec<ContenderView>,
    /// The task that judges.
    pub judge_task_id: Option<TaskId>,
    /// The judge's reason.
    pub judge_says: Option<String>,
}

/// A contender of a race.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ContenderView {
    /// 1, 2, 3 …
    pub place: i64,
    /// The task.
    pub task_id: TaskId,
    /// True if it has won, false if it has not; `null` while the race is open.
    pub won: Option<bool>,
    /// Model, where one was asked for.
    pub model: Option<String>,
    /// Status of the task.
    pub status: Status,
    /// Code of its failure.
    pub error_code: Option<String>,
    /// Beginning of its result.
    pub result: Option<String>,
    /// True if its work was checked and has passed; `null` where none of it was checked.
    pub verified: Option<bool>,
    /// Number of checks.
    pub rounds: i64,
    /// Files that it has changed; `null` where that is not known.
    pub files: Option<i64>,
    /// Lines that it has added.
    pub additions: Option<i64>,
    /// Lines that it has removed.
    pub deletions: Option<i64>,
    /// Branch of its worktree.
    pub branch: Option<String>,
    /// US dollars, of all attempts.
    pub cost_usd: Option<Usd>,
    /// Start of its first attempt.
    pub started_at: Option<Timestamp>,
    /// Time of its end.
    pub completed_at: Option<Timestamp>,
}

/// Bytes of a result that a race shows.
const MAX_RESULT_BYTES: usize = 2 << 10;

impl ContenderView {
    /// The contender at this place.
    #[must_use]
    pub fn of(task: &TaskView<'_>, place: i64, won: Option<bool>) -> Self {
        let changes = task.changes.as_deref();
        let count = |name: &str| changes.and_then(|changes| changes[name].as_i64());
        let files = changes.map(|changes| match &changes["files"] {
            Value::Array(files) => files.len() as i64,
            count => count.as_i64().unwrap_or_default(),
        });
        let result = task.result.as_deref().map(|text| text[..text.floor_char_boundary(MAX_RESULT_BYTES)].to_owned());
        let verification = task.verification.as_deref();
        Self {
            place,
            task_id: task.task_id,
            won,
            model: task.options.sdk.model.clone(),
            status: task.status,
            error_code: task.error.as_ref().map(|error| error.code.clone().into_owned()),
            result,
            verified: verification.map(|verification| verification.passed),
            rounds: verification.map_or(0, |verification| verification.rounds.len() as i64),
            files,
            additions: count("additions"),
            deletions: count("deletions"),
            branch: changes.and_then(|changes| changes["branch"].as_str()).map(str::to_owned),
            cost_usd: task.cost_so_far,
            started_at: task.started_at,
            completed_at: task.completed_at,
        }
    }
}
