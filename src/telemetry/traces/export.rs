//! The way of spans to a collector: OTLP over HTTP, by OpenTelemetry's library, on a thread of its own.

use std::cell::Cell;
use std::sync::OnceLock;
use std::time::Duration;

use async_trait::async_trait;
use http::{Request, Response};
use opentelemetry::trace::{
    Link, Span as _, SpanBuilder, SpanContext, SpanId, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState,
    Tracer as _, TracerProvider as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{IdGenerator, RandomIdGenerator, SdkTracer, SdkTracerProvider};

use super::Beginning;
use domain::TraceParent;

/// Longest time that the collector gets for one answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Bytes of an answer that are read: it is an empty message, or an error.
const MAX_ANSWER: u64 = 64 << 10;

static EXPORT: OnceLock<(SdkTracerProvider, SdkTracer)> = OnceLock::new();

/// An open span.
#[derive(Debug)]
pub struct Open(opentelemetry_sdk::trace::Span);

impl Open {
    pub fn note(&mut self, attribute: KeyValue) {
        self.0.set_attribute(attribute);
    }

    pub fn fail(&mut self) {
        self.0.set_status(Status::error(""));
    }
}

pub fn start(endpoint: &str) -> Result<(), String> {
    let exporter = SpanExporter::builder().with_http().with_http_client(Client::new()).with_endpoint(endpoint).build();
    let exporter = exporter.map_err(|error| format!("OTEL_EXPORTER_OTLP_ENDPOINT: {error}"))?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .with_id_generator(Ids::default())
        .with_resource(resource())
        .build();
    let tracer = provider.tracer("cc-anywhere");
    drop(EXPORT.set((provider, tracer)));
    Ok(())
}

/// What all spans of this process say of it. `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` have the last word.
fn resource() -> Resource {
    const UNKNOWN: &str = "unknown_service";
    let known = Resource::builder().build();
    let name = known.get(&"service.name".into()).filter(|name| !name.as_str().starts_with(UNKNOWN));
    let ours = [
        KeyValue::new("service.name", name.unwrap_or_else(|| "cc-anywhere".into())),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("process.pid", i64::from(std::process::id())),
    ];
    Resource::builder_empty()
        .with_attributes(ours)
        .with_attributes(
            known
                .iter()
                .filter(|(name, _)| name.as_str() != "service.name")
                .map(|(name, value)| KeyValue::new(name.clone(), value.clone())),
        )
        .build()
}

pub fn stop(limit: Duration) {
    if let Some((provider, _)) = EXPORT.get()
        && let Err(error) = provider.shutdown_with_timeout(limit)
    {
        tracing::warn!(%error, "The last spans of traces were not sent");
    }
}

pub fn begin(parent: Option<TraceParent>, beginning: impl FnOnce() -> Beginning) -> Option<(Open, TraceParent)> {
    let (_, tracer) = EXPORT.get()?;
    let Beginning { name, kind, id, link, attributes } = beginning();
    let context = parent.map_or_else(Context::new, |parent| Context::new().with_remote_span_context(outer(parent)));
    let builder = SpanBuilder {
        span_kind: Some(kind),
        name: name.into(),
        attributes: Some(attributes),
        links: link.map(|link| vec![Link::with_context(outer(link))]),
        ..SpanBuilder::default()
    };
    NEXT.set(id);
    let span = tracer.build_with_context(builder, &context);
    NEXT.set(None);
    let is = span.span_context();
    let place = TraceParent {
        trace: u128::from_be_bytes(is.trace_id().to_bytes()),
        span: u64::from_be_bytes(is.span_id().to_bytes()),
        sampled: is.is_sampled(),
    };
    // After the end of the sender, spans have no numbers.
    (place.trace != 0).then_some((Open(span), place))
}

/// A place in a trace that came from elsewhere.
fn outer(place: TraceParent) -> SpanContext {
    let flags = TraceFlags::default().with_sampled(place.sampled);
    SpanContext::new(TraceId::from(place.trace), SpanId::from(place.span), flags, true, TraceState::NONE)
}

thread_local! {
    /// Number of the span that is begun next, where it is known before.
    static NEXT: Cell<Option<u64>> = const { Cell::new(None) };
}

/// Numbers by chance, but for spans whose number is known.
#[derive(Debug, Default)]
struct Ids(RandomIdGenerator);

impl IdGenerator for Ids {
    fn new_trace_id(&self) -> TraceId {
        self.0.new_trace_id()
    }

    fn new_span_id(&self) -> SpanId {
        NEXT.take().map_or_else(|| self.0.new_span_id(), SpanId::from)
    }
}

/// Posts to the collector. It blocks, on the thread of the exporter.
#[derive(Debug)]
struct Client(ureq::Agent);

impl Client {
    fn new() -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(ANSWER_LIMIT))
            .max_redirects(0)
            .user_agent(concat!("cc-anywhere/", env!("CARGO_PKG_VERSION")));
        Self(config.build().into())
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.0.run(request.map(|body| body.to_vec())).inspect_err(|error| {
            tracing::warn!(%error, "Traces can't be sent to their collector");
        });
        let (head, mut body) = sent?.into_parts();
        if !head.status.is_success() {
            tracing::warn!(status = head.status.as_u16(), "The collector refuses traces");
        }
        let body = body.with_config().limit(MAX_ANSWER).read_to_vec()?;
        Ok(Response::from_parts(head, body.into()))
    }
}
