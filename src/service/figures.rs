//! Figures of the queue over the last day, minute by minute: a fold of the history, so that they are the same in every
//! mode, and a start knows what was before it. In memory only.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use audit::{Entry, HistoryEvent};
use domain::{Status, TaskId, Timestamp, Usd};
use prometheus_client::registry::Registry;
use tokio::sync::Mutex;

use super::counters::Counters;
use crate::process::{BackOff, wall_now};
use crate::queue::{ChangeNotifier, FindCommit, Queue, QueueError, ReadHistory};
use crate::telemetry::chain;

/// Milliseconds of a minute.
const MINUTE: i64 = 60_000;
/// Minutes that are kept.
const KEPT: i64 = 24 * 60;
/// Commits that a start reads at most.
const MAX_COMMITS: i64 = 500_000;
/// Reads of the history that a question waits for.
const READS: usize = 20;
/// Time between two reads: what is asked meanwhile reads for itself.
const PAUSE: Duration = Duration::from_secs(5);

/// A series of figures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Figure {
    /// Tasks that were stored.
    Submitted,
    /// Attempts that began.
    Started,
    /// Tasks that ended, in whichever way.
    Ended,
    /// Tasks that failed.
    Failed,
    /// Tasks that waited at the end of the step.
    Pending,
    /// US dollars, noted when an attempt ends.
    Cost,
}

/// See the [module](self). Clones share it.
#[derive(Clone, Default)]
pub struct Figures(Arc<Mutex<Ring>>);

/// Points of some figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Points {
    /// The beginning of each step.
    pub at: Vec<Timestamp>,
    /// Values of each figure that was asked for; `None` where nothing is known.
    pub values: Vec<Vec<Option<f64>>>,
}

/// A request for points.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// The figures.
    pub figures: Vec<Figure>,
    /// Beginning of the first step.
    pub from: Timestamp,
    /// Length of a step, in minutes.
    pub step: i64,
    /// Tasks that wait now.
    pub pending: i64,
}

impl Figures {
    /// Reads what is new, for as long as the process lives.
    pub async fn follow(self, queue: Queue, hub: ChangeNotifier) {
        let mut commits = hub.commits();
        let mut back_off = BackOff::default();
        loop {
            commits.mark_unchanged();
            // The lock is given back between two reads: a page doesn't wait for a long history.
            let read = self.0.lock().await.read_some(&queue).await;
            match read {
                Ok(true) => continue,
                Ok(false) => back_off.reset(),
                Err(error) => {
                    tracing::debug!(error = chain(&error), "The history can't be read");
                    back_off.pause().await;
                    continue;
                }
            }
            tokio::time::sleep(PAUSE).await;
            // An error would say that the hub is gone, and with it this process.
            drop(commits.changed().await);
        }
    }

    /// Returns points, up to this minute. Nothing is known until all of the last day was read once.
    ///
    /// # Errors
    /// The queue's.
    pub async fn points(&self, queue: &Queue, wanted: &Wanted) -> Result<Points, QueueError> {
        let mut ring = self.0.lock().await;
        ring.read_more(queue).await?;
        Ok(ring.points(wanted, wall_now()))
    }

    /// Adds the counters to what is served. Returns the time from which on the task could start that has waited longest.
    /// Where the history can't be read they are as they were.
    pub async fn register(&self, queue: &Queue, registry: &mut Registry) -> Option<Timestamp> {
        let mut ring = self.0.lock().await;
        if let Err(error) = ring.read_more(queue).await {
            tracing::debug!(error = chain(&error), "The history can't be read");
        }
        ring.counters.register(registry);
        ring.counters.oldest_due(wall_now())
    }
}

/// What happened in a minute.
#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    submitted: u32,
    started: u32,
    ended: u32,
    failed: u32,
    cost: Usd,
    /// By how much the number of tasks that wait has grown.
    growth: i64,
}

struct Ring {
    /// Number of the newest commit that was read; `None` before the first read.
    after: Option<i64>,
    /// True if all was read once.
    has_caught_up: bool,
    /// Minute from which on all is known.
    known_from: i64,
    minutes: BTreeMap<i64, Minute>,
    /// Tasks that run, of those whose start was read.
    running: HashSet<TaskId>,
    counters: Counters,
}

