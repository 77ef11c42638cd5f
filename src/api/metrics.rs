//! `/metrics`: what is counted in the history, measured in this process, and true at the moment.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::routes::workers_overview;
use super::shared::{Shared, Workers};
use crate::process::{own_use, wall_now};
use crate::queue::{Backlog, LaneBacklog, QueueError, ReadBacklog, ReadStats, ReadUsage, Stats, WaitCause};
use crate::service::{Caller, unmatched, usage};
use crate::telemetry::{Duty, MetricLabels, meters};
use domain::{Name, Named as _, Status, Timestamp};
use wire::response::{Left, Usage, WorkerState};

/// Path of the metrics.
pub const PATH: &str = "/metrics";
/// Longest time that one part of an answer is waited for: it is left out then.
const LIMIT: Duration = Duration::from_secs(3);

type Number = Gauge<f64, AtomicU64>;

/// Returns everything as OpenMetrics 1.0.
pub async fn gather(shared: &Shared) -> String {
    let (mut registry, mut text) = (Registry::default(), String::new());
    let oldest_due = shared.figures.register(&shared.queue, &mut registry).await;
    meters().register(&mut registry);
    let mut now = Now(&mut registry);
    now.process();
    now.set(
        "build_info",
        "Version and mode of the server",
        [(
            vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("mode", shared.workers.mode().name().to_owned())],
            1.0,
        )],
    );
    now.set("store_full", "1 if the disk of the database is full", [one(shared.vitals.failing(Duty::Disk).is_some())]);
    now.set(
        "queue_oldest_due_age_seconds",
        "Time for which the task waits that could have started longest ago",
        [(Vec::new(), age(oldest_due))],
    );
    let caller = Caller::operator();
    // Each day that is known: the sum only grows.
    let all_days = ReadUsage { from: "0000-01-01".to_owned(), to: "9999-12-31".to_owned(), key: None };
    let backlog = async {
        let backlog = shared.queue.ask(ReadBacklog).await?;
        let unmatched = unmatched(&shared.queue, backlog.lanes.clone()).await?;
        Ok::<_, QueueError>((backlog, unmatched))
    };
    let (stats, backlog, usage, workers) = tokio::join!(
        tokio::time::timeout(LIMIT, shared.queue.ask(ReadStats(None))),
        tokio::time::timeout(LIMIT, backlog),
        tokio::time::timeout(LIMIT, usage(shared, &caller, all_days)),
        tokio::time::timeout(LIMIT, workers_overview(shared)),
    );
    if let Ok(Ok(stats)) = &stats {
        now.queue(stats);
    }
    if let Ok(Ok((backlog, unmatched))) = backlog {
        now.backlog(&backlog);
        now.unmatched(&unmatched);
    }
    if let Ok(Ok(usage)) = usage {
        now.money(&usage);
    }
    match (&shared.workers, workers, stats) {
        // This process itself is the worker.
        (Workers::Inline, _, Ok(Ok(stats))) => {
            let most = stats.concurrency.unwrap_or(shared.concurrency);
            now.workers(vec![(Some(WorkerState::Running), stats.count(Status::Running), most.into())]);
        }
        (_, Ok(Ok(overview)), _) => {
            let workers = overview.workers.iter().map(|worker| (worker.state, worker.running, worker.concurrency));
            now.workers(workers.collect());
        }
        _ => {}
    }
    // Writing to a string doesn't fail.
    encode(&mut text, &registry).unwrap_or_default();
    text
}

/// The same in the text format of Prometheus 0.0.4: there a counter has its whole name, and there are no units and no end.
pub fn as_text(open_metrics: &str) -> String {
    let counters = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
    let counters: HashSet<&str> = counters.collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let mut words = line.splitn(4, ' ');
        let described = (words.next(), words.next(), words.next(), words.next());
        match described {
            (Some("#"), Some("EOF" | "UNIT"), ..) => {}
            (Some("#"), Some(what), Some(name), rest) if counters.contains(name) => {
                writeln!(text, "# {what} {name}_total {}", rest.unwrap_or_default()).unwrap_or_default();
            }
            _ => text.extend([line, "\n"]),
        }
    }
    text
}

