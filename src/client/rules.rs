//! `cc-anywhere rules`.

use clap::Subcommand;
use console::style;
use wire::request::NewRule;
use wire::response::{RuleSuggestion, RuleView, Rules as All};

use super::http::Server;
use super::print::Output;
use super::table::{self, Cell, Column, text, whole};
use super::words::{ago, length};
use crate::process::wall_now;

const COLUMNS: &[Column] = &[whole("ID"), text("RULE", 16), text("FOR", 10), text("KEY", 8), whole("SINCE")];

/// Commands for rules; without one they are listed, with what your answers suggest.
#[derive(Debug, clap::Args)]
pub struct Rules {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Allow a tool, or calls of it, from now on
    Add {
        /// Tool, or calls of it, such as "Bash(cargo test *)"
        rule: String,
        /// Only tasks with this tag
        #[arg(long)]
        tag: Option<String>,
        /// Only tasks of this folder or repository
        #[arg(long, conflicts_with = "tag")]
        folder: Option<String>,
    },
    /// Remove one: its calls are asked for again
    Remove {
        /// Its id
        id: String,
    },
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, args: &Rules) -> anyhow::Result<u8> {
    match &args.command {
        None => args.output.answer(&server.ask("GET", "/api/rules")?, |all: &All| {
            table::print(COLUMNS, &all.rules.iter().map(row).collect::<Vec<_>>());
            for one in all.suggestions.iter().filter(|_| table::is_for_people()) {
                eprintln!("{}", style(suggestion(one)).dim());
            }
        }),
        Some(Command::Add { rule, tag, folder }) => {
            let new = NewRule { rule: rule.clone(), tag: tag.clone(), folder: folder.clone(), key: None };
            args.output.done(&server.send_json("POST", "/api/rules", &new)?, "allowed from now on")
        }
        Some(Command::Remove { id }) => {
            args.output.done(&server.ask("DELETE", &format!("/api/rules/{id}"))?, "removed")
        }
    }
}

/// The tasks that a rule is for.
fn of(tag: Option<&str>, folder: Option<&str>) -> String {
    match (tag, folder) {
        (Some(tag), _) => format!("tag {tag}"),
        (None, Some(folder)) => folder.to_owned(),
        (None, None) => "all".to_owned(),
    }
}

fn row(one: &RuleView) -> Vec<Cell> {
    vec![
        one.rule_id.to_string().into(),
        one.rule.as_str().into(),
        of(one.tag.as_deref(), one.folder.as_deref()).into(),
        one.key.as_str().into(),
        ago(one.created_at, wall_now()).into(),
    ]
}

fn suggestion(one: &RuleSuggestion) -> String {
    let flag = match (&one.tag, &one.folder) {
        (Some(tag), _) => format!(" --tag {tag}"),
        (None, Some(folder)) => format!(" --folder {folder}"),
        (None, None) => String::new(),
    };
    let waited = length(one.waited_ms);
    format!("allowed {} of {} times, {waited} waited: cc-anywhere rules add '{}'{flag}", one.times, one.times, one.rule)
}
