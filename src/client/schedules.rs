//! `cc-anywhere schedules`.

use clap::Subcommand;
use domain::{Missed, Named, Overlap};
use serde_json::Value;
use wire::TaskSpec;
use wire::request::{NewSchedule, ScheduleChanges};
use wire::response::{Run, Runs, Schedule, Schedules as All};

use super::http::Server;
use super::print::{Output, brief};
use super::submit::print_id;
use super::table::{self, Cell, Column, text, whole};
use super::words::{ago, short};
use crate::process::wall_now;

/// Commands for schedules; without one they are listed.
#[derive(Debug, clap::Args)]
pub struct Schedules {
    #[command(subcommand)]
    command: Option<ScheduleCommand>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum ScheduleCommand {
    /// Add one
    Add {
        /// Times as a cron expression, such as "0 9 * * 1-5"
        cron: String,
        /// Instruction for Claude; `-` reads it from standard input
        instruction: String,
        /// Time zone of the expression
        #[arg(long, default_value = "UTC")]
        time_zone: String,
        /// Name of the schedule
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

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, schedules: &Schedules) -> anyhow::Result<u8> {
    let output = schedules.output;
    let path = |id: &str, end: &str| format!("/api/schedules/{id}{end}");
    let Some(command) = &schedules.command else {
        let reply = server.ask("GET", "/api/schedules")?;
        return output.answer(&reply, |all: &All<'static>| lines(&all.schedules));
    };
    match command {
        ScheduleCommand::Add { cron, instruction, time_zone, name, dir, continue_session } => {
            let instruction = if instruction == "-" { super::submit::read("-")? } else { instruction.clone() };
            let dir = dir.as_ref().map(std::fs::canonicalize).transpose()?;
            let mut task = TaskSpec::of(instruction);
            task.context.working_directory = dir.map(|dir| dir.display().to_string());
            let schedule = NewSchedule {
                name: name.clone(),
                cron: cron.clone(),
                time_zone: time_zone.clone(),
                task,
                missed: Missed::default(),
                overlap: Overlap::default(),
                continue_session: *continue_session,
                enabled: true,
            };
            output.answer(&server.send_json("POST", "/api/schedules", &schedule)?, line)
        }
        ScheduleCommand::Show { id } => {
            output.answer(&server.ask("GET", &path(id, ""))?, |one: &Value| println!("{one:#}"))
        }
        ScheduleCommand::Run { id } => output.answer(&server.ask("POST", &path(id, "/run"))?, print_id),
        ScheduleCommand::Runs { id } => {
            let reply = server.ask("GET", &path(id, "/runs"))?;
            output.answer(&reply, |all: &Runs| ran(&all.runs))
        }
        ScheduleCommand::Enable { id } => enable(server, &path(id, ""), true, output),
        ScheduleCommand::Disable { id } => enable(server, &path(id, ""), false, output),
        ScheduleCommand::Remove { id } => output.done(&server.ask("DELETE", &path(id, ""))?, "removed"),
    }
}

fn enable(server: &Server, path: &str, enabled: bool, output: Output) -> anyhow::Result<u8> {
    let changes = ScheduleChanges { enabled: Some(enabled), ..ScheduleChanges::default() };
    output.answer(&server.send_json("PATCH", path, &changes)?, line)
}

const COLUMNS: &[Column] = &[whole("ID"), whole("CRON"), text("ZONE", 8), whole("NEXT"), text("NAME", 16)];

fn line(schedule: &Schedule<'static>) {
    lines(std::slice::from_ref(schedule));
}

fn lines(schedules: &[Schedule<'static>]) {
    let now = wall_now();
    let row = |schedule: &Schedule<'static>| {
        let next = match schedule.next_run_at {
            None => "not enabled".to_owned(),
            Some(next) if table::is_for_people() => ago(next, now),
            Some(next) => next.to_string(),
        };
        let called = brief(schedule.name.as_deref().unwrap_or(&schedule.task.instruction));
        [schedule.schedule_id.to_string(), schedule.cron.to_string(), schedule.time_zone.to_string(), next, called]
            .map(Cell::from)
            .to_vec()
    };
    if schedules.is_empty() && table::is_for_people() {
        println!("No schedule yet. Begin with:\n\n  cc-anywhere schedules add \"0 9 * * 1-5\" \"Report what failed\"");
    } else {
        table::print(COLUMNS, &schedules.iter().map(row).collect::<Vec<_>>());
    }
}

fn ran(runs: &[Run]) {
    const COLUMNS: &[Column] = &[whole("DUE"), whole("OUTCOME"), whole("TASK"), whole("STATE"), text("WHY", 8)];
    let row = |run: &Run| {
        let at = run.due_at.map_or_else(|| "by hand".to_owned(), |at| at.to_string());
        let id = |id| if table::is_for_people() { short(id) } else { id.to_string() };
        let task = run.task_id.map(id).unwrap_or_default();
        let status = run.task_status.map(Named::name).unwrap_or_default();
        [at, run.outcome.to_string(), task, status.to_owned(), run.detail.as_deref().unwrap_or_default().to_owned()]
            .map(Cell::from)
            .to_vec()
    };
    table::print(COLUMNS, &runs.iter().map(row).collect::<Vec<_>>());
}
