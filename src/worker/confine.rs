//! The walls round one task: which paths it gets, and which files of the service are hidden from it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::folders::is_below;
use super::set_up::WorkerContext;
use crate::claude;
use crate::config::{Agent, Claude, Config, Sandbox};
use crate::git::{self, Worktree};
use crate::ipc;
use crate::queue::{Queue, ReadKeys};
use crate::sandbox::{Access, Grant, Limits, Walls};
use wire::Task;

/// The part of the walls that all tasks of a worker have.
#[derive(Clone, Debug, Default)]
pub struct CommonWalls {
    /// Programs and libraries outside the system's folders, and what the operator lists.
    grants: Vec<Grant>,
    /// Files and folders of the service.
    hidden: Vec<PathBuf>,
    refused_port: Option<u16>,
}

/// Paths that one attempt gets.
#[derive(Clone, Debug, Default)]
pub struct TaskPaths {
    /// Folders that it may write.
    pub write: Vec<PathBuf>,
    /// Files and folders that it may read.
    pub read: Vec<PathBuf>,
    /// The same, named by the operator.
    pub operator: Vec<PathBuf>,
    /// Folders that it may write, named by the operator.
    pub operator_write: Vec<PathBuf>,
}

impl CommonWalls {
    /// Finds the paths on this machine. `open_port` is that of an API that asks for no key.
    #[must_use]
    pub fn new(claude: &Claude, hidden: Vec<PathBuf>, open_port: Option<u16>) -> Self {
        let mut read: BTreeSet<PathBuf> = toolchains(claude).into_iter().collect();
        read.extend(claude.agent.read.iter().cloned());
        let read = read.into_iter().map(|path| Grant { path, access: Access::OperatorRead });
        let write = claude.agent.write.iter().map(|path| Grant { path: path.clone(), access: Access::OperatorWrite });
        let hidden = hidden.into_iter().filter_map(|path| path.canonicalize().ok()).collect();
        Self { grants: read.chain(write).collect(), hidden, refused_port: open_port.filter(|port| *port > 0) }
    }

    /// The walls of one attempt; `None` where there are none.
    #[must_use]
    pub fn of(&self, agent: &Agent, home: Option<&Path>, paths: TaskPaths) -> Option<Walls> {
        if agent.sandbox == Sandbox::Off {
            return None;
        }
        let mut grants = self.grants.clone();
        grants.extend(paths.write.into_iter().map(|path| Grant { path, access: Access::Write }));
        grants.extend(paths.read.into_iter().map(|path| Grant { path, access: Access::Read }));
        grants.extend(paths.operator.into_iter().map(|path| Grant { path, access: Access::OperatorRead }));
        grants.extend(paths.operator_write.into_iter().map(|path| Grant { path, access: Access::OperatorWrite }));
        grants.extend(home.map(|home| Grant { path: home.to_owned(), access: Access::Write }));
        Some(Walls {
            grants,
            hidden: self.hidden.clone(),
            temp: home.map(|home| home.join("tmp")),
            refused_port: self.refused_port,
            user: agent.user,
            limits: Limits {
                memory_bytes: agent.memory_bytes,
                processes: agent.processes,
                file_bytes: agent.file_bytes,
            },
        })
    }
}

/// Files and folders of the service that no task may see: the data folder, the folder of its socket, the file of
/// settings, and that of the keys of secrets.
#[must_use]
pub fn hidden(config: &Config) -> Vec<PathBuf> {
    let data = config.store.data_dir.clone();
    let socket = ipc::socket_path(&data).parent().map(Path::to_owned).filter(|folder| !folder.starts_with(&data));
    let handovers =
        claude::handover_folder(&data).parent().map(Path::to_owned).filter(|folder| !folder.starts_with(&data));
    let files = [&config.file, &config.secrets_key_file].into_iter().flatten().cloned();
    std::iter::once(data).chain(socket).chain(handovers).chain(files).collect()
}

