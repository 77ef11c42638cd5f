//! The service and the handlers of a process, made from its settings.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use seal::Keys;
use secrecy::SecretString;
use tokio::sync::watch;

use super::parts::Parts;
use crate::api::{self, Connections, Hosts, Memory, Shared, Streams, Workers, WrongKeys};
use crate::claude::Homes;
use crate::config::{Config, Server};
use crate::doctor::Doctor;
use crate::process;
use crate::queue::{ChangeNotifier, EventFeed, Queue};
use crate::service::{Figures, KeyRing, Outbound, Phase, Prover, Search, Service, Watchers};
use crate::store::Leadership;

/// Makes the service of this process.
pub fn service(
    config: &Config,
    parts: &Parts,
    queue: Queue,
    hub: ChangeNotifier,
    has_local_workers: bool,
    (leadership, stands_in_after): (Leadership, Duration),
    phase: watch::Receiver<Phase>,
) -> anyhow::Result<Service> {
    let secret_file = config.store.data_dir.join("webhook-secret");
    let secret = match &config.server.webhook_secret {
        Some(secret) => secret.clone(),
        None => api::load_or_make_key(&secret_file)
            .map(SecretString::from)
            .with_context(|| format!("can't keep a secret in {}", secret_file.display()))?,
    };
    Ok(Service {
        keys: keys(config, &queue)?,
        queue,
        hub,
        vitals: parts.vitals.clone(),
        claude: config.claude.clone(),
        has_local_workers,
        data_dir: std::fs::canonicalize(&config.store.data_dir)?,
        worktrees: worktrees(config)?,
        work_dir: work_dir(config)?,
        homes: homes(config)?,
        blobs: parts.blobs()?,
        files: config.files,
        secrets: secret_keys(config)?,
        outbound: Outbound::new(&secret, &config.server.webhook_hosts),
        // Without the dashboard there is nothing to lead to.
        public_url: config.server.public_url.clone().filter(|_| config.server.dashboard),
        watchers: Watchers::default(),
        budgets: config.budgets,
        max_pending: config.server.max_pending,
        fairness: config.server.fairness.clone(),
        exclusive_directory: config.server.exclusive_directory,
        stands_in_after,
        leadership,
        phase,
    })
}

/// The operator's keys for secrets, where they are set.
///
/// # Errors
/// The file can't be read, others may read it, or it has no key.
pub fn secret_keys(config: &Config) -> anyhow::Result<Option<Arc<Keys>>> {
    let Some(path) = &config.secrets_key_file else { return Ok(None) };
    let what = || format!("SECRETS_KEY_FILE {}", path.display());
    let file = std::fs::File::open(path).with_context(what)?;
    process::check_secret(path, &file).with_context(what)?;
    let text = std::io::read_to_string(file).with_context(what)?;
    Ok(Some(Arc::new(Keys::parse(&text).with_context(what)?)))
}

/// The keys of this process: the operator's, further ones of the settings, and those of the database.
fn keys(config: &Config, queue: &Queue) -> anyhow::Result<KeyRing> {
    let Server { auth, api_key, named_keys, .. } = &config.server;
    if !auth {
        return Ok(KeyRing::open(queue.clone()));
    }
    let file = config.store.data_dir.join("api-key");
    let operator = match api_key {
        Some(key) => key.clone(),
        None => api::load_or_make_key(&file)
            .map(SecretString::from)
            .with_context(|| format!("can't keep a key in {}", file.display()))?,
    };
    Ok(KeyRing::new(queue.clone(), &operator, named_keys))
}

/// Makes the shared state of this process's handlers.
pub fn shared(
    config: &Config,
    service: Service,
    search: Search,
    tail: EventFeed,
    figures: Figures,
    workers: Workers,
) -> anyhow::Result<Shared> {
    Ok(Shared {
        service,
        search,
        tail,
        workers,
        last_stats: Arc::default(),
        connections: Connections::default(),
        memory: Memory::default(),
        bodies: Memory::default(),
        concurrency: config.worker.concurrency,
        streams: Streams::default(),
        wrong_keys: WrongKeys::default(),
        hosts: Hosts::new(&config.server),
        settings: config.effective.clone().into(),
        doctor: Doctor::new(config.clone()),
        store: config.store.clone(),
        prover: Prover::default(),
        figures,
        server: config.server.clone(),
    })
}

/// The folder below which tasks get folders of their own; resolved, as the CLI sees it.
pub fn work_dir(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, config.store.work_dir())
}

/// The folder below which tasks get worktrees of their own; resolved, as the CLI sees it.
pub fn worktrees(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, config.store.data_dir.join("worktrees"))
}

/// The folder of clones of repositories; resolved, as the CLI sees it.
pub fn repositories(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, config.store.data_dir.join("repositories"))
}

/// The folder of configuration files of MCP servers; resolved, as the CLI sees it.
pub fn mcp_dir(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, config.store.data_dir.join("mcp"))
}

/// The homes of the CLI.
pub fn homes(config: &Config) -> anyhow::Result<Homes> {
    Ok(Homes::new(homes_dir(config)?, &config.claude))
}

/// The folder below which the CLI has homes; resolved, as the CLI sees it.
pub fn homes_dir(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, config.store.homes_dir())
}

fn folder(config: &Config, folder: PathBuf) -> anyhow::Result<PathBuf> {
    process::make_private_folder(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    for passed in [&config.store.data_dir, &folder] {
        process::let_pass(passed, config.claude.agent.user)?;
    }
    Ok(std::fs::canonicalize(folder)?)
}

/// Looks whether the user that the CLI becomes reaches the CLI, and its home.
///
/// # Errors
/// A folder on the way is closed to it.
pub fn check_agent_user(config: &Config) -> anyhow::Result<()> {
    let user = config.claude.agent.user;
    process::give(&worktrees(config)?, user)?;
    if let Some(folder) = process::barred(&homes_dir(config)?, user) {
        anyhow::bail!(
            "AGENT_USER can't pass through {}: set DB_PATH to a file in a folder that every user reaches, such as \
             /var/lib/cc-anywhere/cc-anywhere.db",
            folder.display()
        );
    }
    if let Some(folder) = config.claude.path.as_ref().and_then(|program| process::barred(program, user)) {
        anyhow::bail!("AGENT_USER can't pass through {}, in which the CLI is: install it elsewhere", folder.display());
    }
    Ok(())
}
