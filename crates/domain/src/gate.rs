//! Holds: reasons for which a due task is kept back. Its folder is taken, its money is spent, or a limit on one of its
//! groups is reached. Pure.

use std::collections::HashMap;

use crate::limit::{Group, Limit};
use crate::money::Usd;
use crate::time::Timestamp;

/// A day's limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budgets {
    /// Budget of all keys together.
    pub server: Option<Usd>,
    /// Budget of each key.
    pub key: Option<Usd>,
    /// Budget of a task that sets no `maxBudgetUsd`, while there is a limit.
    pub task: Usd,
}

impl Budgets {
    /// True if there is a limit at all.
    #[must_use]
    pub const fn are_set(&self) -> bool {
        self.server.is_some() || self.key.is_some()
    }

    /// Returns the budget of all attempts of a task together; `None` is without a limit.
    #[must_use]
    pub fn of_task(&self, max_budget_usd: Option<Usd>) -> Option<Usd> {
        max_budget_usd.or(self.are_set().then_some(self.task))
    }

    /// The smaller of a day's limits.
    #[must_use]
    pub fn of_day(&self) -> Option<Usd> {
        match (self.server, self.key) {
            (Some(server), Some(key)) => Some(server.min(key)),
            (one, other) => one.or(other),
        }
    }
}

/// A task that could start.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// Folder in which it works.
    pub directory: String,
    /// True if no other task may work there meanwhile.
    pub exclusive: bool,
    /// Name of the client's key.
    pub key: String,
    /// The most that its next attempt may cost.
    pub reserves: Usd,
    /// Groups to which it belongs.
    pub groups: Vec<Group>,
}

/// Hold: the reason for which a due task is kept back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Hold {
    /// Another task works in its folder.
    Directory(String),
    /// The day's money of this key, or with an empty name of the server, is spent or reserved.
    Budget(String),
    /// The group is paused.
    Paused(Group),
    /// The maximum number of tasks of this group run.
    Concurrency(Group),
    /// The maximum number of tasks of this group have started in the time that counts.
    Rate(Group),
    /// Tasks that it depends on have not ended.
    Dependencies,
}

impl Hold {
    /// Name of [`Hold::Dependencies`] in the database.
    pub const DEPENDENCIES: &str = "dependencies:";

    /// Name in the database.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Directory(directory) => format!("directory:{directory}"),
            Self::Budget(key) => format!("budget:{key}"),
            Self::Paused(group) => format!("paused:{group}"),
            Self::Concurrency(group) => format!("concurrency:{group}"),
            Self::Rate(group) => format!("rate:{group}"),
            Self::Dependencies => Self::DEPENDENCIES.to_owned(),
        }
    }
}

/// Rest of a limit.
#[derive(Clone, Debug, Default)]
pub struct GroupRoom {
    /// The limit.
    pub limit: Limit,
    /// Tasks of the group that run.
    pub running: u32,
    /// Starts of the group's tasks in the time that counts, and of those that wait; oldest first.
    pub starts: Vec<Timestamp>,
}

/// Rest of all limits and budgets.
#[derive(Clone, Debug, Default)]
pub struct Room {
    /// Folders where tasks run, and whether one of them wants to be alone.
    pub busy: HashMap<String, bool>,
    /// The limits of money.
    pub budgets: Budgets,
    /// Budgets of those keys that have one of their own, in place of the one of each key.
    pub key_budgets: HashMap<String, Usd>,
    /// US dollars spent today and reserved by running tasks, by key.
    pub used: HashMap<String, Usd>,
    /// The groups that have a limit.
    pub groups: HashMap<Group, GroupRoom>,
    /// The time.
    pub now: Timestamp,
}

impl Room {
    /// Lets a task in, and takes what it needs.
    ///
    /// # Errors
    /// What it must wait for, and until when, where that is known.
    pub fn admit(&mut self, task: &Candidate) -> Result<(), (Hold, Option<Timestamp>)> {
        self.has_room(task)?;
        self.within_limits(task)?;
        *self.busy.entry(task.directory.clone()).or_default() |= task.exclusive;
        if self.budgets.are_set() || !self.key_budgets.is_empty() {
            *self.used.entry(task.key.clone()).or_default() += task.reserves;
        }
        for group in &task.groups {
            if let Some(room) = self.groups.get_mut(group) {
                room.running += 1;
                room.starts.push(self.now);
            }
        }
        Ok(())
    }

    /// Folder and its money.
    fn has_room(&self, task: &Candidate) -> Result<(), (Hold, Option<Timestamp>)> {
        if self.busy.get(&task.directory).is_some_and(|alone| *alone || task.exclusive) {
            return Err((Hold::Directory(task.directory.clone()), None));
        }
        let over = |limit: Option<Usd>, used: Usd| limit.is_some_and(|limit| used + task.reserves > limit);
        let own = self.used.get(&task.key).copied().unwrap_or_default();
        let tomorrow = Some(self.now.next_day());
        if over(self.key_budgets.get(&task.key).copied().or(self.budgets.key), own) {
            return Err((Hold::Budget(task.key.clone()), tomorrow));
        }
        if over(self.budgets.server, self.used.values().copied().sum()) {
            return Err((Hold::Budget(String::new()), tomorrow));
        }
        Ok(())
    }

