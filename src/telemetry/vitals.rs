//! State of the duties that the service claims to do: each reports its successes and failures, and `/health` reads
//! them.

use domain::Named as _;
use std::collections::BTreeMap;
use std::error::Error;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use strum::VariantArray as _;

use super::chain;

/// Time after which a duty is said to fail: one that fails once may have met a busy moment.
const PATIENCE: Duration = Duration::from_secs(3);

/// A duty that must go on succeeding.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumString, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Duty {
    /// Room on the disk of the database.
    Disk,
    /// Commits to the database.
    Commits,
    /// Claims of a worker in this process.
    Claims,
    /// Reads of events.
    Events,
    /// Firings of schedules.
    Schedules,
    /// Deliveries to webhooks, as far as the store is concerned.
    Webhooks,
}

/// A duty that fails.
#[derive(Clone, Debug)]
pub struct Failing {
    since: Instant,
    /// Number of failures in a row.
    pub times: u64,
    /// Last error, with all causes.
    pub why: String,
}

impl Failing {
    /// Returns the time since its first failure.
    #[must_use]
    pub fn lasts(&self) -> Duration {
        self.since.elapsed()
    }
}

/// State of this process's duties. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Vitals(Arc<Mutex<BTreeMap<Duty, Failing>>>);

impl Vitals {
    fn all(&self) -> MutexGuard<'_, BTreeMap<Duty, Failing>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a success, or that others do it.
    pub fn well(&self, duty: Duty) {
        self.all().remove(&duty);
    }

    /// Notes a failure.
    pub fn failed(&self, duty: Duty, why: &dyn Error) {
        self.fails(duty, chain(why));
    }

    /// Notes a failure with this reason.
    pub fn fails(&self, duty: Duty, why: String) {
        let mut all = self.all();
        let failing = all.entry(duty).or_insert(Failing { since: Instant::now(), times: 0, why: String::new() });
        failing.times += 1;
        failing.why = why;
    }

    /// Says how it went.
    pub fn note<T, E: Error>(&self, duty: Duty, result: &Result<T, E>) {
        match result {
            Ok(_) => self.well(duty),
            Err(error) => self.failed(duty, error),
        }
    }

    /// Returns the failure of a duty that has been failing for some seconds; a full disk counts at once.
    #[must_use]
    pub fn failing(&self, duty: Duty) -> Option<Failing> {
        self.all().get(&duty).filter(|failing| duty == Duty::Disk || failing.lasts() >= PATIENCE).cloned()
    }

    /// True if the newest attempt at each of these duties succeeded.
    #[must_use]
    pub fn are_well(&self, duties: &[Duty]) -> bool {
        let failing = self.all();
        !duties.iter().any(|duty| failing.contains_key(duty))
    }

    /// Returns the failing duties in words; `None` where all is well.
    #[must_use]
    pub fn complaint(&self) -> Option<String> {
        let failing = Duty::VARIANTS.iter().filter_map(|duty| Some((duty, self.failing(*duty)?)));
        let failing: Vec<_> = failing.map(|(duty, failing)| format!("{}: {}", duty.name(), failing.why)).collect();
        (!failing.is_empty()).then(|| failing.join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_no_failure_and_a_full_disk_is_one_at_once() {
        let vitals = Vitals::default();
        vitals.fails(Duty::Commits, "locked".into());
        vitals.fails(Duty::Disk, "full".into());
        assert!(vitals.failing(Duty::Commits).is_none());
        assert_eq!(vitals.complaint().as_deref(), Some("disk: full"));
        vitals.all().get_mut(&Duty::Commits).expect("failing").since -= PATIENCE;
        assert_eq!(vitals.complaint().as_deref(), Some("disk: full; commits: locked"));
        vitals.well(Duty::Commits);
        vitals.well(Duty::Disk);
        assert_eq!(vitals.complaint(), None);
    }
}
