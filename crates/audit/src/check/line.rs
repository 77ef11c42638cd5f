//! The part of the [checker](super::Audit) that follows who is next: by priority, then share by share, then age.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::{Audit, Picture, has_all};
use domain::TaskId;

/// Pending tasks, whether due or not, and the turns of their shares.
#[derive(Default)]
pub struct Line {
    /// By priority, the highest first, and by share.
    pending: BTreeMap<i64, BTreeMap<String, BTreeSet<TaskId>>>,
    weights: HashMap<String, i64>,
    /// Starts of a share of a priority while another one waits: by priority, the share that waits, and the one that starts.
    since: BTreeMap<(i64, String, String), i64>,
}

impl Line {
    /// A share has this weight from now on. What was counted by another one is forgotten.
    pub fn weigh(&mut self, share: &str, weight: i64) {
        if self.weights.insert(share.to_owned(), weight).is_some_and(|before| before != weight) {
            self.since.clear();
        }
    }

    /// A task waits.
    pub fn add(&mut self, priority: i64, share: &str, task: TaskId) {
        self.pending.entry(-priority).or_default().entry(share.to_owned()).or_default().insert(task);
    }

    /// A task waits no more. Returns false where it did not.
    pub fn remove(&mut self, priority: i64, share: &str, task: TaskId) -> bool {
        self.pending
            .get_mut(&-priority)
            .and_then(|shares| shares.get_mut(share))
            .is_some_and(|tasks| tasks.remove(&task))
    }

    fn weight(&self, share: &str) -> u64 {
        self.weights.get(share).copied().unwrap_or(1).max(1).unsigned_abs()
    }

    /// A task of this share starts while these others have one that could. Returns the first that has waited for too long, and
    /// the number of starts. `idle` are those that have nothing to start.
    fn start(&mut self, priority: i64, started: &str, waiting: &[String], idle: &[String]) -> Option<(String, i64)> {
        self.since.retain(|(of, waits, _), _| *of != priority || (waits != started && !idle.contains(waits)));
        let mut late = None;
        for waits in waiting {
            let most = self.weight(started).div_ceil(self.weight(waits)).cast_signed() + 1;
            let starts = self.since.entry((priority, waits.clone(), started.to_owned())).or_default();
            *starts += 1;
            if *starts > most && late.is_none() {
                late = Some((waits.clone(), *starts));
            }
        }
        late
    }
}

impl Audit {
    /// Checks that no due task stood before this one that the worker could have taken.
    pub(super) fn first_in_line(&mut self, task: TaskId, priority: i64, share: &str, labels: &str) {
        let is_due = |other: &TaskId| self.tasks.get(other).is_some_and(|picture: &Picture| picture.due.is_none());
        let stands = |other: &TaskId| {
            is_due(other) && self.tasks.get(other).is_some_and(|picture| has_all(labels, &picture.lane))
        };
        let higher = self.line.pending.range(..-priority).find_map(|(before, shares)| {
            shares.values().flatten().find(|other| stands(other)).map(|other| (*other, -before))
        });
        let shares = self.line.pending.get(&-priority);
        let older = shares
            .and_then(|shares| shares.get(share))
            .and_then(|tasks| tasks.range(..task).find(|other| stands(other)));
        let before = higher.or_else(|| older.map(|other| (*other, priority)));
        let (mut waiting, mut idle) = (Vec::new(), Vec::new());
        for (other, tasks) in shares.into_iter().flatten().filter(|(other, _)| *other != share) {
            if tasks.iter().any(stands) {
                waiting.push(other.clone());
            } else if !tasks.iter().any(is_due) {
                idle.push(other.clone());
            }
        }
        if let Some((other, of)) = before {
            let evidence = format!("(priority {priority}) was claimed before {other} (priority {of})");
            self.broken(12, task, evidence);
        }
        if let Some((other, starts)) = self.line.start(priority, share, &waiting, &idle) {
            let evidence =
                format!("was start {starts} of share {share:?} while share {other:?} had a task that could start");
            self.broken(12, task, evidence);
        }
    }
}
