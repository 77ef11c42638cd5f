//! The client's commands, over HTTP. Talks to the server only, as any other client does.
//!
//! Exit codes: 0 when it was done, or the task completed; 1 when the task failed, the server refused or can't be
//! reached; 2 for a bad argument or setting; 3 when the task was cancelled. With `--json` answers are printed as they came.

mod approve;
mod doctor;
mod http;
mod print;
mod schedules;
mod submit;
mod watch;

use clap::Subcommand;
use serde_json::{Value, json};

use http::Server;
use print::Output;

/// A command of the client.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Submit a task
    Submit(submit::Submit),
    /// Submit many tasks, all or none: a file with a JSON array of them
    Batch {
        /// The file; `-` is standard input
        file: String,
        /// How the answer is printed
        #[command(flatten)]
        output: Output,
    },
    /// List tasks, newest first
    Tasks {
        /// Only in this status
        #[arg(long)]
        status: Option<String>,
        /// Only with this tag
        #[arg(long)]
        tag: Option<String>,
        /// At most so many, 1 to 100
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// How the answer is printed
        #[command(flatten)]
        output: Output,
    },
    /// Show a task
    Show(OfTask),
    /// Say why a task isn't running
    Explain(OfTask),
    /// Follow a task to its end, and answer its questions; the exit code tells the outcome
    Watch(OfTask),
    /// Cancel a task
    Cancel(OfTask),
    /// Change when a pending task starts
    Amend {
        /// Which
        #[command(flatten)]
        task: OfTask,
        /// 0 to 100, higher starts first
        #[arg(long)]
        priority: Option<i64>,
        /// Not before this time, such as 2026-01-31T08:15:00Z, or "now"
        #[arg(long)]
        run_at: Option<String>,
    },
    /// Answer a question of a task
    Approve(approve::Approve),
    /// Say something to a task: a further turn
    Say {
        /// Which
        #[command(flatten)]
        task: OfTask,
        /// What; `-` reads it from standard input
        text: String,
    },
    /// Stop the turn of a task, and keep its session
    Interrupt(OfTask),
    /// Run a task that has ended again, as a new task
    Retry(OfTask),
    /// Hold tasks back: all, or those of a tag
    Pause(SomeTasks),
    /// Let tasks go on: all, or those of a tag
    Start(SomeTasks),
    /// List the workers
    Workers(Output),
    /// List schedules, or add, show, run and remove one
    Schedules(schedules::Schedules),
    /// Show what was spent, by day and key
    Usage {
        /// The first day, such as 2026-01-01
        #[arg(long)]
        from: Option<String>,
        /// The last day
        #[arg(long)]
        to: Option<String>,
        /// How the answer is printed
        #[command(flatten)]
        output: Output,
    },
    /// Ask how the server is
    Health(Output),
    /// Say what is missing on this machine, and how to mend it
    Doctor(crate::config::Flags),
}

/// A task, and how the answer is printed.
#[derive(Debug, clap::Args)]
pub struct OfTask {
    /// Its id
    id: String,
    #[command(flatten)]
    output: Output,
}

impl OfTask {
    fn path(&self, end: &str) -> String {
        format!("/api/tasks/{}{end}", self.id)
    }
}

/// Which tasks are held back, or go on.
#[derive(Debug, clap::Args)]
pub struct SomeTasks {
    /// Only those with this tag
    #[arg(long)]
    tag: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Runs a command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(command: Command) -> anyhow::Result<u8> {
    crate::process::end_with_closed_pipes();
    if let Command::Doctor(flags) = command {
        return doctor::run(&flags);
    }
    let server = Server::find()?;
    match command {
        Command::Submit(submit) => submit::run(&server, &submit),
        Command::Batch { file, output } => {
            let tasks: Value = serde_json::from_str(&submit::read(&file)?)?;
            let answer = server.ask("POST", "/api/tasks/batch", Some(&json!({ "tasks": tasks })))?;
            Ok(output.answer(&answer, |answer| print::ids(&answer["tasks"])))
        }
        Command::Tasks { status, tag, limit, output } => {
            let mut query = format!("?limit={limit}");
            for (name, value) in [("status", status), ("tag", tag)] {
                query += &value.map(|value| format!("&{name}={}", http::encode(&value))).unwrap_or_default();
            }
            let answer = server.ask("GET", &format!("/api/tasks{query}"), None)?;
            Ok(output.answer(&answer, print::tasks))
        }
        Command::Show(task) => {
            let answer = server.ask("GET", &task.path(""), None)?;
            Ok(task.output.answer(&answer, print::task))
        }
        Command::Explain(task) => {
            let answer = server.ask("GET", &task.path("/explain"), None)?;
            Ok(task.output.answer(&answer, print::reasons))
        }
        Command::Watch(task) => watch::run(&server, &task.id, &task.output),
        Command::Cancel(task) => {
            let answer = server.ask("DELETE", &task.path(""), None)?;
            Ok(task.output.answer(&answer, print::line))
        }
        Command::Amend { task, priority, run_at } => {
            let mut body = json!({});
            priority.into_iter().for_each(|priority| body["priority"] = json!(priority));
            run_at.into_iter().for_each(|at| body["runAt"] = if at == "now" { Value::Null } else { json!(at) });
            let answer = server.ask("PATCH", &task.path(""), Some(&body))?;
            Ok(task.output.answer(&answer, print::line))
        }
        Command::Approve(approve) => approve::run(&server, &approve),
        Command::Say { task, text } => {
            let text = if text == "-" { submit::read("-")? } else { text };
            let answer = server.ask("POST", &task.path("/messages"), Some(&json!({ "text": text })))?;
            Ok(task.output.answer(&answer, |_| println!("said")))
        }
        Command::Interrupt(task) => {
            let answer = server.ask("POST", &task.path("/interrupt"), None)?;
            Ok(task.output.answer(&answer, |_| println!("interrupted")))
        }
        Command::Retry(task) => {
            let answer = server.ask("POST", &task.path("/retry"), None)?;
            Ok(task.output.answer(&answer, print::id))
        }
        Command::Pause(tasks) => set_paused(&server, "/api/queue/pause", &tasks),
        Command::Start(tasks) => set_paused(&server, "/api/queue/start", &tasks),
        Command::Workers(output) => Ok(output.answer(&server.ask("GET", "/api/workers", None)?, print::workers)),
        Command::Schedules(schedules) => schedules::run(&server, &schedules),
        Command::Usage { from, to, output } => {
            let day = |name: &str, day: Option<String>| day.map(|day| format!("{name}={}&", http::encode(&day)));
            let query = [day("from", from), day("to", to)].into_iter().flatten().collect::<String>();
            Ok(output.answer(&server.ask("GET", &format!("/api/usage?{query}"), None)?, print::usage))
        }
        Command::Health(output) => Ok(output.answer(&server.ask("GET", "/health", None)?, print::health)),
        Command::Doctor(_) => Ok(0),
    }
}

fn set_paused(server: &Server, path: &str, tasks: &SomeTasks) -> anyhow::Result<u8> {
    let body = tasks.tag.as_ref().map(|tag| json!({ "tag": tag }));
    let answer = server.ask("POST", path, body.as_ref())?;
    let of = tasks.tag.as_ref().map_or_else(|| "the queue".to_owned(), |tag| format!("tag {tag}"));
    Ok(tasks.output.answer(&answer, |answer| {
        let paused = answer["isPaused"].as_bool().or(answer["paused"].as_bool()).unwrap_or_default();
        println!("{of} {}", if paused { "is paused" } else { "goes on" });
    }))
}
