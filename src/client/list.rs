//! `cc-anywhere tasks`: a table of tasks, once or over and over.

use std::time::Duration;

use anyhow::bail;
use console::{Term, style};
use domain::{Status, Timestamp, Usd};
use wire::response::TaskPage;

use super::http::{Server, encode};
use super::print::{Output, Task, refusal};
use super::table::{self, Cell, Column, number, path, text, whole};
use super::words::{ago, colour, folder, length, short};
use crate::process::wall_now;

/// Between two looks with `--watch`.
const PAUSE: Duration = Duration::from_secs(1);
/// Columns of a table of tasks; programs get the whole id, the time of the submit and no signs.
const COLUMNS: &[Column] =
    &[whole("ID"), whole("STATE"), text("TASK", 20), path("FOLDER", 10), number("COST"), whole("TIME")];

/// Tasks that are listed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Only in this status; several between commas
    #[arg(long)]
    status: Option<String>,
    /// Only with this tag
    #[arg(long)]
    tag: Option<String>,
    /// Only with these words in the instruction or the result
    #[arg(long, value_name = "WORDS")]
    search: Option<String>,
    /// Maximum number of tasks, 1 to 100
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Draw the list again each second, until Ctrl-C
    #[arg(long, conflicts_with_all = ["json", "raw"])]
    watch: bool,
    #[command(flatten)]
    output: Output,
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached, or there is no terminal to draw on.
pub fn run(server: &Server, args: &Args) -> anyhow::Result<u8> {
    let mut query = format!("/api/tasks?limit={}", args.limit);
    for (name, value) in [("status", &args.status), ("tag", &args.tag), ("q", &args.search)] {
        query += &value.as_deref().map(|value| format!("&{name}={}", encode(value))).unwrap_or_default();
    }
    if args.watch {
        return watch(server, &query, args.output);
    }
    let filtered = args.status.is_some() || args.tag.is_some() || args.search.is_some();
    args.output.answer(&server.ask("GET", &query)?, |page: &TaskPage<'static>| {
        if page.tasks.is_empty() && table::is_for_people() {
            println!("{}", if filtered { "No task is like that." } else { EMPTY });
        } else {
            tasks(&page.tasks);
        }
    })
}

/// What to begin with.
const EMPTY: &str =
    "Nothing was asked yet. Begin with:\n\n  cc-anywhere submit \"Say what this project does\" --dir . --wait";

/// Prints tasks, a line each.
pub fn tasks(tasks: &[Task]) {
    table::print(COLUMNS, &rows(tasks));
}

fn rows(tasks: &[Task]) -> Vec<Vec<Cell>> {
    let now = wall_now();
    tasks.iter().map(|task| if table::is_for_people() { row(task, now) } else { whole_row(task) }).collect()
}

fn row(task: &Task, now: Timestamp) -> Vec<Cell> {
    let waits = !task.status.is_terminal() && task.waiting_for.is_some();
    let state = if task.looping.is_some() {
        "▲ loops".to_owned()
    } else if waits {
        "◆ asks".to_owned()
    } else {
        format!("{} {}", task.status.sign(), task.status)
    };
    vec![
        Cell::styled(short(task.task_id), |id| style(id).bold().to_string()),
        Cell::styled(
            state,
            if waits || task.looping.is_some() {
                |text| style(text).magenta().to_string()
            } else {
                colour(task.status)
            },
        ),
        task.title.as_ref().into(),
        Cell::styled(folder(task.working_directory.as_deref().unwrap_or_default()), |text| {
            style(text).dim().to_string()
        }),
        task.cost_so_far.or(task.cost_usd).map(Usd::shown).unwrap_or_default().into(),
        time(task, now).into(),
    ]
}

/// How long it runs, or when it ended, was asked for or may start.
fn time(task: &Task, now: Timestamp) -> String {
    match (task.status, task.due_at) {
        (Status::Running, _) => {
            task.started_at.map_or_else(String::new, |at| format!("for {}", length(now.since_ms(at))))
        }
        (Status::Pending, Some(due)) if due > now => ago(due, now),
        _ => ago(task.completed_at.unwrap_or(task.created_at), now),
    }
}

fn whole_row(task: &Task) -> Vec<Cell> {
    let cost = task.cost_usd.map(|cost| cost.dollars().to_string()).unwrap_or_default();
    vec![
        task.task_id.to_string().into(),
        task.status.to_string().into(),
        task.title.as_ref().into(),
        task.working_directory.as_deref().unwrap_or_default().into(),
        cost.into(),
        task.created_at.to_string().into(),
    ]
}

/// Draws the list again and again.
fn watch(server: &Server, path: &str, output: Output) -> anyhow::Result<u8> {
    let term = Term::stdout();
    if !term.is_term() {
        bail!("--watch draws on a terminal, and there is none; --json prints the list once");
    }
    let mut drawn = 0;
    loop {
        let (height, width) = term.size();
        let mut lines = match server.ask("GET", path) {
            Ok(reply) if reply.ok => {
                let page = output.read::<TaskPage<'static>>(&reply.body)?;
                let mut lines = table::lines(COLUMNS, &rows(&page.tasks), usize::from(width));
                let counts = page.counts;
                lines.push(style(format!("{} pending, {} running", counts.pending, counts.running)).dim().to_string());
                lines
            }
            Ok(reply) => bail!(refusal(&reply)),
            Err(error) => vec![format!("{} {error}; trying again", style("!").yellow())],
        };
        lines.truncate(usize::from(height).saturating_sub(1).max(1));
        term.clear_last_lines(drawn)?;
        lines.iter().try_for_each(|line| term.write_line(line))?;
        drawn = lines.len();
        super::pause(PAUSE);
    }
}