    /// Groups.
    fn within_limits(&mut self, task: &Candidate) -> Result<(), (Hold, Option<Timestamp>)> {
        for group in &task.groups {
            let Some(room) = self.groups.get(group) else { continue };
            if room.limit.paused {
                return Err((Hold::Paused(group.clone()), None));
            }
            if room.limit.concurrency.is_some_and(|most| room.running >= most) {
                return Err((Hold::Concurrency(group.clone()), None));
            }
        }
        for group in &task.groups {
            let now = self.now;
            let Some(room) = self.groups.get_mut(group) else { continue };
            let Some(rate) = room.limit.rate else { continue };
            room.starts.retain(|at| at.plus_ms(rate.period_ms) > now);
            if let Some(at) = room.starts.len().checked_sub(rate.starts as usize) {
                // Its turn comes when the start before the last ones no longer counts; the next one's after it.
                let turn = room.starts[at].plus_ms(rate.period_ms);
                room.starts.push(turn);
                return Err((Hold::Rate(group.clone()), Some(turn)));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::limit::{GroupKind, Rate};
    use super::*;
    use proptest::prelude::*;

    fn candidate(directory: u8, exclusive: bool, key: u8, reserves: u8) -> Candidate {
        let (directory, key) = (format!("/{directory}"), format!("key-{key}"));
        let groups = vec![Group::new(GroupKind::Key, &key)];
        Candidate { directory, exclusive, key, reserves: Usd::of(reserves.into()), groups }
    }

    proptest! {
        #[test]
        fn nobody_disturbs_who_wants_to_be_alone_and_no_limit_is_passed(
            tasks in prop::collection::vec((0u8..4, any::<bool>(), 0u8..3, 0u8..9), 0..40),
            (server, key) in (0u8..60, 0u8..30),
        ) {
            let budgets = Budgets { server: Some(Usd::of(server.into())), key: Some(Usd::of(key.into())), task: Usd::of(1.0) };
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
            prop_assert!(inside.iter().map(|task| task.reserves).sum::<Usd>() <= Usd::of(server.into()));
            for name in ["key-0", "key-1", "key-2"] {
                let own = inside.iter().filter(|task| task.key == name).map(|task| task.reserves).sum::<Usd>();
                prop_assert!(own <= Usd::of(key.into()));
            }
        }

        /// Tasks come at any time and wait for their turn: in no period do more start than may.
        #[test]
        fn no_period_has_more_starts_than_may(
            comes in prop::collection::vec((0i64..50, 0u8..2), 1..60), starts in 1u32..4, period_ms in 1i64..100,
        ) {
            let limit = Limit { rate: Some(Rate { starts, period_ms }), ..Limit::default() };
            let group = Group::new(GroupKind::Key, "key-0");
            let mut started: Vec<i64> = Vec::new();
            let (mut now, mut waiting) = (0, Vec::new());
            for (later, key) in comes {
                now += later;
                waiting.push((now, candidate(1, false, key, 0)));
                let room = GroupRoom { limit, running: 0, starts: started.iter().map(|at| Timestamp(*at)).collect() };
                let groups = [(group.clone(), room)].into();
                let mut room = Room { groups, now: Timestamp(now), ..Room::default() };
                for (due, task) in std::mem::take(&mut waiting) {
                    match room.admit(&task) {
                        _ if due > now => waiting.push((due, task)),
                        Ok(()) if task.key == "key-0" => started.push(now),
                        Ok(()) => {}
                        Err((_, until)) => waiting.push((until.map_or(now, |until| until.0), task)),
                    }
                }
                prop_assert!(waiting.iter().all(|(_, task)| task.key == "key-0"));
            }
            for (at, start) in started.iter().enumerate() {
                let within = started[at..].iter().filter(|other| **other < start + period_ms).count();
                prop_assert!(within <= starts as usize, "{within} from {start}: {started:?}");
            }
        }
    }

    #[test]
    fn without_limits_only_folders_count() {
        let mut room = Room::default();
        assert_eq!(room.admit(&candidate(1, false, 0, 200)), Ok(()));
        assert_eq!(room.admit(&candidate(1, false, 0, 200)), Ok(()));
        assert_eq!(room.admit(&candidate(1, true, 0, 0)), Err((Hold::Directory("/1".into()), None)));
    }

    #[test]
    fn a_group_runs_as_many_as_it_may_and_its_turns_come_one_after_the_other() {
        let group = Group::new(GroupKind::Key, "key-0");
        let with = |limit| {
            let room = GroupRoom { limit, running: 1, starts: vec![Timestamp(90)] };
            Room { groups: [(group.clone(), room)].into(), now: Timestamp(100), ..Room::default() }
        };
        let task = candidate(1, false, 0, 0);
        let mut two = with(Limit { concurrency: Some(2), ..Limit::default() });
        assert_eq!(two.admit(&task), Ok(()));
        assert_eq!(two.admit(&task), Err((Hold::Concurrency(group.clone()), None)));
        let mut paused = with(Limit { paused: true, ..Limit::default() });
        assert_eq!(paused.admit(&task), Err((Hold::Paused(group.clone()), None)));
        assert_eq!(paused.admit(&candidate(1, false, 1, 0)), Ok(()), "another group is not touched");
        let mut rate = with(Limit { rate: Some(Rate { starts: 2, period_ms: 50 }), ..Limit::default() });
        assert_eq!(rate.admit(&task), Ok(()));
        let turns: Vec<_> = (0..3).map(|_| rate.admit(&task).expect_err("a turn").1).collect();
        assert_eq!(turns, [Some(Timestamp(140)), Some(Timestamp(150)), Some(Timestamp(190))]);
    }
}
