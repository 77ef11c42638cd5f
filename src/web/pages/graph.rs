//! The tasks that one depends on, and those that depend on it.

use super::super::door::{Turned, Visitor};
use super::super::render::{Html, Node, graph};
use crate::api::{Shared, graph_of};
use domain::{DependencyState, Named as _, TaskId};
use wire::Task;
use wire::response::{GraphEdge, GraphTask, TaskGraph};

/// Tasks of a picture.
const MOST: i64 = 200;

/// A dependency, from the side of one of its tasks.
pub struct Neighbour {
    pub id: TaskId,
    pub name: String,
    pub status: &'static str,
    pub sign: &'static str,
    pub needs: &'static str,
    pub on_failure: &'static str,
    pub state: &'static str,
}

/// Neighbours before a task, or behind it.
pub struct Side {
    pub title: &'static str,
    pub tasks: Vec<Neighbour>,
}

/// What the page shows.
pub struct Neighbours {
    pub picture: Html,
    /// Those that there are.
    pub sides: Vec<Side>,
    /// True if there are more tasks.
    pub more: bool,
}

/// Reads the tasks round one.
pub async fn neighbours(shared: &Shared, visitor: &Visitor, task: &Task) -> Result<Neighbours, Turned> {
    let TaskGraph { tasks, edges, more, .. } = graph_of(shared, &visitor.caller, task.id, MOST).await?;
    let place = |id: TaskId| tasks.iter().position(|one| one.task_id == id);
    let lines: Vec<_> = edges
        .iter()
        .filter_map(|edge| Some((place(edge.task)?, place(edge.depends_on)?, edge.state == DependencyState::Open)))
        .collect();
    let of = |id: TaskId, edge: &GraphEdge| Some(neighbour(&tasks[place(id)?], edge));
    let before = edges.iter().filter(|edge| edge.task == task.id).filter_map(|edge| of(edge.depends_on, edge));
    let after = edges.iter().filter(|edge| edge.depends_on == task.id).filter_map(|edge| of(edge.task, edge));
    let nodes: Vec<Node> = tasks.iter().map(|one| node(one, task.id)).collect();
    let mut sides = vec![
        Side { title: "It waits for", tasks: before.collect() },
        Side { title: "These wait for it", tasks: after.collect() },
    ];
    sides.retain(|side| !side.tasks.is_empty());
    Ok(Neighbours { picture: graph(&nodes, &lines), sides, more })
}

fn name(task: &GraphTask) -> String {
    task.name.clone().unwrap_or_else(|| task.title.clone())
}

fn node(task: &GraphTask, here: TaskId) -> Node {
    Node {
        link: format!("/tasks/{}?part=dependencies", task.task_id),
        name: name(task),
        status: (task.status.name(), task.status.sign()),
        is_here: task.task_id == here,
    }
}

fn neighbour(task: &GraphTask, edge: &GraphEdge) -> Neighbour {
    Neighbour {
        id: task.task_id,
        name: name(task),
        status: task.status.name(),
        sign: task.status.sign(),
        needs: edge.on.name(),
        on_failure: edge.on_failure.name(),
        state: edge.state.name(),
    }
}
