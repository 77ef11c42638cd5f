//! Many tasks changed at once.

use domain::TaskId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Report of a change of many tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BulkReport {
    /// Number of tasks that the filter had, of those that the action is for.
    pub matched: i64,
    /// Tasks that were changed.
    pub done: i64,
    /// Tasks that had moved on meanwhile, and tasks that were run again before.
    pub skipped: i64,
    /// Tasks that could not be changed.
    pub refused: i64,
    /// Reason of the first refusal.
    pub refusal: Option<String>,
    /// Send it as `cursor`, with the rest unchanged, to go on; `null` where nothing is left.
    pub next_cursor: Option<TaskId>,
}
