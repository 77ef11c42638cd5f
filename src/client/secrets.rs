//! `cc-anywhere secrets`.

use clap::Subcommand;
use wire::request::NewSecret;
use wire::response::{SecretView, Secrets as All};

use super::http::{Server, encode};
use super::print::Output;
use super::submit;
use super::table::{self, Cell, Column, text, whole};
use super::words::ago;
use crate::process::wall_now;

const COLUMNS: &[Column] = &[whole("SECRET"), text("KEY", 8), whole("UPDATED")];

/// Commands for secrets; without one they are listed, without their values.
#[derive(Debug, clap::Args)]
pub struct Secrets {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Store one, or give it another value, which is read from standard input
    Set {
        /// Its name
        name: String,
    },
    /// Remove one
    Remove {
        /// Its name
        name: String,
    },
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The server can't be reached.
pub fn run(server: &Server, args: &Secrets) -> anyhow::Result<u8> {
    match &args.command {
        None => args.output.answer(&server.ask("GET", "/api/secrets")?, |all: &All| {
            table::print(COLUMNS, &all.secrets.iter().map(row).collect::<Vec<_>>());
        }),
        Some(Command::Set { name }) => {
            let value = submit::read("-")?;
            let reply = server.send_json("PUT", &format!("/api/secrets/{}", encode(name)), &NewSecret { value })?;
            args.output.done(&reply, "stored")
        }
        Some(Command::Remove { name }) => {
            args.output.done(&server.ask("DELETE", &format!("/api/secrets/{}", encode(name)))?, "removed")
        }
    }
}

fn row(one: &SecretView) -> Vec<Cell> {
    vec![one.name.as_str().into(), one.key.as_str().into(), ago(one.updated_at, wall_now()).into()]
}
