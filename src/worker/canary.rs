//! Tries the walls as a task would meet them: at the start of a worker, and for `doctor --security`.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::confine::{self, CommonWalls, TaskPaths};
use crate::claude::{self, Homes, Item, Run, Shim, ShimLaunch, Start};
use crate::config::{Config, Sandbox};
use crate::ipc;
use crate::process;
use crate::proxy::{Proxy, ProxyLaunch};
use crate::sandbox::{self, Report, SettingsWatch, Targets, Tried, Unsafe};
use domain::{BootInstant, SessionId, TaskId, WorkerInstanceId};

/// Longest try, on a busy machine.
const LIMIT: Duration = Duration::from_secs(20);
/// Keys of which nobody has one, and each process its own: their homes are the probe's and its victim's.
fn keys() -> [String; 2] {
    ["probe", "probed"].map(|name| format!("({name} {})", std::process::id()))
}

/// Starts a process as the CLI would be started, which tries every attack.
///
/// # Errors
/// It could not be started, or said nothing.
pub async fn try_walls(config: &Config, proxy: Option<&Proxy>, settings: SettingsWatch) -> io::Result<Vec<Tried>> {
    let holder = WorkerInstanceId::new();
    let environment = &config.claude.environment;
    let launch = ShimLaunch::new(&config.claude, holder, Some(settings))?;
    let program = launch.program.clone();
    let places = Places::make(config)?;
    let mut env = match proxy {
        Some(proxy) => proxy.environment(environment)?,
        None => environment.clone(),
    };
    places.home.iter().for_each(|home| claude::move_in(&mut env, home));
    let open_port = (!config.server.auth).then_some(config.server.port);
    let common = CommonWalls::new(&config.claude, confine::hidden(config), open_port);
    let paths = TaskPaths { write: vec![places.work.clone()], operator: vec![program.clone()], ..TaskPaths::default() };
    let now = process::boot_now();
    let limit_ms = i64::try_from(LIMIT.as_millis()).unwrap_or(i64::MAX);
    let start = Start {
        program,
        args: vec!["agent-probe".to_owned(), serde_json::to_string(&places.targets(config))?],
        env,
        directory: places.work.clone(),
        mark: SessionId::new().into(),
        lease: None,
        tree_log: process::tree_log(&config.store.data_dir),
        holder,
        deadline: BootInstant { ms: now.ms + limit_ms, ..now },
        walls: common.of(&config.claude.agent, places.home.as_deref(), paths),
        must_hold: config.claude.agent.sandbox == Sandbox::Required,
        max_output_bytes: None,
        disk: None,
    };
    let run = Run::start(Shim::start(&launch)?, start)?;
    let report = tokio::time::timeout(LIMIT, listen(run)).await;
    places.remove();
    report.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

/// Reads the report of the probe.
async fn listen(mut run: Run) -> io::Result<Vec<Tried>> {
    let mut report = None;
    loop {
        match run.next().await {
            Item::Frame(frame) => report = report.or_else(|| serde_json::from_str::<Report>(&frame.raw).ok()),
            Item::TooLong(_) => {}
            Item::Ended(exit) => {
                let silent = || exit.start_error.unwrap_or_else(|| format!("the probe said nothing: {}", run.stderr()));
                return report.map(|report| report.tried).ok_or_else(|| io::Error::other(silent()));
            }
        }
    }
}

/// Folders of the probe.
struct Places {
    work: PathBuf,
    outside: PathBuf,
    home: Option<PathBuf>,
    other_home: Option<PathBuf>,
}

impl Places {
    fn make(config: &Config) -> io::Result<Self> {
        let (work_dir, homes_dir) = (config.store.work_dir(), config.store.homes_dir());
        for folder in [&work_dir, &homes_dir] {
            process::make_private_folder(folder)?;
        }
        let (work_dir, homes_dir) = (work_dir.canonicalize()?, homes_dir.canonicalize()?);
        let below = format!("probe-{}", std::process::id());
        let (work, outside) = (work_dir.join(&below), work_dir.join(format!("{below}-outside")));
        for folder in [&work, &outside] {
            process::make_private_folder(folder)?;
        }
        let homes = Homes::new(homes_dir, &config.claude);
        let [home, other_home] = keys().map(|key| homes.prepare(&key, TaskId::new()));
        Ok(Self { work, outside, home: home?, other_home: other_home? })
    }

    fn targets(&self, config: &Config) -> Targets {
        let data = &config.store.data_dir;
        let database = &config.store.db_path;
        let log = |end: &str| PathBuf::from(format!("{}{end}", database.display()));
        let files =
            [data.join("api-key"), data.join("webhook-secret"), database.clone(), log("-wal"), process::tree_log(data)];
        let key = ["ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"];
        let key = config.claude.environment.iter().find(|(name, _)| key.contains(&name.as_str()));
        Targets {
            files: files.into_iter().chain(config.file.clone()).collect(),
            folders: vec![data.clone()],
            outside: self.outside.clone(),
            other_home: self.other_home.clone(),
            socket: ipc::socket_path(data),
            port: (!config.server.auth).then_some(config.server.port).filter(|port| *port > 0),
            worker: std::process::id(),
            key_hash: key.map(|(_, value)| hex::encode(Sha256::digest(value))),
        }
    }

    /// What can't be removed is a few empty folders.
    fn remove(&self) {
        let homes = [&self.home, &self.other_home].into_iter().flatten().filter_map(|home| home.parent());
        for folder in [self.work.as_path(), &self.outside].into_iter().chain(homes) {
            std::fs::remove_dir_all(folder).unwrap_or_default();
        }
    }
}

/// Starts a proxy for a trial, where one would be used.
///
/// # Errors
/// It can't be started.
pub fn proxy_for_trial(config: &Config) -> io::Result<Option<Proxy>> {
    let (program, holder) = (std::env::current_exe()?, WorkerInstanceId::new());
    Proxy::start(&config.claude, ProxyLaunch { program, holder, log: config.log.clone() })
}

/// Tries the walls once, and logs what holds; without a watch over the settings tasks have none.
pub async fn try_and_log(config: Config, proxy: Option<Proxy>, settings: Option<SettingsWatch>) {
    let Some(settings) = settings else {
        return tracing::warn!(
            cure = "SANDBOX=auto",
            "Tasks are not confined: they read and write what this user does"
        );
    };
    match try_walls(&config, proxy.as_ref(), settings).await {
        Ok(tried) => {
            let open: Vec<String> =
                tried.into_iter().filter_map(|tried| Some(format!("{} ({})", tried.attack, tried.reached?))).collect();
            if open.is_empty() {
                tracing::debug!("Every wall round tasks holds");
            } else {
                let open = open.join("; ");
                tracing::warn!(open, help = "cc-anywhere doctor --security", "Some walls round tasks don't hold here");
            }
        }
        Err(error) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "The walls round tasks could not be tried");
        }
    }
}

