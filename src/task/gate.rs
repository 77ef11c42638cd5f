//! What holds a task back that is due: its folder is taken, or its money is spent. Pure.

use std::collections::HashMap;

/// A day's limits, in US dollars.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budgets {
    /// Of all keys together.
    pub server: Option<f64>,
    /// Of each key.
    pub key: Option<f64>,
    /// What a task may cost that sets no `maxBudgetUsd`, while there is a limit.
    pub task: f64,
}

impl Budgets {
    /// Whether there is a limit at all.
    #[must_use]
    pub const fn are_set(&self) -> bool {
        self.server.is_some() || self.key.is_some()
    }

    /// What all attempts of a task together may cost; `None` is without a limit.
    #[must_use]
    pub fn of_task(&self, max_budget_usd: Option<f64>) -> Option<f64> {
        max_budget_usd.or(self.are_set().then_some(self.task))
    }

    /// The smaller of a day's limits.
    #[must_use]
    pub fn of_day(&self) -> Option<f64> {
        match (self.server, self.key) {
            (Some(server), Some(key)) => Some(server.min(key)),
            (one, other) => one.or(other),
        }
    }
}

/// A task that could start.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Where it works.
    pub directory: String,
    /// Whether nobody else may work there meanwhile.
    pub exclusive: bool,
    /// Whose task it is.
    pub key: String,
    /// The most that its next attempt may cost.
    pub reserves: f64,
}

/// What a task waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Another task works in its folder.
    Directory(String),
    /// The day's money of this key, or with an empty name of the server, is spent or reserved.
    Budget(String),
}

impl Hold {
    /// Its name in the database.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Directory(directory) => format!("directory:{directory}"),
            Self::Budget(key) => format!("budget:{key}"),
        }
    }
}

/// What is left for tasks to start with.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Folders where tasks run, and whether one of them wants to be alone.
    pub busy: HashMap<String, bool>,
    /// The limits.
    pub budgets: Budgets,
    /// Spent today and reserved by what runs: by key.
    pub used: HashMap<String, f64>,
}

impl Room {
    /// Lets a task in, and takes what it needs.
    ///
    /// # Errors
    /// What it must wait for.
    pub fn admit(&mut self, task: &Candidate) -> Result<(), Hold> {
        if self.busy.get(&task.directory).is_some_and(|alone| *alone || task.exclusive) {
            return Err(Hold::Directory(task.directory.clone()));
        }
        let over = |limit: Option<f64>, used: f64| limit.is_some_and(|limit| used + task.reserves > limit + 1e-9);
        let own = self.used.get(&task.key).copied().unwrap_or_default();
        if over(self.budgets.key, own) {
            return Err(Hold::Budget(task.key.clone()));
        }
        if over(self.budgets.server, self.used.values().sum()) {
            return Err(Hold::Budget(String::new()));
        }
        *self.busy.entry(task.directory.clone()).or_default() |= task.exclusive;
        if self.budgets.are_set() {
            *self.used.entry(task.key.clone()).or_default() += task.reserves;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn candidate(directory: u8, exclusive: bool, key: u8, reserves: u8) -> Candidate {
        let (directory, key) = (format!("/{directory}"), format!("key-{key}"));
        Candidate { directory, exclusive, key, reserves: f64::from(reserves) }
    }

    proptest! {
        #[test]
        fn nobody_disturbs_who_wants_to_be_alone_and_no_limit_is_passed(
            tasks in prop::collection::vec((0u8..4, any::<bool>(), 0u8..3, 0u8..9), 0..40),
            (server, key) in (0u8..60, 0u8..30),
        ) {
            let budgets = Budgets { server: Some(server.into()), key: Some(key.into()), task: 1.0 };
            let mut room = Room { budgets, ..Room::default() };
            let mut inside: Vec<Candidate> = Vec::new();
            for (directory, exclusive, key, reserves) in tasks {
                let task = candidate(directory, exclusive, key, reserves);
                if room.admit(&task).is_ok() {
                    inside.push(task);
                }
            }
            for (at, one) in inside.iter().enumerate() {
                let others = inside.iter().enumerate().filter(|(other, task)| *other != at && task.directory == one.directory);
                prop_assert!(!one.exclusive || others.count() == 0);
            }
            prop_assert!(inside.iter().map(|task| task.reserves).sum::<f64>() <= f64::from(server));
            for name in ["key-0", "key-1", "key-2"] {
                let own = inside.iter().filter(|task| task.key == name).map(|task| task.reserves).sum::<f64>();
                prop_assert!(own <= f64::from(key));
            }
        }
    }

    #[test]
    fn without_limits_only_folders_count() {
        let mut room = Room::default();
        assert_eq!(room.admit(&candidate(1, false, 0, 200)), Ok(()));
        assert_eq!(room.admit(&candidate(1, false, 0, 200)), Ok(()));
        assert_eq!(room.admit(&candidate(1, true, 0, 0)), Err(Hold::Directory("/1".into())));
    }
}
