//! Names of spans and attributes, all of them: OpenTelemetry's conventions for HTTP are stable, those for messaging and
//! generative AI are not yet (<https://opentelemetry.io/docs/specs/semconv/>). What they have no name for begins with
//! `cc.`.

use opentelemetry::KeyValue;
use opentelemetry::trace::SpanKind;

use super::{Beginning, Span, current};
use crate::config::Traces;
use domain::{
    Epoch, LeaseKey, Named as _, Outcome, ReleaseReason, SessionId, Spent, TaskId, TraceParent, span_of_attempt,
};

/// Name of the queue, where messages are named.
const QUEUE: &str = "tasks";

impl Span {
    /// A request over HTTP: its method, the pattern of its path, and the place of the client.
    #[must_use]
    pub fn of_request(method: &str, route: &str, client: Option<TraceParent>) -> Self {
        Self::begin(client, || {
            let attributes = vec![attribute("http.request.method", method), attribute("http.route", route)];
            Beginning::new(format!("{method} {route}"), SpanKind::Server, attributes)
        })
    }

    /// The status of the answer to a request.
    pub fn answered(&mut self, status: u16) {
        self.note("http.response.status_code", i64::from(status));
        if status >= 500 {
            self.fail(&status.to_string());
        }
    }

    /// The way of tasks into the queue.
    #[must_use]
    pub fn of_send(tasks: usize) -> Self {
        Self::begin(current(), || {
            let mut attributes = messaging("send");
            if tasks != 1 {
                let tasks = i64::try_from(tasks).unwrap_or(i64::MAX);
                attributes.push(KeyValue::new("messaging.batch.message_count", tasks));
            }
            Beginning::new(format!("send {QUEUE}"), SpanKind::Producer, attributes)
        })
    }

    /// The task that was stored.
    pub fn stored(&mut self, task: TaskId) {
        if self.open.is_some() {
            self.note("messaging.message.id", task.to_string());
        }
    }

    /// An attempt, from its claim to its report, in the trace of its task; from the second on it follows the one before.
    #[must_use]
    pub fn of_attempt(key: LeaseKey, attempt: i32, worker: &str, task: Option<TraceParent>) -> Self {
        Self::begin(task, || {
            let mut attributes = messaging("process");
            attributes.extend([
                attribute("messaging.message.id", &key.task.to_string()),
                KeyValue::new("cc.attempt", i64::from(attempt)),
                KeyValue::new("cc.epoch", key.epoch.number()),
                attribute("cc.worker.id", worker),
            ]);
            let before = LeaseKey { epoch: Epoch::of(key.epoch.number().saturating_sub(1)), ..key };
            let follows =
                task.filter(|_| attempt > 1).map(|task| TraceParent { span: span_of_attempt(before), ..task });
            let beginning = Beginning::new(format!("process {QUEUE}"), SpanKind::Consumer, attributes);
            Beginning { id: Some(span_of_attempt(key)), link: follows, ..beginning }
        })
    }

    /// How an attempt ended.
    pub fn outcome(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Completed => self.note("cc.outcome", "completed"),
            Outcome::Failed(failure) => {
                self.note("cc.outcome", "failed");
                self.note("cc.error.code", failure.code.clone());
                self.fail(failure.class.name());
            }
        }
    }

    /// Why an attempt was given back.
    pub fn released(&mut self, reason: ReleaseReason) {
        self.note("cc.outcome", "released");
        self.note("cc.released.because", reason.name());
    }

    /// The preparation of an attempt: its folder, worktree, files, home.
    #[must_use]
    pub fn of_set_up() -> Self {
        Self::begin(current(), || Beginning::new("cc.set_up".to_owned(), SpanKind::Internal, Vec::new()))
    }

    /// A check of a task's work.
    #[must_use]
    pub fn of_check() -> Self {
        Self::begin(current(), || Beginning::new("cc.verify".to_owned(), SpanKind::Internal, Vec::new()))
    }

    /// A run of the CLI.
    #[must_use]
    pub fn of_agent(model: Option<&str>) -> Self {
        Self::begin(current(), || {
            let mut attributes = vec![
                attribute("gen_ai.operation.name", "invoke_agent"),
                attribute("gen_ai.provider.name", "anthropic"),
                attribute("gen_ai.agent.name", "claude-code"),
            ];
            attributes.extend(model.map(|model| attribute("gen_ai.request.model", model)));
            Beginning::new("invoke_agent claude-code".to_owned(), SpanKind::Client, attributes)
        })
    }

    /// The session of a run, and whether its process had waited for the task.
    pub fn began(&mut self, session: SessionId, standby: bool) {
        self.note("gen_ai.conversation.id", session.to_string());
        self.note("cc.standby", standby);
    }

    /// What a run has cost.
    pub fn spent(&mut self, spent: &Spent) {
        self.note("gen_ai.usage.input_tokens", spent.tokens.input);
        self.note("gen_ai.usage.output_tokens", spent.tokens.output);
        if let Some(cost) = spent.cost_usd {
            self.note("cc.cost_usd", cost.dollars());
        }
    }

    /// A tool that the model calls, as the CLI's messages tell of it: its name, and that of the call.
    #[must_use]
    pub fn of_tool(tool: &str, call: &str) -> Self {
        Self::begin(current(), || {
            let attributes = vec![
                attribute("gen_ai.operation.name", "execute_tool"),
                attribute("gen_ai.tool.name", tool),
                attribute("gen_ai.tool.call.id", call),
            ];
            Beginning::new(format!("execute_tool {tool}"), SpanKind::Internal, attributes)
        })
    }
}

fn attribute(name: &'static str, value: &str) -> KeyValue {
    KeyValue::new(name, value.to_owned())
}

fn messaging(operation: &str) -> Vec<KeyValue> {
    vec![
        attribute("messaging.system", "cc_anywhere"),
        attribute("messaging.operation.type", operation),
        attribute("messaging.operation.name", operation),
        attribute("messaging.destination.name", QUEUE),
    ]
}

/// Variables that let the CLI send spans of its own, where it may: as a part of this place, where its task is known.
#[must_use]
pub fn variables_of_cli(traces: &Traces, task: Option<(LeaseKey, Option<TraceParent>)>) -> Vec<(String, String)> {
    let Some(endpoint) = traces.endpoint.as_ref().filter(|_| traces.from_cli) else { return Vec::new() };
    let mut variables = vec![
        ("CLAUDE_CODE_ENABLE_TELEMETRY", "1".to_owned()),
        ("CLAUDE_CODE_ENHANCED_TELEMETRY_BETA", "1".to_owned()),
        ("OTEL_TRACES_EXPORTER", "otlp".to_owned()),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.clone()),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/protobuf".to_owned()),
    ];
    if let Some((key, place)) = task {
        variables.push(("OTEL_RESOURCE_ATTRIBUTES", format!("cc.task.id={},cc.epoch={}", key.task, key.epoch)));
        variables.extend(place.map(|place| ("TRACEPARENT", place.to_string())));
    }
    let variables = variables.into_iter().map(|(name, value)| (name.to_owned(), value));
    variables.chain(traces.for_cli.iter().cloned()).collect()
}
