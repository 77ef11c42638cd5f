//! The schedules of a history: each time fires once, and nothing happens to one that was removed.

use std::collections::{HashMap, HashSet};

use domain::ScheduleId;

/// Schedules as the history has told of them so far.
#[derive(Default)]
pub struct Schedules {
    /// The times that each has fired at. One that was made before the history began comes with its first line.
    fired: HashMap<ScheduleId, HashSet<i64>>,
    removed: HashSet<ScheduleId>,
}

impl Schedules {
    /// Takes a new or changed schedule. Returns what is wrong with that.
    pub fn put(&mut self, schedule: ScheduleId, new: bool) -> Option<String> {
        if self.removed.contains(&schedule) {
            return Some(format!("schedule {schedule} was changed after it had been removed"));
        }
        let known = self.fired.contains_key(&schedule);
        self.fired.entry(schedule).or_default();
        (new && known).then(|| format!("schedule {schedule} was made twice"))
    }

    /// Takes the removal of a schedule.
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

    /// Takes a firing. Returns what is wrong with it.
    pub fn fire(&mut self, schedule: ScheduleId, due: Option<i64>) -> Option<String> {
        if self.removed.contains(&schedule) {
            return Some(format!("schedule {schedule} fired after it had been removed"));
        }
        let fired = self.fired.entry(schedule).or_default();
        let again = due.filter(|due| !fired.insert(*due));
        again.map(|due| format!("schedule {schedule} fired twice for {due}"))
    }
}