fn one(is_true: bool) -> (MetricLabels, f64) {
    (Vec::new(), f64::from(u8::from(is_true)))
}

/// Seconds since a time; 0 where there is none.
fn age(at: Option<Timestamp>) -> f64 {
    at.map_or(0.0, |at| wall_now().since_ms(at).max(0) as f64 / 1e3)
}

/// What is true at the moment.
struct Now<'a>(&'a mut Registry);

impl Now<'_> {
    fn set(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (MetricLabels, f64)>) {
        let family = Family::<MetricLabels, Number>::default();
        values.into_iter().for_each(|(labels, value)| _ = family.get_or_create(&labels).set(value));
        self.0.register(format!("cc_anywhere_{name}"), help, family);
    }

    fn count(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (MetricLabels, f64)>) {
        let family = Family::<MetricLabels, Counter<f64, AtomicU64>>::default();
        values.into_iter().for_each(|(labels, value)| _ = family.get_or_create(&labels).inc_by(value));
        self.0.register(format!("cc_anywhere_{name}"), help, family);
    }

    /// The usual of a process, under the usual names.
    fn process(&mut self) {
        let Some(used) = own_use() else { return };
        let number = |value: f64| {
            let gauge = Number::default();
            gauge.set(value);
            gauge
        };
        let cpu = Counter::<f64, AtomicU64>::default();
        cpu.inc_by(used.cpu_seconds);
        self.0.register("process_cpu_seconds", "Processor time of this process", cpu);
        self.0.register(
            "process_resident_memory_bytes",
            "Resident memory of this process",
            number(used.resident_bytes as f64),
        );
        self.0.register("process_open_fds", "Open file descriptors of this process", number(used.open_files as f64));
        self.0.register(
            "process_start_time_seconds",
            "Start of this process since the Unix epoch",
            number(used.started.0 as f64 / 1e3),
        );
        self.0.register("process_threads", "Threads of this process", number(used.threads as f64));
    }

    fn queue(&mut self, stats: &Stats) {
        let count = |status: Status| (vec![("status", status.name().to_owned())], stats.count(status) as f64);
        self.set("tasks", "Tasks that have not ended", [Status::Pending, Status::Running].map(count));
        self.set("queue_paused", "1 if no task is started", [one(stats.paused)]);
        let parked = stats.parked.iter().map(|parked| {
            let labels = vec![("credential", parked.credential.clone()), ("class", parked.class.name().to_owned())];
            (labels, parked.until.0 as f64 / 1e3)
        });
        let help = "Time until which no task is started with a credential; those that are not parked are left out";
        self.set("credential_parked_until_timestamp_seconds", help, parked);
    }

    fn backlog(&mut self, backlog: &Backlog) {
        let waiting = backlog.waiting.iter().map(|(cause, count)| (vec![("reason", reason(cause))], *count as f64));
        self.set("tasks_waiting", "Pending tasks by the reason of their wait", waiting);
        self.set("questions_open", "Questions without an answer", [(Vec::new(), backlog.questions as f64)]);
        let oldest = age(backlog.oldest_question);
        self.set("question_oldest_age_seconds", "Age of the oldest open question", [(Vec::new(), oldest)]);
        let deliveries = backlog.deliveries as f64;
        self.set(
            "webhook_deliveries_pending",
            "Messages to webhooks that are not delivered",
            [(Vec::new(), deliveries)],
        );
        self.set("store_size_bytes", "Size of the database", [(Vec::new(), backlog.bytes as f64)]);
    }

    fn unmatched(&mut self, lanes: &[LaneBacklog]) {
        let tasks: i64 = lanes.iter().map(|waiting| waiting.tasks).sum();
        let help = "Tasks that only wait for labels that no living worker has";
        self.set("tasks_unmatched", help, [(Vec::new(), tasks as f64)]);
        let oldest = age(lanes.iter().map(|waiting| waiting.oldest).min());
        self.set("unmatched_oldest_age_seconds", "Age of the oldest of these", [(Vec::new(), oldest)]);
    }

    fn money(&mut self, usage: &Usage) {
        let key = |name: &str| ("key", name.to_owned());
        let cost = usage.days.iter().map(|day| (vec![key(&day.key)], day.cost_usd.dollars()));
        self.count("cost_usd", "US dollars spent", cost);
        let tokens = usage.days.iter().flat_map(|day| {
            let kinds = [
                ("input", day.tokens.input),
                ("output", day.tokens.output),
                ("cache_read", day.tokens.cache_read),
                ("cache_write", day.tokens.cache_write),
            ];
            kinds.map(|(kind, count)| (vec![key(&day.key), ("type", kind.to_owned())], count.max(0) as f64))
        });
        self.count("tokens", "Tokens used", tokens);
        let server = ("server".to_owned(), &usage.today.server);
        let scopes: Vec<(String, &Left)> = std::iter::once(server)
            .chain(usage.today.keys.iter().map(|(name, left)| (format!("key:{name}"), left)))
            .collect();
        let of = |value: fn(&Left) -> Option<domain::Usd>| {
            scopes
                .iter()
                .filter_map(move |(scope, left)| Some((vec![("scope", scope.clone())], value(left)?.dollars())))
        };
        self.set("budget_limit_usd", "Budget of the day in US dollars", of(|left| left.limit_usd));
        self.set("budget_spent_usd", "US dollars spent today", of(|left| Some(left.spent_usd)));
        self.set("budget_reserved_usd", "US dollars reserved by running attempts", of(|left| Some(left.reserved_usd)));
    }

    fn workers(&mut self, workers: Vec<(Option<WorkerState>, i64, i64)>) {
        let state = |state: Option<WorkerState>| {
            let name = serde_json::to_value(state).ok().and_then(|state| state.as_str().map(str::to_owned));
            vec![("state", name.unwrap_or_else(|| "unknown".to_owned()))]
        };
        let counts = Family::<MetricLabels, Gauge>::default();
        let slots = Family::<MetricLabels, Gauge>::default();
        for (of, running, most) in workers {
            counts.get_or_create(&state(of)).inc();
            // Those of a worker that takes nothing are no free ones.
            let free = if of == Some(WorkerState::Running) { (most - running).max(0) } else { 0 };
            slots.get_or_create(&vec![("state", "busy".to_owned())]).inc_by(running);
            slots.get_or_create(&vec![("state", "free".to_owned())]).inc_by(free);
        }
        self.0.register("cc_anywhere_workers", "Workers", counts);
        self.0.register("cc_anywhere_worker_slots", "Slots of workers", slots);
    }
}

