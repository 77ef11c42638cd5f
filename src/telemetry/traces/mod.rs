//! Traces: which spans a task goes through, from the request that brought it to the tools that it called.
//!
//! *Owns* the place in a trace that work under way belongs to ([`current`]), and the spans that are open. *Promises* that
//! without a collector nothing is kept or sent, and a place that came from outside is handed on as it came; with one, that no work waits
//! for it: what the collector doesn't take in time is lost. What spans are called stands in `conventions`.

mod conventions;
mod export;

use std::future::Future;
use std::time::Duration;

use futures_util::future::Either;
use opentelemetry::trace::SpanKind;
use opentelemetry::{KeyValue, Value};

pub use conventions::variables_of_cli;

use crate::config::Traces;
use domain::TraceParent;

/// Time that spans get to leave when the process ends.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

tokio::task_local! {
    static PLACE: TraceParent;
}

/// The place in a trace that the work under way belongs to.
#[must_use]
pub fn current() -> Option<TraceParent> {
    PLACE.try_with(|place| *place).ok()
}

/// Runs this as a part of what has this place. The work is held once, however large it is.
pub fn within<F: Future>(place: Option<TraceParent>, work: F) -> impl Future<Output = F::Output> {
    match place {
        Some(place) => Either::Left(PLACE.scope(place, work)),
        None => Either::Right(work),
    }
}

/// Sends spans for as long as this lives.
#[derive(Debug)]
pub struct Tracing(());

impl Drop for Tracing {
    fn drop(&mut self) {
        export::stop(FLUSH_LIMIT);
    }
}

/// Begins to send spans, where a collector is named.
///
/// # Errors
/// What was asked for can't be done, in words.
pub fn start(traces: &Traces) -> Result<Tracing, String> {
    if let Some(endpoint) = &traces.endpoint {
        export::start(endpoint)?;
    }
    Ok(Tracing(()))
}

/// What a span begins with.
#[derive(Debug)]
struct Beginning {
    name: String,
    kind: SpanKind,
    /// Number of the span, where it is known before.
    id: Option<u64>,
    /// A span that this one follows.
    link: Option<TraceParent>,
    attributes: Vec<KeyValue>,
}

impl Beginning {
    const fn new(name: String, kind: SpanKind, attributes: Vec<KeyValue>) -> Self {
        Self { name, kind, id: None, link: None, attributes }
    }
}

/// Work that is under way; it has ended when this is dropped.
#[derive(Debug)]
pub struct Span {
    place: Option<TraceParent>,
    open: Option<export::Open>,
}

impl Span {
    /// Begins a part of `parent`. Without a collector nothing is put together for it.
    fn begin(parent: Option<TraceParent>, beginning: impl FnOnce() -> Beginning) -> Self {
        match export::begin(parent, beginning) {
            Some((open, place)) => Self { place: Some(place), open: Some(open) },
            None => Self { place: parent, open: None },
        }
    }

    /// Adds an attribute.
    fn note(&mut self, name: &'static str, value: impl Into<Value>) {
        if let Some(open) = &mut self.open {
            open.note(KeyValue::new(name, value));
        }
    }

    /// Its place, for what is a part of it elsewhere.
    #[must_use]
    pub const fn place(&self) -> Option<TraceParent> {
        self.place
    }

    /// Says that the work has failed, and with which error.
    pub fn fail(&mut self, error: &str) {
        if let Some(open) = &mut self.open {
            open.note(KeyValue::new("error.type", error.to_owned()));
            open.fail();
        }
    }

    /// Runs this as a part of the work.
    pub fn within<F: Future>(&self, work: F) -> impl Future<Output = F::Output> + use<F> {
        within(self.place, work)
    }
}
