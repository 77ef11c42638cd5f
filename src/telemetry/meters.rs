//! What this process measures of itself, for `/metrics`. What the history says is counted from there instead.

use std::sync::LazyLock;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Names and values of labels.
pub type MetricLabels = Vec<(&'static str, String)>;

/// Upper bounds of a histogram's buckets.
#[derive(Clone, Copy, Debug)]
pub struct Buckets(pub &'static [f64]);

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.0.iter().copied())
    }
}

/// Histograms by labels.
pub type Histograms = Family<MetricLabels, Histogram, Buckets>;

/// Labels of a request.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RequestLabels {
    http_request_method: &'static str,
    http_route: String,
    http_response_status_code: u16,
}

/// Bounds that OpenTelemetry's conventions name for requests, in seconds.
const REQUEST: Buckets = Buckets(&[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0]);
/// Seconds of a commit.
const COMMIT: Buckets =
    Buckets(&[0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0]);
/// Commands of a commit.
const COMMANDS: Buckets = Buckets(&[1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0]);
/// Seconds until an event has been written to a follower.
const LAG: Buckets = Buckets(&[0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0]);
/// Seconds until a person has answered.
const ANSWER: Buckets = Buckets(&[1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0]);

/// The meters of this process.
#[derive(Debug)]
pub struct Meters {
    requests: Family<RequestLabels, Histogram, Buckets>,
    commit_seconds: Histogram,
    commit_commands: Histogram,
    streams: Family<MetricLabels, Gauge>,
    event_lag: Histogram,
    answers: Histograms,
    deliveries: Family<MetricLabels, Counter>,
    actor_restarts: Family<MetricLabels, Counter>,
    worker_restarts: Family<MetricLabels, Counter>,
    swept: Counter,
}

static METERS: LazyLock<Meters> = LazyLock::new(|| {
    let deliveries = from_zero("outcome", &["delivered", "failed"]);
    let worker_restarts = from_zero("reason", &["died", "silent"]);
    Meters {
        requests: Family::new_with_constructor(REQUEST),
        commit_seconds: COMMIT.new_metric(),
        commit_commands: COMMANDS.new_metric(),
        streams: Family::default(),
        event_lag: LAG.new_metric(),
        answers: Family::new_with_constructor(ANSWER),
        deliveries,
        actor_restarts: Family::default(),
        worker_restarts,
        swept: Counter::default(),
    }
});

/// Counters by a label, all of them there from the beginning: a rate knows the first count as well.
#[must_use]
pub fn from_zero(label: &'static str, values: &[&str]) -> Family<MetricLabels, Counter> {
    let family = Family::default();
    values.iter().for_each(|value| drop(family.get_or_create(&vec![(label, (*value).to_owned())])));
    family
}

/// The meters of this process.
#[must_use]
pub fn meters() -> &'static Meters {
    &METERS
}

/// An open stream; it is counted until this is dropped.
#[derive(Debug)]
pub struct CountedStream(&'static str);

impl Drop for CountedStream {
    fn drop(&mut self) {
        METERS.streams.get_or_create(&scope(self.0)).dec();
    }
}

fn scope(name: &str) -> MetricLabels {
    vec![("scope", name.to_owned())]
}

impl Meters {
    /// Notes a request: its method, the pattern of its path and the status of its answer.
    pub fn request(&self, method: &'static str, route: String, status: u16, took: Duration) {
        let labels =
            RequestLabels { http_request_method: method, http_route: route, http_response_status_code: status };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Notes a commit and the number of its commands.
    pub fn commit(&self, commands: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        self.commit_commands.observe(commands as f64);
    }

    /// Counts an open stream: of a `task`, of `all`, or a `ws`.
    #[must_use]
    pub fn stream(&self, of: &'static str) -> CountedStream {
        self.streams.get_or_create(&scope(of)).inc();
        CountedStream(of)
    }

    /// Notes the time from the store of an event until it goes to a follower, in milliseconds.
    pub fn event_lag(&self, ms: i64) {
        self.event_lag.observe(ms.max(0) as f64 / 1e3);
    }

    /// Notes an answer, and the time since its question in milliseconds.
    pub fn answer(&self, answer: &str, ms: i64) {
        self.answers.get_or_create(&vec![("answer", answer.to_owned())]).observe(ms.max(0) as f64 / 1e3);
    }

    /// Counts an attempt to deliver a message to a webhook.
    pub fn delivery(&self, outcome: &str) {
        self.deliveries.get_or_create(&vec![("outcome", outcome.to_owned())]).inc();
    }

    /// Counts the restart of an actor.
    pub fn actor_restarted(&self, actor: &str) {
        self.actor_restarts.get_or_create(&vec![("actor", actor.to_owned())]).inc();
    }

    /// Counts the restart of a worker process.
    pub fn worker_restarted(&self, reason: &str) {
        self.worker_restarts.get_or_create(&vec![("reason", reason.to_owned())]).inc();
    }

    /// Counts processes that were left behind, and ended.
    pub fn swept(&self, processes: usize) {
        self.swept.inc_by(processes as u64);
    }

    /// Adds them to what is served.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "http_server_request_duration_seconds",
            "Time until the head of an answer",
            self.requests.clone(),
        );
        let own = registry.sub_registry_with_prefix("cc_anywhere");
        own.register("store_commit_duration_seconds", "Time of a commit of this process", self.commit_seconds.clone());
        own.register("store_commit_commands", "Commands of a commit of this process", self.commit_commands.clone());
        own.register("event_streams", "Open streams of events", self.streams.clone());
        own.register("event_lag_seconds", "Time from the store of an event to a follower", self.event_lag.clone());
        own.register("question_answer_seconds", "Time from a question to its answer", self.answers.clone());
        own.register("webhook_deliveries", "Attempts to deliver a message to a webhook", self.deliveries.clone());
        own.register("actor_restarts", "Restarts of actors of this process", self.actor_restarts.clone());
        own.register("worker_restarts", "Restarts of worker processes", self.worker_restarts.clone());
        own.register("processes_swept", "Processes that were left behind, ended by this process", self.swept.clone());
    }
}
