//! `cc-anywhere worktrees`.

use clap::Subcommand;
use wire::response::{WorktreeRemoved, WorktreeState, WorktreeView, Worktrees as Page};

use super::http::Server;
use super::ids;
use super::print::Output;
use super::table::{self, Cell, Column, number, path, text, whole};
use super::words::{folder, short};

const COLUMNS: &[Column] = &[
    whole("TASK"),
    whole("STATE"),
    text("BRANCH", 12),
    number("FILES"),
    number("COMMITS"),
    number("MB"),
    path("FOLDER", 10),
];

/// Commands for the worktrees of tasks; without one they are listed.
#[derive(Debug, clap::Args)]
pub struct Worktrees {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Remove one; what is committed stays on its branch
    Remove {
        /// The task
        #[arg(add = clap_complete::ArgValueCompleter::new(ids::complete))]
        id: String,
        /// Remove its branch too, and what is not committed
        #[arg(long)]
        discard: bool,
    },
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, args: &Worktrees) -> anyhow::Result<u8> {
    match &args.command {
        None => args.output.answer(&server.ask("GET", "/api/worktrees?limit=100")?, |page: &Page| {
            table::print(COLUMNS, &page.worktrees.iter().map(row).collect::<Vec<_>>());
        }),
        Some(Command::Remove { id, discard }) => {
            let path = format!("/api/worktrees/{}?discard={discard}", ids::resolve(server, id)?);
            args.output.answer(&server.ask("DELETE", &path)?, |gone: &WorktreeRemoved| {
                let branch = if gone.branch_removed { "its branch is gone" } else { "its branch stays" };
                println!("removed; {branch}: {}", gone.branch);
            })
        }
    }
}

fn row(one: &WorktreeView) -> Vec<Cell> {
    let state = match one.state {
        WorktreeState::InUse => "in use",
        WorktreeState::Uncommitted => "uncommitted",
        WorktreeState::Kept => "kept",
        WorktreeState::Clean => "clean",
        WorktreeState::Unknown => "unknown",
    };
    vec![
        short(one.task_id).into(),
        state.into(),
        one.branch.as_str().into(),
        one.uncommitted_count.to_string().into(),
        one.commits.to_string().into(),
        format!("{:.1}", one.bytes as f64 / 1e6).into(),
        folder(&one.path).into(),
    ]
}
