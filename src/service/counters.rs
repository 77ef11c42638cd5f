//! Counters of what tasks do: a fold of the history, whichever process has written it. They begin with this process, as
//! those of Prometheus do.

use std::collections::HashMap;

use audit::{Entry, HistoryEvent, Source};
use domain::{AttemptOutcome, FailureClass, Named as _, Status, TaskId, Timestamp};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor as _};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::telemetry::{Buckets, Histograms, MetricLabels, from_zero};

/// Seconds that a task which may start waits for a worker.
const DISPATCH: Buckets =
    Buckets(&[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0]);
/// Seconds of an attempt.
const ATTEMPT: Buckets =
    Buckets(&[1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 1_800.0, 3_600.0, 7_200.0]);

type Counts = Family<MetricLabels, Counter>;

/// See the [module](self).
#[derive(Debug)]
pub struct Counters {
    /// Time from which on is counted, by the wall clock in milliseconds; what was before tells where tasks stand.
    since: i64,
    /// Time from which on each pending task may start, in milliseconds.
    due: HashMap<TaskId, i64>,
    /// Start of each running attempt, in milliseconds.
    running: HashMap<TaskId, i64>,
    submitted: Counts,
    ended: Counts,
    attempts: Counts,
    durations: Histograms,
    dispatch: Histogram,
    expired: Counter,
    firings: Counts,
}

impl Counters {
    /// Counts from this time on.
    #[must_use]
    pub fn since(at: Timestamp) -> Self {
        Self {
            since: at.0,
            due: HashMap::new(),
            running: HashMap::new(),
            submitted: from_zero("source", &["api", "retry", "schedule"]),
            ended: from_zero("status", &["completed", "failed", "cancelled"]),
            attempts: Family::default(),
            durations: Family::new_with_constructor(ATTEMPT),
            dispatch: DISPATCH.new_metric(),
            expired: Counter::default(),
            firings: from_zero("outcome", &["submitted", "passed"]),
        }
    }

    /// Returns the time from which on the task could start that has waited longest, where one can.
    #[must_use]
    pub fn oldest_due(&self, now: Timestamp) -> Option<Timestamp> {
        self.due.values().copied().filter(|due| *due <= now.0).min().map(Timestamp)
    }

    /// Adds them to what is served.
    pub fn register(&self, registry: &mut Registry) {
        let own = registry.sub_registry_with_prefix("cc_anywhere");
        own.register("tasks_submitted", "Tasks that were stored", self.submitted.clone());
        own.register("tasks_ended", "Tasks that ended", self.ended.clone());
        own.register("attempts", "Attempts that ended", self.attempts.clone());
        own.register("attempt_duration_seconds", "Time of an attempt", self.durations.clone());
        own.register(
            "dispatch_latency_seconds",
            "Time from which on a task may start until it does",
            self.dispatch.clone(),
        );
        own.register("leases_expired", "Leases that ran out", self.expired.clone());
        own.register("schedule_firings", "Firings of schedules", self.firings.clone());
    }

    /// Adds a line of the history.
    pub fn fold(&mut self, entry: &Entry) {
        let (at, counts) = (entry.at, entry.at >= self.since);
        match &entry.did {
            HistoryEvent::Submit { task, due, source, .. } => {
                self.waits(*task, *due, at);
                if counts {
                    self.submitted.get_or_create(&vec![("source", name_of(*source))]).inc();
                }
            }
            HistoryEvent::Amend { task, due, .. } => self.waits(*task, *due, at),
            HistoryEvent::Due { tasks } | HistoryEvent::Wake { tasks } => {
                tasks.iter().for_each(|task| _ = self.due.entry(*task).or_insert(at));
            }
            HistoryEvent::Hold { tasks, .. } => tasks.iter().for_each(|task| _ = self.due.remove(task)),
            HistoryEvent::Claim { lease, .. } => {
                self.running.insert(lease.task, at);
                if let Some(due) = self.due.remove(&lease.task).filter(|_| counts) {
                    self.dispatch.observe(seconds(at - due));
                }
            }
            HistoryEvent::Finish { lease, outcome, class, to, due, .. } => {
                let class = class.as_ref().map(|class| class.name().to_owned()).unwrap_or_default();
                self.attempt(lease.task, *outcome, class, at);
                self.goes(lease.task, *to, *due, at);
            }
            HistoryEvent::Release { lease, due, .. } => {
                self.attempt(lease.task, AttemptOutcome::Released, String::new(), at);
                self.waits(lease.task, *due, at);
            }
            HistoryEvent::TakeBack { lease, died, to, due } => {
                self.attempt(lease.task, AttemptOutcome::Crashed, FailureClass::Crashed.name().to_owned(), at);
                self.goes(lease.task, *to, *due, at);
                if counts && !died {
                    self.expired.inc();
                }
            }
            HistoryEvent::Cancel { lease } => {
                if self.running.contains_key(&lease.task) {
                    self.attempt(lease.task, AttemptOutcome::Cancelled, String::new(), at);
                }
                self.goes(lease.task, Status::Cancelled, None, at);
            }
            HistoryEvent::Fire { made, .. } if counts => {
                let outcome = if made.is_some() { "submitted" } else { "passed" };
                self.firings.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
            }
            _ => {}
        }
    }

