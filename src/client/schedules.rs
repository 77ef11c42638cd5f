//! `cc-anywhere schedules`.

use clap::Subcommand;
use serde_json::{Value, json};

use super::http::Server;
use super::print::{self, Output, text};

/// What is done with schedules; without a command they are listed.
#[derive(Debug, clap::Args)]
pub struct Schedules {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Add one
    Add {
        /// When, such as "0 9 * * 1-5"
        cron: String,
        /// What Claude is to do; `-` reads it from standard input
        instruction: String,
        /// On whose clock
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// What it is called
        #[arg(long)]
        name: Option<String>,
        /// The folder to work in
        #[arg(long)]
        dir: Option<std::path::PathBuf>,
        /// Each task goes on with the session of the one before
        #[arg(long)]
        continue_session: bool,
    },
    /// Show one, as JSON
    Show { id: String },
    /// Fire one now
    Run { id: String },
    /// List what one has done, newest first
    Runs { id: String },
    /// Let one fire again
    Enable { id: String },
    /// Keep one from firing
    Disable { id: String },
    /// Remove one; its tasks stay
    Remove { id: String },
}

/// Does it. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, schedules: &Schedules) -> anyhow::Result<u8> {
    let output = schedules.output;
    let path = |id: &str, end: &str| format!("/api/schedules/{id}{end}");
    let Some(command) = &schedules.command else {
        let answer = server.ask("GET", "/api/schedules", None)?;
        return Ok(output.answer(&answer, |page| page["schedules"].as_array().into_iter().flatten().for_each(line)));
    };
    Ok(match command {
        Command::Add { cron, instruction, time_zone, name, dir, continue_session } => {
            let instruction = if instruction == "-" { super::submit::read("-")? } else { instruction.clone() };
            let dir = dir.as_ref().map(std::fs::canonicalize).transpose()?;
            let context = dir.map_or_else(|| json!({}), |dir| json!({ "workingDirectory": dir }));
            let body = json!({
                "cron": cron, "timeZone": time_zone, "name": name, "continueSession": continue_session,
                "task": { "instruction": instruction, "context": context },
            });
            output.answer(&server.ask("POST", "/api/schedules", Some(&body))?, line)
        }
        Command::Show { id } => output.answer(&server.ask("GET", &path(id, ""), None)?, |one| println!("{one:#}")),
        Command::Run { id } => output.answer(&server.ask("POST", &path(id, "/run"), None)?, print::id),
        Command::Runs { id } => {
            let answer = server.ask("GET", &path(id, "/runs"), None)?;
            output.answer(&answer, |page| page["runs"].as_array().into_iter().flatten().for_each(ran))
        }
        Command::Enable { id } => enable(server, &path(id, ""), true, output)?,
        Command::Disable { id } => enable(server, &path(id, ""), false, output)?,
        Command::Remove { id } => output.answer(&server.ask("DELETE", &path(id, ""), None)?, |_| println!("removed")),
    })
}

fn enable(server: &Server, path: &str, enabled: bool, output: Output) -> anyhow::Result<u8> {
    Ok(output.answer(&server.ask("PATCH", path, Some(&json!({ "enabled": enabled })))?, line))
}

fn line(schedule: &Value) {
    let next = schedule["nextRunAt"].as_str().unwrap_or("not enabled");
    let called = schedule["name"].as_str().or(schedule["task"]["instruction"].as_str()).unwrap_or_default();
    let called: String = called.lines().next().unwrap_or_default().chars().take(60).collect();
    let (id, cron, zone) = (text(&schedule["scheduleId"]), text(&schedule["cron"]), text(&schedule["timeZone"]));
    println!("{id}  {cron:14}  {zone:16}  {next}  {called}");
}

fn ran(run: &Value) {
    let at = run["dueAt"].as_str().unwrap_or("by hand                 ");
    let (outcome, task, status) = (text(&run["outcome"]), text(&run["taskId"]), text(&run["taskStatus"]));
    println!("{at}  {outcome:9}  {task:36}  {status:9}  {}", text(&run["detail"]));
}