impl Default for Ring {
    fn default() -> Self {
        Self {
            after: None,
            has_caught_up: false,
            known_from: 0,
            minutes: BTreeMap::new(),
            running: HashSet::new(),
            counters: Counters::since(wall_now()),
        }
    }
}

impl Ring {
    async fn read_more(&mut self, queue: &Queue) -> Result<(), QueueError> {
        for _ in 0..READS {
            if !self.read_some(queue).await? {
                break;
            }
        }
        Ok(())
    }

    /// Reads some commits. Returns whether there may be more.
    async fn read_some(&mut self, queue: &Queue) -> Result<bool, QueueError> {
        let after = match self.after {
            Some(after) => after,
            None => self.begin(queue).await?,
        };
        let entries = queue.ask(ReadHistory(after)).await?;
        entries.iter().for_each(|entry| self.fold(entry));
        let last = entries.last().map(|entry| entry.commit);
        self.after = Some(last.unwrap_or(after));
        self.has_caught_up |= last.is_none();
        Ok(last.is_some())
    }

    /// Returns the commit behind which it begins to read.
    async fn begin(&mut self, queue: &Queue) -> Result<i64, QueueError> {
        let day_ago = wall_now().0 / MINUTE - KEPT;
        let first = queue.ask(FindCommit { since: Timestamp(day_ago * MINUTE), most: MAX_COMMITS }).await?;
        // Before the first commit of all there was nothing.
        self.known_from = first.at.filter(|_| first.before > 0).map_or(i64::MIN, |at| at.0 / MINUTE + 1);
        Ok(first.before)
    }

    fn fold(&mut self, entry: &Entry) {
        self.counters.fold(entry);
        let minute = self.minutes.entry(entry.at / MINUTE).or_default();
        match &entry.did {
            HistoryEvent::Submit { .. } => {
                minute.submitted += 1;
                minute.growth += 1;
            }
            HistoryEvent::Claim { lease, .. } => {
                self.running.insert(lease.task);
                minute.started += 1;
                minute.growth -= 1;
            }
            HistoryEvent::Finish { lease, cost, to, .. } => {
                self.running.remove(&lease.task);
                minute.cost += cost.unwrap_or_default();
                minute.goes(*to);
            }
            HistoryEvent::Release { lease, cost, .. } => {
                self.running.remove(&lease.task);
                minute.cost += cost.unwrap_or_default();
                minute.growth += 1;
            }
            HistoryEvent::TakeBack { lease, to, .. } => {
                self.running.remove(&lease.task);
                minute.goes(*to);
            }
            HistoryEvent::Cancel { lease } => {
                minute.growth -= i64::from(!self.running.remove(&lease.task));
                minute.goes(Status::Cancelled);
            }
            HistoryEvent::LateCost { cost, .. } => minute.cost += *cost,
            _ => {}
        }
        while self.minutes.len() > KEPT as usize + 1 {
            self.minutes.pop_first();
        }
    }

    fn points(&self, wanted: &Wanted, now: Timestamp) -> Points {
        let (first, last) = (wanted.from.0 / MINUTE, now.0 / MINUTE);
        let first = first.clamp(last - KEPT, last);
        let step = wanted.step.max(1);
        let steps: Vec<i64> = (first - first.rem_euclid(step)..=last).step_by(step as usize).collect();
        let values = wanted.figures.iter().map(|figure| {
            let value = |from: &i64| {
                let known = self.has_caught_up && *from >= self.known_from;
                known.then(|| self.value(*figure, *from, from + step, wanted.pending))
            };
            steps.iter().map(value).collect()
        });
        Points { values: values.collect(), at: steps.iter().map(|minute| Timestamp(minute * MINUTE)).collect() }
    }