/// Fails where the kernel lacks what the operator requires.
///
/// # Errors
/// It has no Landlock.
pub fn check_required(config: &Config) -> Result<(), Unsafe> {
    sandbox::check_required(config.claude.agent.sandbox == Sandbox::Required)
}

/// Lines for the start of a worker: what is less than it could be, and what changes it.
pub fn log_configuration(config: &Config, has_proxy: bool) {
    let agent = &config.claude.agent;
    if let Err(missing) = claude::check(&config.claude) {
        tracing::warn!(why = %missing, "No task can run yet");
    }
    if let Some(why) = &config.claude.shared_because {
        tracing::warn!(why, "All tasks share the home of the user that runs the service");
    } else if agent.home == crate::config::AgentHome::Shared {
        tracing::warn!(cure = "AGENT_HOME=key", "All tasks share a home: what one writes there, the next one reads");
    }
    if agent.proxy && !has_proxy && config.claude.has_credential {
        tracing::info!("The CLI has its credential itself: the proxy adds keys of the API alone");
    }
    if let Some(root) = roots_above(config) {
        tracing::warn!(
            root = %root.display(),
            data = %config.store.data_dir.display(),
            cure = "move it with DB_PATH",
            "The data folder is inside WORKSPACE_ROOTS; it is hidden from tasks"
        );
    }
}

/// The means that are in use, in a few lines.
#[must_use]
pub fn describe(config: &Config, has_proxy: bool) -> String {
    let agent = &config.claude.agent;
    let landlock = match sys::landlock_abi() {
        0 => "this kernel has none: Linux 5.13 or newer, with lsm=landlock".to_owned(),
        abi => format!("version {abi}"),
    };
    let word = |on: bool, yes: &str, no: &str| if on { yes.to_owned() } else { no.to_owned() };
    let lines = [
        ("SANDBOX", word(agent.sandbox == Sandbox::Off, "off: nothing is confined", "on")),
        ("Landlock", landlock),
        (
            "ISOLATION",
            word(
                config.claude.namespaces,
                "namespaces where the system allows them",
                "subreaper: nothing is hidden by mounts",
            ),
        ),
        ("AGENT_HOME", format!("{:?}", agent.home).to_lowercase()),
        ("AGENT_USER", agent.user.map_or_else(|| "the service's own".to_owned(), |(uid, _)| format!("uid {uid}"))),
        ("CREDENTIAL_PROXY", word(has_proxy, "on", "off: the CLI has the credential itself")),
    ];
    lines.map(|(name, value)| format!("{name:17} {value}")).join("\n")
}

fn roots_above(config: &Config) -> Option<&Path> {
    let data = config.store.data_dir.canonicalize().ok()?;
    config.claude.workspace_roots.iter().map(PathBuf::as_path).find(|root| data.starts_with(root))
}
