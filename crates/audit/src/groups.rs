//! The part of the [checker](super::Audit) that counts the tasks of each concurrency key.

use std::collections::{BTreeSet, HashMap};

use domain::{Group, GroupKind, Limit, TaskId};

/// State of the concurrency keys.
#[derive(Default)]
pub struct Groups {
    /// True if the history begins with the database: then a key without a limit has the one that holds by itself.
    pub whole: bool,
    limits: HashMap<String, Limit>,
    keys: HashMap<TaskId, String>,
    running: HashMap<String, BTreeSet<TaskId>>,
}

impl Groups {
    /// A task was stored.
    pub fn submit(&mut self, task: TaskId, key: Option<&String>) {
        self.keys.extend(key.map(|key| (task, key.clone())));
    }

    /// A limit was set.
    pub fn set(&mut self, group: &Group, limit: Limit) {
        if group.kind == GroupKind::ConcurrencyKey {
            self.limits.insert(group.name.clone(), limit);
        }
    }

    /// A task was claimed. Returns what its key did not allow.
    pub fn claim(&mut self, task: TaskId) -> Option<String> {
        let key = self.keys.get(&task)?;
        let running = self.running.entry(key.clone()).or_default();
        running.insert(task);
        let group = Group::new(GroupKind::ConcurrencyKey, key);
        let limit = self.limits.get(key).copied().or_else(|| self.whole.then(|| group.default_limit()))?;
        match limit.concurrency {
            _ if limit.paused => Some(format!("was claimed while {group} was paused")),
            Some(most) if running.len() > most as usize => {
                Some(format!("is number {} of {group}, above its limit of {most}", running.len()))
            }
            _ => None,
        }
    }

    /// A task runs no more.
    pub fn leave(&mut self, task: TaskId) {
        if let Some(running) = self.keys.get(&task).and_then(|key| self.running.get_mut(key)) {
            running.remove(&task);
        }
    }
}