    fn value(&self, figure: Figure, from: i64, to: i64, pending: i64) -> f64 {
        let within = || self.minutes.range(from..to).map(|(_, minute)| minute);
        let sum = |count: fn(&Minute) -> u32| within().map(|minute| f64::from(count(minute))).sum();
        match figure {
            Figure::Submitted => sum(|minute| minute.submitted),
            Figure::Started => sum(|minute| minute.started),
            Figure::Ended => sum(|minute| minute.ended),
            Figure::Failed => sum(|minute| minute.failed),
            Figure::Cost => within().fold(Usd::ZERO, |sum, minute| sum + minute.cost).dollars(),
            // Backwards from what is known for certain.
            Figure::Pending => {
                let since: i64 = self.minutes.range(to..).map(|(_, minute)| minute.growth).sum();
                (pending - since).max(0) as f64
            }
        }
    }
}

impl Minute {
    fn goes(&mut self, to: Status) {
        match to {
            Status::Pending | Status::Running => self.growth += 1,
            Status::Failed => {
                self.failed += 1;
                self.ended += 1;
            }
            Status::Completed | Status::Cancelled => self.ended += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use domain::{Epoch, LeaseKey, WorkerInstanceId};

    use super::*;

    fn at(minute: i64, did: HistoryEvent) -> Entry {
        Entry { commit: 1, at: minute * MINUTE + 5, boot_ms: 0, did }
    }

    fn submit(task: TaskId) -> HistoryEvent {
        HistoryEvent::Submit {
            task,
            priority: 0,
            due: None,
            max_attempts: 1,
            concurrency_key: None,
            lane: String::new(),
            key: None,
            source: audit::Source::Api,
            waits: Vec::new(),
            share: String::new(),
            weight: 1,
            files: Vec::new(),
            verify: false,
            parent: None,
            budget: None,
        }
    }

    fn claim(lease: LeaseKey) -> HistoryEvent {
        let (credential, labels) = (String::new(), String::new());
        HistoryEvent::Claim { lease, holder: WorkerInstanceId::new(), credential, labels, attempt: 1, expires: 0 }
    }

    #[test]
    fn points_are_sums_of_minutes_and_what_waits_is_counted_backwards() {
        let [a, b] = [TaskId::new(), TaskId::new()].map(|task| LeaseKey { task, epoch: Epoch::FIRST });
        let mut ring = Ring { has_caught_up: true, ..Ring::default() };
        let finish = HistoryEvent::Finish {
            lease: a,
            outcome: domain::AttemptOutcome::Failed,
            counts: audit::Counts::Ended,
            class: None,
            cost: Some(Usd::of(0.5)),
            to: Status::Failed,
            due: None,
            verified: false,
        };
        let story = [
            at(100, submit(a.task)),
            at(100, submit(b.task)),
            at(101, claim(a)),
            at(103, finish),
            at(104, HistoryEvent::Cancel { lease: b }),
        ];
        story.iter().for_each(|entry| ring.fold(entry));
        let wanted = |figures: &[Figure], step| Wanted {
            figures: figures.to_vec(),
            from: Timestamp(100 * MINUTE),
            step,
            pending: 0,
        };
        let points =
            ring.points(&wanted(&[Figure::Pending, Figure::Started, Figure::Failed], 1), Timestamp(104 * MINUTE));
        let some = |values: &[f64]| values.iter().copied().map(Some).collect::<Vec<_>>();
        assert_eq!(points.at.len(), 5);
        assert_eq!(points.values[0], some(&[2.0, 1.0, 1.0, 1.0, 0.0]));
        assert_eq!(points.values[1], some(&[0.0, 1.0, 0.0, 0.0, 0.0]));
        assert_eq!(points.values[2], some(&[0.0, 0.0, 0.0, 1.0, 0.0]));
        let points =
            ring.points(&wanted(&[Figure::Ended, Figure::Cost, Figure::Submitted], 5), Timestamp(104 * MINUTE));
        assert_eq!(points.values, [some(&[2.0]), some(&[0.5]), some(&[2.0])]);
        ring.known_from = 103;
        let points = ring.points(&wanted(&[Figure::Ended], 1), Timestamp(104 * MINUTE));
        assert_eq!(points.values[0], [None, None, None, Some(1.0), Some(1.0)]);
    }
}
