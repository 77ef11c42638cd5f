//! Logs, and whether the duties of this process are done. The text format is a small contract: a line begins with
//! the part that speaks, as `[Worker]`, so that it can be filtered with grep.

mod throttle;
mod vitals;

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::Log;
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
            let format = tracing_subscriber::fmt::format().json().flatten_event(true);
            layer.fmt_fields(JsonFields::new()).event_format(Counted(format)).with_filter(Throttle::default()).boxed()
        }
        false => layer.event_format(Text).with_filter(Throttle::default()).boxed(),
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

/// JSON, with how often the line was left out before.
struct Counted(Format<Json>);

impl<S, N> FormatEvent<S, N> for Counted
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let left_out = throttle::left_out();
        if left_out == 0 {
            return self.0.format_event(ctx, to, event);
        }
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        match line.trim_end().strip_suffix('}') {
            Some(line) => writeln!(to, "{line},\"repeated\":{left_out}}}"),
            None => to.write_str(&line),
        }
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
    fn format_event(&self, ctx: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let meta = event.metadata();
        write!(to, "[{}] ", speaker(meta.target()))?;
        ctx.field_format().format_fields(to.by_ref(), event)?;
        let left_out = throttle::left_out();
        if left_out > 0 {
            write!(to, " repeated={left_out}")?;
        }
        let level = meta.level().as_str().to_lowercase();
        writeln!(to, " level={level} time={}", crate::process::wall_now())
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
