//! Logs, and whether the duties of this process are done. The text format is a small contract: a line begins with
//! the part that speaks, as `[Worker]`, so that it can be filtered with grep.

mod mask;
mod meters;
mod throttle;
pub mod traces;
mod vitals;

use std::fmt::{self, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Span, Subscriber};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::{LookupSpan, Scope, SpanRef};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Log;
use domain::{TaskId, TraceParent, visible};
pub use mask::{Hidden, Masker, Pieces, hide, hide_also, mask, mask_value, masked};
pub use meters::{Buckets, CountedStream, Histograms, MetricLabels, from_zero, meters};
use throttle::Throttle;
pub use vitals::{Duty, Failing, Vitals};

/// Begins to log on standard output.
///
/// # Errors
/// The filter can't be read.
pub fn start(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter_of(&log.level))?;
    // A broken pipe must not end a worker that outlives its supervisor's terminal.
    let layer = tracing_subscriber::fmt::layer().log_internal_errors(false).with_ansi(false);
    let layer = match log.json {
        true => {
            let format = tracing_subscriber::fmt::format()
                .json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false);
            let layer = layer.fmt_fields(JsonFields::new()).event_format(Counted(format));
            layer.with_filter(Throttle::<JsonFields>::default()).boxed()
        }
        false => layer.event_format(Text).with_filter(Throttle::<DefaultFields>::default()).boxed(),
    };
    tracing_subscriber::registry().with(filter).with(layer).init();
    // A panic is caught where it costs one request or one restart; here it is said like anything else.
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        let why = panic.payload_as_str().unwrap_or("no text");
        let thread = std::thread::current();
        PANICS.fetch_add(1, Ordering::Relaxed);
        tracing::error!(target: "cc_anywhere::supervise", place, why, thread = thread.name().unwrap_or_default(), "Panicked");
    }));
    Ok(())
}

/// Panics since the start of the process.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Returns how often anything in this process has panicked.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// The span of a task: every line of the log within it names the task, and the attempt and the trace where there is one.
#[must_use]
pub fn task_span(task: TaskId, attempt: Option<i32>, place: Option<TraceParent>) -> Span {
    tracing::info_span!("task", taskId = %task, attempt, trace_id = place.map(|place| tracing::field::display(place.trace_id())))
}

/// The fields of the spans around an event, as they are written; the outermost first.
fn fields_of_spans<S, N>(ctx: &FmtContext<'_, S, N>) -> Vec<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    let fields = |span: SpanRef<'_, S>| Some(span.extensions().get::<FormattedFields<N>>()?.fields.clone());
    ctx.event_scope().into_iter().flat_map(Scope::from_root).filter_map(fields).collect()
}

/// A line of the log, without secrets, and without anything that a terminal acts on or that begins another line.
fn write_line(mut to: Writer<'_>, line: &str) -> fmt::Result {
    writeln!(to, "{}", visible(&masked(line.trim_end_matches('\n')), false))
}

/// JSON, with the fields of the spans, and how often the line was left out before.
struct Counted(Format<Json>);

impl<S, N> FormatEvent<S, N> for Counted
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let (left_out, spans) = (throttle::left_out(), fields_of_spans(ctx));
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        if left_out > 0 || !spans.is_empty() {
            let Some(fields) = line.trim_end().strip_suffix('}') else { return write_line(to, &line) };
            let mut more = fields.to_owned();
            for span in spans.iter().filter_map(|span| span.strip_prefix('{')?.strip_suffix('}')) {
                write!(more, ",{span}")?;
            }
            if left_out > 0 {
                write!(more, ",\"repeated\":{left_out}")?;
            }
            line = more + "}";
        }
        write_line(to, &line)
    }
}

/// A bare level is ours alone: libraries speak up when they warn.
fn filter_of(level: &str) -> String {
    if level.contains(['=', ',']) { level.to_owned() } else { format!("warn,cc_anywhere={level}") }
}

/// `[Worker] Task completed taskId=… duration=1234 level=info time=2026-01-31T08:15:00.000Z`
struct Text;

impl<S, N> FormatEvent<S, N> for Text
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        let mut line = format!("[{}] ", speaker(meta.target()));
        // What happened, to which task, and how: `Task completed taskId=… duration=1234 attempt=1`.
        let mut message = Message::default();
        event.record(&mut message);
        let mut fields = String::new();
        ctx.field_format().format_fields(Writer::new(&mut fields), event)?;
        let rest = fields.strip_prefix(&message.0).unwrap_or(&fields);
        line.push_str(&fields[..fields.len() - rest.len()]);
        let spans = fields_of_spans(ctx);
        let spans: Vec<_> = spans.iter().map(|span| span.split_once(' ').unwrap_or((span, ""))).collect();
        for (id, _) in &spans {
            write!(line, " {id}")?;
        }
        line.push_str(rest);
        for (_, more) in spans.iter().filter(|(_, more)| !more.is_empty()) {
            write!(line, " {more}")?;
        }
        let left_out = throttle::left_out();
        if left_out > 0 {
            write!(line, " repeated={left_out}")?;
        }
        let level = meta.level().as_str().to_lowercase();
        write!(line, " level={level} time={}", crate::process::wall_now())?;
        write_line(to, &line)
    }
}

/// The message of an event.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// The part of the program that speaks: `cc_anywhere::worker::actor` is `Worker`.
fn speaker(target: &str) -> String {
    let mut parts = target.split("::");
    let part = match (parts.next(), parts.next()) {
        (Some("cc_anywhere"), Some(part)) => part,
        (first, _) => first.unwrap_or_default(),
    };
    let mut letters = part.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}

/// An error with its causes, on one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
