//! Dependencies of tasks, as they are read.

use std::collections::HashSet;

use crate::store::rows::DependencyRow;
use domain::{Status, TaskId};
use wire::response::GraphEdge;

/// Dependencies that are read with a task.
pub const MAX_DEPENDENCIES_SHOWN: i64 = 1_000;

/// Reads dependencies of a task, in order.
#[derive(Clone, Copy, Debug)]
pub struct ReadDependencies {
    /// The dependent.
    pub task: TaskId,
    /// Maximum number of them.
    pub limit: i64,
    /// True if only those with a name are meant, with what they left.
    pub results: bool,
}

/// A dependency, and where its task stands.
#[derive(Clone, Debug)]
pub struct Dependency {
    /// The dependency.
    pub row: DependencyRow,
    /// Status of the task that it is on; `None` where that is not there any more.
    pub status: Option<Status>,
    /// Text of its result, where that was asked for.
    pub result: Option<String>,
    /// Its result as its schema wants it, as JSON.
    pub structured_output: Option<String>,
}

impl Dependency {
    /// The dependency as it is shown; words of another version read as the defaults.
    #[must_use]
    pub fn shown(self) -> wire::Dependency {
        let Self { row, status, .. } = self;
        let GraphEdge { depends_on: task, on, on_failure, state, .. } = row.edge();
        wire::Dependency { task, on, on_failure, name: row.name, state, status }
    }
}

/// Reads the tasks round one: those that it is connected with by dependencies, nearest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadGraph {
    /// The task.
    pub task: TaskId,
    /// Maximum number of tasks.
    pub limit: i64,
}

/// A task among those that it is connected with.
#[derive(Clone, Debug)]
pub struct GraphTask {
    /// The task.
    pub id: TaskId,
    /// Name of its key.
    pub key: String,
    /// Status.
    pub status: Status,
    /// Name that its client gave it.
    pub name: Option<String>,
    /// Beginning of its instruction.
    pub instruction: String,
}

impl GraphTask {
    /// A task, as its columns say; `None` where its status is none of this version's.
    pub fn of(
        id: TaskId,
        key: String,
        status: Option<Status>,
        name: Option<String>,
        instruction: Option<String>,
    ) -> Option<Self> {
        Some(Self { id, key, status: status?, name, instruction: instruction.unwrap_or_default() })
    }
}

/// Tasks that are connected by dependencies.
#[derive(Clone, Debug, Default)]
pub struct TaskGraph {
    /// The tasks.
    pub tasks: Vec<GraphTask>,
    /// The dependencies between them.
    pub dependencies: Vec<DependencyRow>,
    /// True if there are more tasks than were asked for.
    pub more: bool,
}

impl TaskGraph {
    /// Leaves out dependencies on or of tasks that are not among these.
    pub fn keep_known(&mut self) {
        let known: HashSet<TaskId> = self.tasks.iter().map(|task| task.id).collect();
        self.dependencies.retain(|one| known.contains(&one.task_id) && known.contains(&one.on_task));
    }
}
