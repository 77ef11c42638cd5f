//! Logs. The text format is a small contract: a line begins with the part that speaks, as
//! `[Worker]`, so that it can be filtered with grep.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::config::Log;

/// Begins to log on standard output.
///
/// # Errors
/// The filter can't be read.
pub fn start(log: &Log) -> Result<(), tracing_subscriber::filter::ParseError> {
    let filter = EnvFilter::try_new(filter_of(&log.level))?;
    // A broken pipe must not end a worker that outlives its supervisor's terminal.
    let builder = tracing_subscriber::fmt().with_env_filter(filter).log_internal_errors(false);
    if log.json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(false).event_format(Text).init();
    }
    Ok(())
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
