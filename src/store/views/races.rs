//! Races, as they are read.

use domain::{Contender, TaskId};

/// A race.
#[derive(Clone, Debug)]
pub struct Race {
    /// Its first task, whose name it has.
    pub id: TaskId,
    /// Its tasks by their places; the judge, where there is one, first.
    pub entries: Vec<RaceEntry>,
}

/// A task of a race.
#[derive(Clone, Debug)]
pub struct RaceEntry {
    /// The task.
    pub task: Contender,
    /// True if it has won, false if another or none has; `None` while it is open.
    pub won: Option<bool>,
}

impl Race {
    /// The race of these tasks, each with the name of its race; `None` where there are none.
    pub fn of(rows: Vec<(TaskId, RaceEntry)>) -> Option<Self> {
        let id = rows.first()?.0;
        Some(Self { id, entries: rows.into_iter().map(|(_, entry)| entry).collect() })
    }

    /// True if it is known who has won, or that nobody has.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.entries.iter().any(|entry| entry.won.is_some())
    }

    /// Returns the task that has won.
    #[must_use]
    pub fn winner(&self) -> Option<TaskId> {
        self.entries.iter().find(|entry| entry.won == Some(true)).map(|entry| entry.task.task)
    }
}