/// Programs outside the system's folders: those on the `PATH`, with their libraries, and the CLI.
fn toolchains(claude: &Claude) -> Vec<PathBuf> {
    let value = |name: &str| claude.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    let mut found = Vec::new();
    for folder in std::env::split_paths(value("PATH").unwrap_or_default()).filter(|folder| folder.is_absolute()) {
        let Ok(folder) = folder.canonicalize() else { continue };
        // Programs there are often links into the folders beside it.
        if let Some(beside) = folder.parent().filter(|_| folder.ends_with("bin") || folder.ends_with("shims")) {
            found.extend(["lib", "lib64", "libexec", "include", "versions"].map(|name| beside.join(name)));
        }
        found.push(folder);
    }
    if let Some(home) = value("HOME").map(PathBuf::from) {
        found.extend([".rustup/toolchains", ".rustup/settings.toml"].map(|name| home.join(name)));
        found.push(home.join(".nvm/versions"));
    }
    if let Some(program) = &claude.path {
        found.extend(program.parent().map(Path::to_owned));
        found.extend(program.canonicalize().ok().and_then(|program| Some(program.parent()?.to_owned())));
    }
    for name in ["SSL_CERT_FILE", "SSL_CERT_DIR", "NODE_EXTRA_CA_CERTS", "GOOGLE_APPLICATION_CREDENTIALS"] {
        found.extend(value(name).map(PathBuf::from));
    }
    found.retain(|path| path.exists() && path.parent().is_some());
    found
}

/// Folders that a task without a home shares with the user that runs the service, its login included.
pub fn of_user(claude: &Claude) -> impl Iterator<Item = PathBuf> {
    let shared = ["HOME", "CLAUDE_CONFIG_DIR", "TMPDIR"];
    let environment = claude.environment.iter();
    environment.filter(move |(name, _)| shared.contains(&name.as_str())).map(|(_, path)| PathBuf::from(path))
}

/// Programs and files that MCP servers of the operator name.
pub fn of_mcp_server(server: &Value) -> impl Iterator<Item = PathBuf> + '_ {
    let args = server["args"].as_array().into_iter().flatten();
    let named = std::iter::once(&server["command"]).chain(args).filter_map(Value::as_str);
    named.map(PathBuf::from).filter(|path| path.is_absolute() && path.exists())
}

/// Folders of the repository that a task works in, where they stand outside its working folder: the history of the
/// repository of its worktree, or of the one that it works below.
///
/// Of a worktree's repository it may write what commits are made of, and neither settings nor hooks.
pub async fn of_repository(tools: &WorkerContext, queue: &Queue, task: &Task, directory: &Path) -> TaskPaths {
    if directory.starts_with(&tools.worktrees) {
        return of_worktree(tools, directory).unwrap_or_default();
    }
    let roots = &tools.claude.workspace_roots;
    // A worktree that a person has made.
    let inside = directory.ancestors().take_while(|folder| is_below(folder, roots));
    if let Some(top) = inside.into_iter().find(|folder| folder.join(".git").exists())
        && let Some((history, own)) = git::linked(top)
        && is_below(&history, roots)
        && may_use(queue, task, &history).await
    {
        let mut paths = shared_history(history, vec![own]);
        // Where it works below the top, git looks for this.
        paths.read.push(top.join(".git"));
        return paths;
    }
    let above = directory.ancestors().skip(1).take_while(|folder| roots.iter().any(|root| folder.starts_with(root)));
    let Some(history) = above.map(|folder| folder.join(".git")).find(|git| git.is_dir() && !git.is_symlink()) else {
        return TaskPaths::default();
    };
    if directory.join(".git").exists() || !may_use(queue, task, &history).await {
        return TaskPaths::default();
    }
    TaskPaths { write: vec![history], ..TaskPaths::default() }
}

/// True if the task's key may use the folder.
pub async fn may_use(queue: &Queue, task: &Task, folder: &Path) -> bool {
    match queue.ask(ReadKeys).await {
        Ok(keys) => keys.iter().find(|key| key.name == task.key).is_none_or(|key| {
            // Of rights that can't be read there are none.
            key.rights
                .as_ref()
                .is_ok_and(|rights| rights.roots.is_empty() || rights.roots.iter().any(|root| folder.starts_with(root)))
        }),
        Err(_) => false,
    }
}

fn of_worktree(tools: &WorkerContext, directory: &Path) -> Option<TaskPaths> {
    let top = directory.ancestors().find(|folder| folder.parent() == Some(&tools.worktrees))?;
    let (history, own) = Worktree::open(top).ok()??.history()?;
    // All of the worktree, wherever in it the task works.
    Some(shared_history(history, vec![own, top.to_owned()]))
}

/// What commits are made of may be written in a history that others share, and settings and hooks may not.
fn shared_history(history: PathBuf, own: Vec<PathBuf>) -> TaskPaths {
    let write = ["objects", "refs", "logs"].map(|name| history.join(name));
    let write = write.into_iter().filter(|path| path.is_dir() && !path.is_symlink()).chain(own).collect();
    TaskPaths { write, read: vec![history], ..TaskPaths::default() }
}
