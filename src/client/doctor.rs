//! `cc-anywhere doctor`: what is missing, and how to mend it; with `--security`, which walls round tasks hold here.

use std::path::Path;

use anyhow::{Context as _, anyhow};

use crate::claude;
use crate::config::{Config, Flags, Sandbox};
use crate::git;
use crate::sandbox::Tried;
use crate::store;
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

/// One thing that must be right.
struct Finding {
    what: &'static str,
    /// Finding; for something that is missing it says what to do.
    result: anyhow::Result<String>,
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
    let findings = actix::System::new().block_on(findings(&config));
    for finding in &findings {
        match &finding.result {
            Ok(found) => println!("ok       {}: {found}", finding.what),
            Err(mend) => println!("missing  {}: {mend:#}", finding.what),
        }
    }
    Ok(u8::from(findings.iter().any(|finding| finding.result.is_err())))
}

/// Tries the walls and prints a table.
async fn security(config: &Config) -> anyhow::Result<u8> {
    let proxy = worker::Proxy::start(&config.claude).context("the credential proxy can't be started")?;
    let mut tried = worker::try_walls(config, proxy.as_ref()).await.context("the walls could not be tried")?;
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

async fn findings(config: &Config) -> Vec<Finding> {
    let data_dir = &config.store.data_dir;
    let credential = if config.claude.has_credential {
        Ok("found".to_owned())
    } else {
        Err(claude::Unavailable::NoCredential.into())
    };
    vec![
        Finding { what: "Claude Code CLI", result: claude::version(&config.claude).await.map_err(Into::into) },
        Finding { what: "credential", result: credential },
        Finding { what: "data folder", result: writable(data_dir) },
        Finding { what: "disk", result: disk(config) },
        Finding { what: "database", result: database(config).await },
        Finding { what: "walls", result: walls(config).await },
    ]
}

/// How many of the walls round tasks hold. One that is open is no fault, unless it is
/// Landlock and the operator requires that.
async fn walls(config: &Config) -> anyhow::Result<String> {
    if config.claude.agent.sandbox == Sandbox::Off {
        return Ok("SANDBOX=off builds none".to_owned());
    }
    worker::check_required(config)?;
    let proxy = worker::Proxy::start(&config.claude).context("the credential proxy can't be started")?;
    let tried = worker::try_walls(config, proxy.as_ref()).await.context("they could not be tried")?;
    let open = tried.iter().filter(|one| one.reached.is_some()).count();
    Ok(match open {
        0 => "all hold".to_owned(),
        _ => format!("{open} of {} are open here; cc-anywhere doctor --security names them", tried.len()),
    })
}

fn writable(folder: &Path) -> anyhow::Result<String> {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| folder.display().to_string())
        .map_err(|error| {
            anyhow!("{} can't be written ({error}): make it writable for this user, or set DB_PATH", folder.display())
        })
}

fn disk(config: &Config) -> anyhow::Result<String> {
    let database = &config.store.db_path;
    if config.store.server.is_some() {
        return Ok("the database is on a server".to_owned());
    }
    match store::room(database) {
        Ok((free, true)) => Ok(format!("{} MB free", free / 1_000_000)),
        Ok((free, false)) => Err(anyhow!(
            "{} MB free beside {}, and new tasks are refused: free some space there, or set DB_PATH",
            free / 1_000_000,
            database.display()
        )),
        Err(error) => Err(anyhow!("can't look at the disk of {}: {error}", database.display())),
    }
}

async fn database(config: &Config) -> anyhow::Result<String> {
    let path = &config.store.db_path;
    if config.store.server.is_none() && !path.exists() {
        return Ok(format!("{} will be made at the first start", path.display()));
    }
    Ok(store::check(&config.store).await?)
}
