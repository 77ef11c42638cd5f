//! The client's commands, over HTTP. Talks to the server only, as any other client does.
//!
//! Exit codes: 0 when it was done, or the task completed; 1 when the task failed, the server refused or can't be
//! reached; 2 for a bad argument or setting; 3 when the task was cancelled. With `--json` answers are printed as they came.

mod approve;
mod doctor;
mod files;
mod http;
mod ids;
mod keys;
mod list;
mod mcp;
mod open;
mod print;
mod race;
mod reference;
mod rules;
mod schedules;
mod search;
mod secrets;
mod settings;
mod show;
mod submit;
mod table;
mod watch;
mod webhooks;
mod words;
mod worktrees;

use clap::Subcommand;
use clap_complete::ArgValueCompleter;
use domain::Timestamp;
use serde_json::{Value, json};
use wire::request::{Members, Message, TaskChanges};
use wire::response::BatchReceipt;

use http::Server;
use print::Output;
pub use reference::reference;

/// A command of the client.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Open the dashboard in a browser, signed in
    Open(open::Args),
    /// Asks the server
    #[command(flatten)]
    Ask(Box<Ask>),
    /// Serve the tasks as tools of a model, over standard input and output: claude mcp add cc -- cc-anywhere mcp
    Mcp,
    /// Say what is missing on this machine, and how to mend it
    Doctor(Box<doctor::Args>),
    /// List the settings, as they are in force here
    Settings(settings::Args),
}

/// A command that asks the server.
#[derive(Debug, Subcommand)]
pub enum Ask {
    /// Submit a task
    Submit(Box<submit::Submit>),
    /// Submit many tasks, all or none: a file with a JSON array of them
    Batch {
        /// The file; `-` is standard input
        file: String,
        /// Format of the output
        #[command(flatten)]
        output: Output,
    },
    /// List tasks, newest first
    Tasks(list::Args),
    /// Find words in conversations: what models said, what tools were asked and answered
    Search(search::Args),
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
        /// The task
        #[command(flatten)]
        task: OfTask,
        /// 0 to 100, higher starts first
        #[arg(long)]
        priority: Option<i64>,
        /// Earliest start, such as 2026-01-31T08:15:00Z, or "now"
        #[arg(long, value_parser = time_or_now)]
        run_at: Option<Option<Timestamp>>,
        /// Wait for no other task any more
        #[arg(long)]
        waive: bool,
    },
    /// Answer a question of a task
    Approve(approve::Approve),
    /// Say something to a task: a further turn
    Say {
        /// The task
        #[command(flatten)]
        task: OfTask,
        /// Text; `-` reads it from standard input
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
    /// List the worktrees of tasks, or remove one
    Worktrees(worktrees::Worktrees),
    /// Show the race of a task side by side, or choose its winner
    Race(race::Race),
    /// List files that were sent for tasks, or send, get and remove one
    Files(files::Files),
    /// List secrets of tasks without their values, or set and remove one
    Secrets(secrets::Secrets),
    /// List calls of tools that need no answer, and what your answers suggest; add and remove one
    Rules(rules::Rules),
    /// List webhooks and notifications, or add, enable, disable and remove one
    Webhooks(webhooks::Webhooks),
    /// List the files that a task has left, or write them
    Artifacts(files::Artifacts),
    /// List schedules, or add, show, run and remove one
    Schedules(schedules::Schedules),
    /// List API keys, or create, rotate and revoke one
    Keys(keys::Keys),
    /// Show who has changed what: admins, and answers to questions
    Audit {
        /// Maximum number of entries, 1 to 1000
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// Format of the output
        #[command(flatten)]
        output: Output,
    },
    /// Show what was spent, by day and key
    Usage {
        /// The first day, such as 2026-01-01
        #[arg(long)]
        from: Option<String>,
        /// The last day
        #[arg(long)]
        to: Option<String>,
        /// Format of the output
        #[command(flatten)]
        output: Output,
    },
    /// Ask how the server is
    Health(Output),
}

/// A task, and how the answer is printed.
#[derive(Debug, clap::Args)]
pub struct OfTask {
    /// The task's id, or what no other id begins or ends with
    #[arg(add = ArgValueCompleter::new(ids::complete))]
    id: String,
    #[command(flatten)]
    output: Output,
}

impl OfTask {
    fn path(&self, server: &Server, end: &str) -> anyhow::Result<String> {
        Ok(format!("/api/tasks/{}{end}", ids::resolve(server, &self.id)?))
    }
}

/// Tasks that are paused or resumed.
#[derive(Debug, clap::Args)]
pub struct SomeTasks {
    /// Only tasks with this tag
    #[arg(long)]
    tag: Option<String>,
    #[command(flatten)]
    output: Output,
}

