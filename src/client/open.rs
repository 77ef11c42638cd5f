//! `cc-anywhere open`: the dashboard, with a one-time code that signs the browser in.

use anyhow::Context as _;

use super::http::Server;
use crate::process;
use crate::service::SignIn;
use domain::Timestamp;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Print the address only
    #[arg(long)]
    print: bool,
}

/// Carries out the command. Returns the exit code.
///
/// # Errors
/// The system has no randomness.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let server = Server::find()?;
    let url = match server.key() {
        // A server without keys lets everybody in.
        "" => format!("{}/", server.url()),
        key => {
            let code = SignIn::new(key, Timestamp(0)).code(process::wall_now()).context("can't make a code")?;
            format!("{}/in#{code}", server.url())
        }
    };
    println!("{url}");
    if !args.print && !process::open_in_browser(&url) {
        eprintln!("No browser was found here: open the address in one. It is good once, for ten minutes.");
    }
    Ok(0)
}
