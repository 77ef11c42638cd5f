//! Tasks that are connected by dependencies.

use domain::{Condition, DependencyState, OnFailure, Status, TaskId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The tasks that one is connected with by dependencies, and what depends on what.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TaskGraph {
    /// The task that was asked for.
    pub task_id: TaskId,
    /// The tasks, nearest first; the one that was asked for is among them.
    pub tasks: Vec<GraphTask>,
    /// The dependencies between these.
    pub edges: Vec<GraphEdge>,
    /// True if there are more tasks than were asked for.
    pub more: bool,
}

/// A task of a graph.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphTask {
    /// The task.
    pub task_id: TaskId,
    /// Name that its client gave it.
    pub name: Option<String>,
    /// First line of its instruction, at most 120 characters.
    pub title: String,
    /// Status.
    pub status: Status,
}

/// A dependency between two tasks of a graph.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GraphEdge {
    /// The task that waits.
    pub task: TaskId,
    /// The task that it waits for.
    pub depends_on: TaskId,
    /// End that is waited for.
    pub on: Condition,
    /// What happens where it should complete, and does not.
    pub on_failure: OnFailure,
    /// State of the dependency.
    pub state: DependencyState,
}