/// Runs a command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(command: ClientCommand) -> anyhow::Result<u8> {
    sys::reset_sigpipe();
    match command {
        ClientCommand::Ask(command) => ask(&Server::find()?, *command),
        ClientCommand::Open(args) => open::run(&args),
        ClientCommand::Mcp => mcp::run(Server::find()?),
        ClientCommand::Doctor(args) => doctor::run(&args),
        ClientCommand::Settings(args) => settings::run(&args),
    }
}

fn ask(server: &Server, command: Ask) -> anyhow::Result<u8> {
    match command {
        Ask::Submit(submit) => submit::run(server, &submit),
        Ask::Batch { file, output } => {
            // As it was written: what is wrong with it, the server says.
            let tasks: Value = serde_json::from_str(&submit::read(&file)?)?;
            let reply = server.send_json("POST", "/api/tasks/batch", &json!({ "tasks": tasks }))?;
            output.answer(&reply, |receipt: &BatchReceipt| {
                receipt.tasks.iter().for_each(|task| println!("{}", task.task_id));
            })
        }
        Ask::Tasks(args) => list::run(server, &args),
        Ask::Search(args) => search::run(server, &args),
        Ask::Show(task) => task.output.answer(&server.ask("GET", &task.path(server, "")?)?, show::show),
        Ask::Explain(task) => task.output.answer(&server.ask("GET", &task.path(server, "/explain")?)?, print::reasons),
        Ask::Watch(task) => watch::run(server, &ids::resolve(server, &task.id)?, task.output),
        Ask::Cancel(task) => task.output.answer(&server.ask("DELETE", &task.path(server, "")?)?, print::line),
        Ask::Amend { task, priority, run_at, waive } => {
            let changes = TaskChanges { priority, run_at, depends_on: waive.then(Vec::new) };
            let reply = server.send_json("PATCH", &task.path(server, "")?, &changes)?;
            task.output.answer(&reply, print::line)
        }
        Ask::Approve(approve) => approve::run(server, &approve),
        Ask::Say { task, text } => {
            let text = if text == "-" { submit::read("-")? } else { text };
            task.output.done(&server.send_json("POST", &task.path(server, "/messages")?, &Message { text })?, "said")
        }
        Ask::Interrupt(task) => {
            task.output.done(&server.ask("POST", &task.path(server, "/interrupt")?)?, "interrupted")
        }
        Ask::Retry(task) => task.output.answer(&server.ask("POST", &task.path(server, "/retry")?)?, submit::print_id),
        Ask::Pause(tasks) => set_paused(server, "pause", "is paused", tasks),
        Ask::Start(tasks) => set_paused(server, "start", "goes on", tasks),
        Ask::Workers(output) => output.answer(&server.ask("GET", "/api/workers")?, print::workers),
        Ask::Worktrees(args) => worktrees::run(server, &args),
        Ask::Race(args) => race::run(server, &args),
        Ask::Files(args) => files::run(server, &args),
        Ask::Secrets(args) => secrets::run(server, &args),
        Ask::Rules(args) => rules::run(server, &args),
        Ask::Webhooks(args) => webhooks::run(server, &args),
        Ask::Artifacts(args) => files::run_artifacts(server, &args),
        Ask::Schedules(schedules) => schedules::run(server, &schedules),
        Ask::Keys(keys) => keys::run(server, keys),
        Ask::Audit { limit, output } => keys::audit(server, limit, output),
        Ask::Usage { from, to, output } => {
            let day = |name: &str, day: Option<String>| day.map(|day| format!("{name}={}&", http::encode(&day)));
            let query = [day("from", from), day("to", to)].into_iter().flatten().collect::<String>();
            output.answer(&server.ask("GET", &format!("/api/usage?{query}"))?, print::usage)
        }
        Ask::Health(output) => output.answer(&server.ask("GET", "/health")?, print::health),
    }
}

/// A value as JSON has it, from the command line.
fn word<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, serde_json::Error> {
    serde_json::from_value(text.into())
}

fn time_or_now(text: &str) -> Result<Option<Timestamp>, serde_json::Error> {
    if text == "now" { Ok(None) } else { word(text).map(Some) }
}

fn set_paused(server: &Server, verb: &str, done: &str, tasks: SomeTasks) -> anyhow::Result<u8> {
    let SomeTasks { tag, output } = tasks;
    let of = tag.as_ref().map_or_else(|| "the queue".to_owned(), |tag| format!("tag {tag}"));
    let reply = server.send_json("POST", &format!("/api/queue/{verb}"), &Members { tag, ..Members::default() })?;
    output.done(&reply, &format!("{of} {done}"))
}

#[expect(clippy::disallowed_methods, reason = "nothing tells when a server comes back, or a list has changed")]
fn pause(time: std::time::Duration) {
    std::thread::sleep(time);
}
