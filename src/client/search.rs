//! `cc-anywhere search`: events of conversations that have some words.

use console::style;
use wire::response::SearchPage;

use super::http::{Server, encode};
use super::print::Output;
use super::table::{self, Cell, Column, text, whole};
use super::words::{ago, short};
use crate::process::wall_now;

/// Columns of a table of events; programs get the whole id and time.
const COLUMNS: &[Column] = &[whole("ID"), whole("EVENT"), text("TASK", 12), text("TEXT", 20), whole("TIME")];

/// What is looked for.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Words, or their beginnings; an event must have all of them
    #[arg(required = true, value_name = "WORDS")]
    words: Vec<String>,
    /// Maximum number of events, 1 to 100
    #[arg(long, default_value_t = 20)]
    limit: u32,
    #[command(flatten)]
    output: Output,
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, args: &Args) -> anyhow::Result<u8> {
    let query = format!("/api/search?limit={}&q={}", args.limit, encode(&args.words.join(" ")));
    args.output.answer(&server.ask("GET", &query)?, |page: &SearchPage| {
        if page.hits.is_empty() && table::is_for_people() {
            println!(
                "No conversation says that. For words of instructions and results: cc-anywhere tasks --search WORDS"
            );
            return;
        }
        table::print(COLUMNS, &rows(page));
    })
}

fn rows(page: &SearchPage) -> Vec<Vec<Cell>> {
    let (now, for_people) = (wall_now(), table::is_for_people());
    let row = |hit: &wire::response::SearchHit| {
        let (id, at) = match for_people {
            true => (short(hit.task_id), ago(hit.at, now)),
            false => (hit.task_id.to_string(), hit.at.to_string()),
        };
        vec![
            Cell::styled(id, |id| style(id).bold().to_string()),
            hit.seq.to_string().into(),
            hit.title.clone().into(),
            hit.excerpt.clone().into(),
            at.into(),
        ]
    };
    page.hits.iter().map(row).collect()
}
