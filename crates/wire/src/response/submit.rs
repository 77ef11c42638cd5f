//! Receipts of stored tasks.

use domain::{Status, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Task;

/// A task that was stored.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Receipt {
    /// The task.
    pub task_id: TaskId,
    /// Status of the task.
    pub status: Status,
    /// Time at which the task was stored.
    pub created_at: Timestamp,
    /// Priority, 0 to 100.
    pub priority: i64,
    /// Folder of the task; `null` where it gets an empty one.
    pub working_directory: Option<String>,
    /// The task that this one repeats.
    pub retry_of: Option<TaskId>,
    /// Of a race: its contenders, this one first, and its judge behind them.
    #[schema(nullable = false)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub race: Option<Vec<TaskId>>,
}

impl Receipt {
    /// The receipt of a task.
    #[must_use]
    pub fn of(task: &Task) -> Self {
        Self {
            task_id: task.id,
            status: task.status,
            created_at: task.created_at,
            priority: task.spec.priority,
            working_directory: task.working_directory.clone(),
            retry_of: task.retry_of,
            race: None,
        }
    }
}

/// Tasks that were stored together.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BatchReceipt {
    /// Receipts, in the order of the request.
    pub tasks: Vec<Receipt>,
}
