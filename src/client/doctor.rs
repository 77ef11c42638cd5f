//! `cc-anywhere doctor`: what is missing, and how to mend it; with `--security`, which walls round tasks hold here.

use anyhow::Context as _;

use crate::config::{Config, Flags};
use crate::doctor;
use crate::git;
use crate::sandbox::{SettingsWatch, Tried};
use crate::worker;

/// Arguments of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Try the walls round tasks, by attacks that change nothing
    #[arg(long)]
    security: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Looks at everything and prints it. Returns 0 when nothing is missing, and no wall is open.
pub fn run(args: &Args) -> anyhow::Result<u8> {
    let config = match Config::load(&args.flags) {
        Ok(config) => config,
        Err(faults) => {
            eprintln!("{faults}");
            return Ok(2);
        }
    };
    if args.security {
        return actix::System::new().block_on(security(&config));
    }
    let findings = actix::System::new().block_on(doctor::findings(&config));
    for finding in &findings {
        match &finding.result {
            Ok(found) => println!("ok       {}: {found}", finding.what),
            Err(mend) => println!("missing  {}: {mend}", finding.what),
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.result.is_err())))
}

/// Tries the walls and prints a table.
async fn security(config: &Config) -> anyhow::Result<u8> {
    let proxy = worker::proxy_for_trial(config).context("the credential proxy can't be started")?;
    let mut tried = worker::try_walls(config, proxy.as_ref(), SettingsWatch::begin())
        .await
        .context("the walls could not be tried")?;
    tried.push(git::try_repository(&config.claude).await.context("git could not be tried")?);
    let width = tried.iter().map(|one| one.attack.len()).max().unwrap_or_default();
    for Tried { attack, reached } in &tried {
        match reached {
            None => println!("holds  {attack}"),
            Some(reached) => println!("OPEN   {attack:width$}  {reached}"),
        }
    }
    println!("\n{}", worker::describe(config, proxy.is_some()));
    Ok(u8::from(tried.iter().any(|one| one.reached.is_some())))
}
