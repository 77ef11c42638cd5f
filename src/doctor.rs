//! What must be right before tasks can run, and the cure of what is not: for `cc-anywhere doctor` and for `/api/doctor`.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::claude;
use crate::config::{Config, Sandbox};
use crate::sandbox::SettingsWatch;
use crate::store;
use crate::telemetry::chain;
use crate::worker;

/// Time for which findings are told again: a look starts processes.
const FRESH: Duration = Duration::from_secs(30);

/// One thing that must be right.
#[derive(Clone, Debug)]
pub struct Finding {
    /// Name of the thing.
    pub what: &'static str,
    /// Finding; of something that is missing, what to do.
    pub result: Result<String, String>,
}

/// An error with its causes, as a sentence.
fn words(error: impl std::error::Error) -> String {
    chain(&error)
}

/// The findings of a server, looked for when somebody asks.
#[derive(Clone)]
pub struct Doctor(Arc<Inner>);

struct Inner {
    config: Config,
    last: Mutex<Option<(Instant, Vec<Finding>)>>,
}

impl Doctor {
    /// Looks at what these settings need.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self(Arc::new(Inner { config, last: Mutex::default() }))
    }

    /// Returns the findings; those of another question where they are fresh.
    pub async fn findings(&self) -> Vec<Finding> {
        let mut last = self.0.last.lock().await;
        if let Some((at, findings)) = &*last
            && at.elapsed() < FRESH
        {
            return findings.clone();
        }
        let found = findings(&self.0.config).await;
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

/// Looks at everything. Blocks nothing; what it starts has ended when it returns.
pub async fn findings(config: &Config) -> Vec<Finding> {
    let data_dir = &config.store.data_dir;
    let credential = if config.claude.has_credential {
        Ok("found".to_owned())
    } else {
        Err(words(claude::Unavailable::NoCredential))
    };
    let findings = [
        ("Claude Code CLI", claude::version(&config.claude).await.map_err(words)),
        ("credential", credential),
        ("data folder", writable(data_dir)),
        ("disk", disk(config)),
        ("database", database(config).await),
        ("walls", walls(config).await),
    ];
    findings.map(|(what, result)| Finding { what, result }).into()
}

/// How many of the walls round tasks hold. One that is open is no fault, unless it is
/// Landlock and the operator requires that.
async fn walls(config: &Config) -> Result<String, String> {
    if config.claude.agent.sandbox == Sandbox::Off {
        return Ok("SANDBOX=off builds none".to_owned());
    }
    worker::check_required(config).map_err(|error| error.to_string())?;
    let no_proxy = |error| format!("the credential proxy can't be started: {}", words(error));
    let proxy = worker::proxy_for_trial(config).map_err(no_proxy)?;
    let tried = worker::try_walls(config, proxy.as_ref(), SettingsWatch::begin()).await;
    let tried = tried.map_err(|error| format!("they could not be tried: {}", words(error)))?;
    let open = tried.iter().filter(|one| one.reached.is_some()).count();
    Ok(match open {
        0 => "all hold".to_owned(),
        _ => format!("{open} of {} are open here; cc-anywhere doctor --security names them", tried.len()),
    })
}

fn writable(folder: &Path) -> Result<String, String> {
    let probe = folder.join(format!(".doctor-{}", std::process::id()));
    std::fs::create_dir_all(folder)
        .and_then(|()| std::fs::write(&probe, b""))
        .and_then(|()| std::fs::remove_file(&probe))
        .map(|()| folder.display().to_string())
        .map_err(|error| {
            format!("{} can't be written ({error}): make it writable for this user, or set DB_PATH", folder.display())
        })
}

fn disk(config: &Config) -> Result<String, String> {
    let database = &config.store.db_path;
    if config.store.server.is_some() {
        return Ok("the database is on a server".to_owned());
    }
    match store::room(database) {
        Ok((free, true)) => Ok(format!("{} MB free", free / 1_000_000)),
        Ok((free, false)) => Err(format!(
            "{} MB free beside {}, and new tasks are refused: free some space there, or set DB_PATH",
            free / 1_000_000,
            database.display()
        )),
        Err(error) => Err(format!("can't look at the disk of {}: {error}", database.display())),
    }
}

async fn database(config: &Config) -> Result<String, String> {
    let path = &config.store.db_path;
    if config.store.server.is_none() && !path.exists() {
        return Ok(format!("{} will be made at the first start", path.display()));
    }
    store::check(&config.store).await.map_err(words)
}
