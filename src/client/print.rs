//! Output of commands: for people, or as it came.

use std::borrow::Cow;

use anyhow::Context as _;
use console::style;
use domain::{Named as _, Status, visible};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::response::{Explanation, Failed, Forecast, Health, TaskView, Usage, UsageDay, Worker, Workers};

use super::http::{self, Reply};
use super::table::{self, Cell, Column, number, text, whole};
use super::words::{ago, colour, length};
use crate::process::wall_now;

/// A task, as the client reads it.
pub type Task = TaskView<'static>;

/// Format of the output.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub struct Output {
    /// Print the server's answer as JSON
    #[arg(long, global = true)]
    json: bool,
    /// Print control characters as they came; otherwise they are shown, as \u001b
    #[arg(long, global = true)]
    raw: bool,
}

impl Output {
    /// True if it is for a program.
    pub const fn is_json(self) -> bool {
        self.json
    }

    /// Prints an answer; `people` prints one that is a success. Returns the exit code.
    ///
    /// # Errors
    /// The answer can't be read.
    pub fn answer<T: DeserializeOwned>(self, reply: &Reply, people: impl FnOnce(&T)) -> anyhow::Result<u8> {
        self.print(reply, || self.read(&reply.body).map(|content| people(&content)))
    }

    /// Prints an answer of which people need only know that it is a success.
    pub fn done(self, reply: &Reply, people: &str) -> anyhow::Result<u8> {
        self.print(reply, || {
            println!("{people}");
            Ok(())
        })
    }

    fn print(self, reply: &Reply, people: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<u8> {
        match (reply.ok, self.json) {
            (_, true) => println!("{}", self.json(&reply.body)),
            (true, false) => people()?,
            (false, false) => eprintln!("{}", visible(&refusal(reply), true)),
        }
        Ok(u8::from(!reply.ok))
    }

    /// JSON of the server for a program: it means the same, and a terminal acts on nothing in it.
    pub fn json(self, text: &str) -> Cow<'_, str> {
        if self.raw { Cow::Borrowed(text) } else { visible(text, true) }
    }

    /// Text of others for people.
    pub fn text(self, text: &str) -> Cow<'_, str> {
        if self.raw { Cow::Borrowed(text) } else { visible(text, true) }
    }

    /// JSON of the server for people: texts of others can be printed.
    ///
    /// # Errors
    /// The answer can't be read.
    pub fn read<T: DeserializeOwned>(self, text: &str) -> anyhow::Result<T> {
        if self.raw {
            return http::parse(text);
        }
        let mut value = http::parse(text)?;
        show(&mut value);
        serde_json::from_value(value).context(http::OTHER_VERSION)
    }
}

/// Shows what is hidden in the texts of a value.
fn show(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Cow::Owned(shown) = visible(text, true) {
                *text = shown;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(show),
        Value::Object(fields) => {
            let all = std::mem::take(fields).into_iter();
            *fields = all
                .map(|(name, mut value)| {
                    show(&mut value);
                    (visible(&name, false).into_owned(), value)
                })
                .collect();
        }
        _ => {}
    }
}

/// Returns the reason of a refusal, in words.
pub fn refusal(reply: &Reply) -> String {
    match reply.content() {
        Ok(Failed { error }) => format!("{} ({})", error.message, error.code),
        Err(_) => reply.body.clone(),
    }
}

/// The exit code of a task that has ended.
pub const fn exit_code(status: Status) -> u8 {
    match status {
        Status::Completed => 0,
        Status::Cancelled => 3,
        _ => 1,
    }
}

/// A status, in its colour.
pub fn status(status: Status) -> String {
    colour(status)(status.to_string())
}

/// The first words of an instruction, on one line.
pub fn brief(instruction: &str) -> String {
    instruction.lines().next().unwrap_or_default().chars().take(60).collect()
}

/// A task on one line.
pub fn line(task: &Task) {
    super::list::tasks(std::slice::from_ref(task));
}

/// Prints the reasons for a task's status.
pub fn reasons(explanation: &Explanation) {
    if let Some(position) = explanation.position {
        println!("place {position}");
    }
    for reason in &explanation.reasons {
        let until = reason.until.map(|until| format!(", until {until}")).unwrap_or_default();
        println!("{}: {}{until}", style(&reason.code).bold(), reason.message);
    }
    if let Some(Forecast { starts_at, duration_ms, cost_usd, based_on, like }) = &explanation.forecast {
        let starts = starts_at.map(|at| format!("starts about {at}, ")).unwrap_or_default();
        let cost = cost_usd.map(|cost| format!(", costs {} to {}", cost.median.shown(), cost.most.shown()));
        let (median, most) = (length(duration_ms.median), length(duration_ms.most));
        println!("{starts}takes {median} to {most}{}: as {based_on} tasks like it ({like})", cost.unwrap_or_default());
    }
}

/// Workers, a line each.
pub fn workers(all: &Workers) {
    const COLUMNS: &[Column] = &[
        whole("WORKER"),
        whole("STATE"),
        number("TASKS"),
        number("RESTARTS"),
        whole("SINCE"),
        number("PID"),
        text("HOST", 8),
        text("LABELS", 8),
    ];
    let now = wall_now();
    let row = |worker: &Worker| {
        let name = worker.state.and_then(|state| serde_json::to_value(state).ok()?.as_str().map(str::to_owned));
        let state = name.unwrap_or_else(|| if worker.connected { "connected" } else { "gone" }.to_owned());
        let since = if table::is_for_people() { ago(worker.start_time, now) } else { worker.start_time.to_string() };
        vec![
            worker.worker_id.as_str().into(),
            Cell::styled(
                state,
                if worker.connected {
                    |text| style(text).green().to_string()
                } else {
                    |text| style(text).yellow().to_string()
                },
            ),
            format!("{}/{}", worker.running, worker.concurrency).into(),
            worker.restart_count.to_string().into(),
            since.into(),
            worker.pid.to_string().into(),
            worker.host.clone().unwrap_or_default().into(),
            worker.labels.clone().unwrap_or_default().join(",").into(),
        ]
    };
    if all.workers.is_empty() && table::is_for_people() {
        println!("No worker is there. In managed mode POST /api/workers starts one; else start `cc-anywhere worker`.");
    } else {
        table::print(COLUMNS, &all.workers.iter().map(row).collect::<Vec<_>>());
    }
}

/// Prints the spending, a line for each day and key.
pub fn usage(usage: &Usage) {
    const COLUMNS: &[Column] =
        &[whole("DAY"), text("KEY", 8), number("COST"), number("ATTEMPTS"), number("IN"), number("OUT")];
    let row = |day: &UsageDay| {
        vec![
            day.day.as_str().into(),
            day.key.as_str().into(),
            format!("${:.4}", day.cost_usd).into(),
            day.attempts.to_string().into(),
            day.tokens.input.to_string().into(),
            day.tokens.output.to_string().into(),
        ]
    };
    if !usage.days.is_empty() {
        table::print(COLUMNS, &usage.days.iter().map(row).collect::<Vec<_>>());
    }
    println!("total ${:.4}", usage.total_usd);
    if let Some(left) = usage.today.server.left_usd {
        println!("left today ${left:.4}");
    }
}

/// Prints the health of the server.
pub fn health(health: &Health) {
    let count = |count: Option<i64>| count.map_or_else(|| "?".to_owned(), |count| count.to_string());
    println!(
        "{}: {} pending, {} running, {} workers ({})",
        health.status.name(),
        count(health.queue.pending),
        count(health.queue.running),
        health.workers.count,
        health.worker_mode
    );
}

/// The text of a value of the model's, or nothing.
pub fn text_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
