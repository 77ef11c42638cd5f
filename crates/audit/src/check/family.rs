//! Tasks that were made from inside running ones.

use super::{Audit, Picture};
use domain::{MAX_DEPTH, TaskId, Usd};

/// Number of the promise.
const PROMISE: u8 = 21;

impl Audit {
    /// Checks that a new task fits below the one from inside which it was made. One from before the history is not judged.
    pub(super) fn made_inside(&mut self, task: TaskId, parent: TaskId, budget: Option<Usd>) {
        let Some(above) = self.tasks.get(&parent) else { return };
        let (runs, most) = (above.lease.is_some(), above.budget);
        let used = above.cost() + self.used_below(parent);
        if !runs {
            self.broken(PROMISE, task, format!("was made from inside task {parent}, which did not run"));
        }
        let depth = i64::try_from(self.above(parent)).unwrap_or(i64::MAX);
        if depth >= MAX_DEPTH {
            self.broken(PROMISE, task, format!("was made from inside task {parent}, which has {depth} above it"));
        }
        if let Some(most) = most
            && budget.is_none_or(|budget| used + budget > most)
        {
            let asked = budget.map_or_else(|| "no budget".to_owned(), |budget| format!("a budget of {budget}"));
            self.broken(
                PROMISE,
                task,
                format!("has {asked}; of the budget of {most} of task {parent}, {used} was used already"),
            );
        }
        self.children.entry(parent).or_default().push(task);
    }

    /// Number of tasks above one.
    fn above(&self, task: TaskId) -> usize {
        let parent = |task: &TaskId| self.tasks.get(task).and_then(|picture| picture.parent);
        // A circle is no family, and is told of as too deep.
        std::iter::successors(parent(&task), parent).take(MAX_DEPTH as usize + 1).count()
    }

    /// What the children of a task have of its budget.
    fn used_below(&self, task: TaskId) -> Usd {
        let children = self.children.get(&task).into_iter().flatten();
        let pictures = children.filter_map(|child| Some((*child, self.tasks.get(child)?)));
        pictures
            .map(|(child, picture)| match picture.terminal {
                None => picture.budget.unwrap_or_default(),
                Some(_) => picture.cost() + self.used_below(child),
            })
            .sum()
    }

    /// Checks that no task goes on whose parent was cancelled.
    pub(super) fn left_alone(&mut self) {
        let is_left = |picture: &Picture| {
            let parent = picture.parent.and_then(|parent| self.tasks.get(&parent));
            picture.terminal.is_none() && parent.is_some_and(|parent| parent.cancelled.is_some())
        };
        let left: Vec<TaskId> = self.tasks.iter().filter(|(_, picture)| is_left(picture)).map(|(id, _)| *id).collect();
        for task in left {
            self.broken(PROMISE, task, "goes on, and the task from inside which it was made was cancelled");
        }
    }
}

impl Picture {
    /// Cost of its attempts.
    fn cost(&self) -> Usd {
        self.costs.values().copied().sum()
    }
}
