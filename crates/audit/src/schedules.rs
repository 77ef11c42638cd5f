//! The schedules of a history: each time fires once, and nothing happens to one that was removed.

use std::collections::{HashMap, HashSet};

use domain::ScheduleId;

/// What the history has told of schedules so far.
#[derive(Default)]
pub struct Schedules {
    /// The times that each has fired at. One that was made before the history began comes with its first line.
    fired: HashMap<ScheduleId, HashSet<i64>>,
    removed: HashSet<ScheduleId>,
}

impl Schedules {
    /// It was made, or changed. Returns what is wrong with that.
    pub fn put(&mut self, schedule: ScheduleId, new: bool) -> Option<String> {
        if self.removed.contains(&schedule) {
            return Some(format!("schedule {schedule} was changed after it had been removed"));
        }
        let known = self.fired.contains_key(&schedule);
        self.fired.entry(schedule).or_default();
        (new && known).then(|| format!("schedule {schedule} was made twice"))
    }

    /// It was removed.
    pub fn remove(&mut self, schedule: ScheduleId) {
        self.fired.remove(&schedule);
        self.removed.insert(schedule);
    }

    /// The clock was set back: times from this one on come again.
    pub fn replan(&mut self, schedule: ScheduleId, next: i64) {
        if let Some(fired) = self.fired.get_mut(&schedule) {
            fired.retain(|due| *due < next);
        }
    }

    /// It has fired. Returns what is wrong with that.
    pub fn fire(&mut self, schedule: ScheduleId, due: Option<i64>) -> Option<String> {
        if self.removed.contains(&schedule) {
            return Some(format!("schedule {schedule} fired after it had been removed"));
        }
        let fired = self.fired.entry(schedule).or_default();
        let again = due.filter(|due| !fired.insert(*due));
        again.map(|due| format!("schedule {schedule} fired twice for {due}"))
    }
}
