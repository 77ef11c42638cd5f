//! `cc-anywhere race`.

use console::style;
use domain::{Named as _, Usd};
use wire::response::{ContenderView, RaceView};

use super::http::Server;
use super::ids;
use super::print::Output;
use super::table::{self, Cell, Column, number, text, whole};
use super::words::short;

const COLUMNS: &[Column] = &[
    whole("#"),
    whole("TASK"),
    whole("STATE"),
    text("MODEL", 10),
    text("CHECKED", 8),
    number("FILES"),
    number("LINES"),
    number("COST"),
    text("RESULT", 16),
];

/// The race of a task.
#[derive(Debug, clap::Args)]
pub struct Race {
    /// A task of the race
    #[arg(add = clap_complete::ArgValueCompleter::new(ids::complete))]
    id: String,
    /// Choose this task as the winner; the others are cleaned up
    #[arg(long)]
    pick: bool,
    #[command(flatten)]
    output: Output,
}

/// Shows a race, or chooses its winner. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, race: &Race) -> anyhow::Result<u8> {
    let id = ids::resolve(server, &race.id)?;
    let reply = match race.pick {
        true => server.ask("POST", &format!("/api/tasks/{id}/race/pick"))?,
        false => server.ask("GET", &format!("/api/tasks/{id}/race"))?,
    };
    race.output.answer(&reply, |view: &RaceView| {
        table::print(COLUMNS, &view.contenders.iter().map(row).collect::<Vec<_>>());
        if table::is_for_people() {
            let says = view.judge_says.as_deref().map(|why| format!("; the judge says: {why}")).unwrap_or_default();
            let state: &str = view.state.into();
            let line = format!("{state} by {}, {} in all{says}", view.pick.name(), view.cost_usd.shown());
            eprintln!("{}", style(line).dim());
        }
    })
}

fn row(one: &ContenderView) -> Vec<Cell> {
    let state = if one.won == Some(true) { "won".to_owned() } else { one.status.to_string() };
    let checked = one.verified.map(|passed| if passed { "passed" } else { "not passed" });
    let lines = one.additions.zip(one.deletions).map(|(more, less)| (more + less).to_string());
    vec![
        one.place.to_string().into(),
        short(one.task_id).into(),
        state.into(),
        one.model.clone().unwrap_or_default().into(),
        checked.unwrap_or_default().into(),
        one.files.map(|files| files.to_string()).unwrap_or_default().into(),
        lines.unwrap_or_default().into(),
        one.cost_usd.map(Usd::shown).unwrap_or_default().into(),
        one.result.as_deref().unwrap_or_default().lines().next().unwrap_or_default().into(),
    ]
}