/// The reason as `explain` names it, in lower case.
fn reason(cause: &Name<WaitCause>) -> String {
    let reason = match cause {
        Name::Known(WaitCause::Due) => "due",
        Name::Known(WaitCause::Answer) => "waiting_for_answer",
        Name::Known(WaitCause::Time) => "not_due",
        Name::Known(WaitCause::Directory) => "directory_busy",
        Name::Known(WaitCause::Budget) => "budget_spent",
        Name::Known(WaitCause::Paused) => "group_paused",
        Name::Known(WaitCause::Concurrency) => "concurrency_limit",
        Name::Known(WaitCause::Rate) => "rate_limit",
        Name::Known(WaitCause::Dependencies) => "dependencies",
        Name::Other(cause) => cause,
    };
    reason.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_whole() {
        let open = "# HELP jobs Jobs done.\n# TYPE jobs counter\n# UNIT x y\njobs_total{a=\"b c\"} 1\n# HELP jobs_now \
                    Jobs.\n# TYPE jobs_now gauge\njobs_now 2\n# EOF\n";
        let text = "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\njobs_total{a=\"b c\"} 1\n# HELP jobs_now \
                    Jobs.\n# TYPE jobs_now gauge\njobs_now 2\n";
        assert_eq!(as_text(open), text);
    }
}
