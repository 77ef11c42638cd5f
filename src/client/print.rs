//! Output of commands: for people, or as it came.

use std::borrow::Cow;

use anyhow::Context as _;
use console::style;
use domain::{Named as _, Status, visible};
use serde::de::DeserializeOwned;
use serde_json::Value;
use wire::response::{Explanation, Failed, Health, TaskPage, TaskView, Usage, Workers};

use super::http::{self, Reply};

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
    let padded = format!("{status:9}");
    match status {
        Status::Completed => style(padded).green(),
        Status::Failed => style(padded).red(),
        Status::Running => style(padded).cyan(),
        Status::Cancelled => style(padded).yellow(),
        Status::Pending => style(padded),
    }
    .to_string()
}

/// The first words of an instruction, on one line.
pub fn brief(instruction: &str) -> String {
    instruction.lines().next().unwrap_or_default().chars().take(60).collect()
}

/// A task on one line.
pub fn line(task: &Task) {
    println!("{}  {}  {}  {}", task.task_id, status(task.status), task.created_at, brief(&task.instruction));
}

/// Tasks, a line each.
pub fn tasks(page: &TaskPage<'static>) {
    page.tasks.iter().for_each(line);
}

/// A task, whole.
pub fn task(task: &Task) {
    fn text(value: Option<&impl ToString>) -> Option<String> {
        value.map(ToString::to_string)
    }
    line(task);
    let tags = (!task.tags.is_empty()).then(|| task.tags.join(", "));
    let requires = (!task.requires.is_empty()).then(|| task.requires.join(", "));
    let error = task.error.as_ref().map(|error| format!("{} {}", style(&error.code).red(), error.message));
    for (name, shown) in [
        ("folder", text(task.working_directory.as_ref())),
        ("started", text(task.started_at.as_ref())),
        ("ended", text(task.completed_at.as_ref())),
        ("due", text(task.due_at.as_ref())),
        ("worker", text(task.worker_id.as_ref())),
        ("session", text(task.sdk_session_id.as_ref())),
        ("attempt", Some(task.attempt.to_string())),
        ("turns", text(task.num_turns.as_ref())),
        ("tags", tags),
        ("requires", requires),
        ("waits for", text(task.waiting_for.as_deref())),
        ("cost", task.cost_usd.map(|usd| format!("${usd:.4}"))),
        ("error", error),
    ] {
        if let Some(shown) = shown {
            println!("{:>10}  {shown}", style(name).dim());
        }
    }
    if let Some(result) = &task.result {
        println!("\n{result}");
    }
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
}

/// Workers, a line each.
pub fn workers(all: &Workers) {
    for worker in &all.workers {
        let connected = if worker.connected { "connected" } else { "gone" };
        println!(
            "{:12}  pid {:8}  {connected:9}  {}/{} tasks  {} restarts",
            worker.worker_id, worker.pid, worker.running, worker.concurrency, worker.restart_count
        );
    }
}

/// Prints the spending, a line for each day and key.
pub fn usage(usage: &Usage) {
    for day in &usage.days {
        println!(
            "{}  {:12}  ${:9.4}  {:>6} attempts  {:>9} in  {:>9} out",
            day.day, day.key, day.cost_usd, day.attempts, day.tokens.input, day.tokens.output
        );
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
pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