    /// The task is pending, and may start at this time, or now.
    fn waits(&mut self, task: TaskId, due: Option<i64>, at: i64) {
        self.due.insert(task, due.unwrap_or(at).max(at));
    }

    fn goes(&mut self, task: TaskId, to: Status, due: Option<i64>, at: i64) {
        if !to.is_terminal() {
            return self.waits(task, due, at);
        }
        self.due.remove(&task);
        if at >= self.since {
            self.ended.get_or_create(&vec![("status", to.name().to_owned())]).inc();
        }
    }

    fn attempt(&mut self, task: TaskId, outcome: AttemptOutcome, class: String, at: i64) {
        let began = self.running.remove(&task);
        if at < self.since {
            return;
        }
        let outcome = outcome.name().to_owned();
        if let Some(began) = began {
            self.durations.get_or_create(&vec![("outcome", outcome.clone())]).observe(seconds(at - began));
        }
        self.attempts.get_or_create(&vec![("outcome", outcome), ("class", class)]).inc();
    }
}

fn name_of(source: Source) -> String {
    <&str>::from(source).to_owned()
}

fn seconds(ms: i64) -> f64 {
    ms.max(0) as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use audit::Counts;
    use domain::{Epoch, LeaseKey, WorkerInstanceId};
    use prometheus_client::encoding::text::encode;

    use super::*;

    fn text(counters: &Counters) -> String {
        let (mut registry, mut text) = (Registry::default(), String::new());
        counters.register(&mut registry);
        encode(&mut text, &registry).expect("encoded");
        text
    }

    #[test]
    fn what_was_before_the_start_is_known_and_not_counted() {
        let [before, after] = [TaskId::new(), TaskId::new()];
        let lease = |task| LeaseKey { task, epoch: Epoch::FIRST };
        let submit = |task, source| HistoryEvent::Submit {
            task,
            priority: 0,
            due: None,
            max_attempts: 1,
            concurrency_key: None,
            lane: String::new(),
            key: None,
            source,
            waits: Vec::new(),
            share: String::new(),
            weight: 1,
            files: Vec::new(),
            verify: false,
            parent: None,
            budget: None,
        };
        let claim = |task| HistoryEvent::Claim {
            lease: lease(task),
            holder: WorkerInstanceId::new(),
            credential: String::new(),
            labels: String::new(),
            attempt: 1,
            expires: 0,
        };
        let finish = |task, outcome, class, to, due| HistoryEvent::Finish {
            lease: lease(task),
            outcome,
            counts: Counts::Ended,
            class,
            cost: None,
            to,
            due,
            verified: false,
        };
        let overloaded = Some(FailureClass::Overloaded.into());
        let story = [
            (0, submit(before, Source::Api)),
            (500, claim(before)),
            (2_000, submit(after, Source::Schedule)),
            (3_000, finish(before, AttemptOutcome::Completed, None, Status::Completed, None)),
            (4_000, claim(after)),
            (5_000, finish(after, AttemptOutcome::Failed, overloaded, Status::Pending, Some(9_000))),
            (5_000, HistoryEvent::Hold { tasks: vec![before], why: "budget:".to_owned(), due: 60_000 }),
        ];
        let mut counters = Counters::since(Timestamp(1_000));
        for (at, did) in story {
            counters.fold(&Entry { commit: 1, at, boot_ms: 0, did });
        }
        let found = text(&counters);
        let has = |line: &str| assert!(found.contains(line), "{line}\n{found}");
        has("tasks_submitted_total{source=\"schedule\"} 1\n");
        has("tasks_ended_total{status=\"completed\"} 1\n");
        has("attempts_total{outcome=\"completed\",class=\"\"} 1\n");
        has("attempts_total{outcome=\"failed\",class=\"overloaded\"} 1\n");
        has("attempt_duration_seconds_sum{outcome=\"completed\"} 2.5\n");
        has("dispatch_latency_seconds_sum 2.0\n");
        has("dispatch_latency_seconds_count 1\n");
        has("tasks_submitted_total{source=\"api\"} 0\n");
        assert_eq!(counters.oldest_due(Timestamp(8_000)), None);
        assert_eq!(counters.oldest_due(Timestamp(10_000)), Some(Timestamp(9_000)));
        counters.fold(&Entry {
            commit: 2,
            at: 11_000,
            boot_ms: 0,
            did: HistoryEvent::TakeBack { lease: lease(after), died: false, to: Status::Failed, due: None },
        });
        let found = text(&counters);
        assert!(found.contains("leases_expired_total 1\n"), "{found}");
        assert_eq!(counters.oldest_due(Timestamp(20_000)), None);
    }
}
