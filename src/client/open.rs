//! `cc-anywhere open`: the dashboard, with a one-time code that signs the browser in.

use anyhow::Context as _;

use super::http::Server;
use crate::process;
use crate::service::SignIn;
use domain::Timestamp;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A task, by its id or a part of it; the dashboard where not named
    #[arg(add = clap_complete::ArgValueCompleter::new(super::ids::complete))]
    id: Option<String>,
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
    let task = args.id.as_deref().map(|id| super::ids::resolve(&server, id)).transpose()?;
    let page = task.map(|id| format!("tasks/{}", super::http::encode(&id)));
    let url = match server.key() {
        // A server without keys lets everybody in.
        "" => format!("{}/{}", server.url(), page.unwrap_or_default()),
        key => {
            let code = SignIn::new(key, Timestamp(0)).code(process::wall_now()).context("can't make a code")?;
            let next = page.map(|page| format!("?next=/{page}")).unwrap_or_default();
            format!("{}/in{next}#{code}", server.url())
        }
    };
    println!("{url}");
    if !args.print && !process::open_in_browser(&url) {
        eprintln!("No browser was found here: open the address in one. It is good once, for ten minutes.");
    }
    Ok(0)
}
