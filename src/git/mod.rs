//! Repositories, by git itself.
//!
//! *Owns* every call of git. *Talks to* the file system only, through `process`. *Promises* that no
//! call runs code of the repository: no hooks, no fsmonitor, no filters (a repository that has some
//! is refused a worktree, and looked at with its filters overruled), no external diffs, no editor, no network but to
//! a repository that the operator allows, no settings but the repository's own; and that a call runs behind the walls of a task (`sandbox`) all the same.
//! Keeps no state: what must outlive us stands in a file beside the worktree.
//!
//! Decided against: a git library. The rules of worktrees are git's own and change with it; the
//! program that the CLI itself calls is the one to ask.

mod attack;
mod harmless;
mod parse;
mod remote;
mod summary;
mod worktree;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::{Claude, Environment, Sandbox};
use crate::process::{self, BackOff, Isolation, Launch};
use crate::sandbox::{self, Access, Grant, Walls};

pub use attack::try_repository;
pub use harmless::for_agent;
pub use parse::File;
pub use remote::RemoteClone;
pub use worktree::{Cleaned, Repository, Work, Worktree, linked};

/// Longest call, unless the repository is huge.
const LIMIT: Duration = Duration::from_secs(120);
/// Longest look at a repository before a task begins.
const LOOK_LIMIT: Duration = Duration::from_secs(5);
/// Maximum output of a call in bytes: room for the largest patch that is kept, and more.
const MAX_OUTPUT_BYTES: usize = 32 << 20;

/// Error of a call of git.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// Git is not installed.
    #[error("git is not installed: install it, or submit without a worktree")]
    Missing,
    /// Git could not be started, or didn't end in time.
    #[error("git can't be run")]
    Run(#[source] std::io::Error),
    /// Git refused.
    #[error("git {command} failed: {said}")]
    Refused {
        /// Call.
        command: String,
        /// First lines of the error output.
        said: String,
    },
    /// The repository is not one that we work with.
    #[error("{0}")]
    Unfit(String),
    /// A file of ours beside the worktree can't be used.
    #[error("the note {path} can't be used")]
    Note {
        /// Path of the folder.
        path: PathBuf,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
}

/// Maximum number of tries where a repository is busy.
const TRIES: u32 = 5;

/// Does it again while the repository is [busy](GitError::is_transient), a few times.
///
/// # Errors
/// Those of the last try.
pub async fn patiently<T, F: Future<Output = Result<T, GitError>>>(run: impl Fn() -> F) -> Result<T, GitError> {
    let mut back_off = BackOff::default();
    for _ in 1..TRIES {
        match run().await {
            Err(error) if error.is_transient() => back_off.pause().await,
            done => return done,
        }
    }
    run().await
}

impl GitError {
    /// True if it may go better in a moment: another process has locked the repository, or makes a worktree of it, of which
    /// git reads what is not written yet.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { said, .. } => {
                said.contains(".lock") || (said.contains("failed to read") && said.contains("worktrees/"))
            }
            Self::Run(_) => true,
            Self::Missing | Self::Unfit(_) | Self::Note { .. } => false,
        }
    }
}

/// The git of this machine.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    path: String,
    /// Walls round every call; none where `None`.
    walls: Option<Walls>,
    /// Longest call.
    limit: Duration,
    /// Variables of calls that talk to one: proxies, and certificates of the operator's.
    network: Vec<(String, String)>,
    /// The remote repository that calls may talk to.
    transfer: Option<remote::Transfer>,
}

/// State of a repository before a task begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Text for the model; `None` where it works in no repository.
    pub summary: Option<String>,
    /// Variables with which git runs no code of the repository's settings.
    pub variables: Vec<(String, String)>,
}

impl Git {
    /// Looks for it on the `PATH` of the CLI. Its calls read the folders that tasks may work in.
    ///
    /// # Errors
    /// It isn't there.
    pub fn find(claude: &Claude) -> Result<Self, GitError> {
        let roots: Vec<&Path> = claude.workspace_roots.iter().map(PathBuf::as_path).collect();
        Ok(Self::confined(claude)?.granted(&roots, Access::OperatorRead))
    }

    /// The same, with calls that read nothing but what is granted to them from here on: a repository can name another
    /// one as its own, and a task can change what it names at any time.
    ///
    /// # Errors
    /// It isn't there.
    pub fn confined(claude: &Claude) -> Result<Self, GitError> {
        let path = claude.environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone());
        let path = path.unwrap_or_default();
        let network = remote::network(&claude.environment);
        let program = path.split(':').map(|folder| Path::new(folder).join("git")).find(|program| program.is_file());
        let folders = path.split(':').map(PathBuf::from);
        let walls = (claude.agent.sandbox != Sandbox::Off).then(|| Walls {
            grants: folders.map(|path| Grant { path, access: Access::OperatorRead }).collect(),
            user: claude.agent.user,
            ..Walls::default()
        });
        Ok(Self { program: program.ok_or(GitError::Missing)?, path, walls, limit: LIMIT, network, transfer: None })
    }

    /// The same, with calls that write below these folders, which are no links.
    #[must_use]
    pub fn writing(self, folders: &[&Path]) -> Self {
        self.granted(folders, Access::Write)
    }

    /// The same, with calls that read what these walls grant to a task.
    #[must_use]
    pub fn reading_as(self, walls: Option<&Walls>) -> Self {
        let of_task = walls.into_iter().flat_map(|walls| &walls.grants).filter(|grant| !grant.access.is_of_operator());
        let folders: Vec<&Path> = of_task.map(|grant| grant.path.as_path()).collect();
        self.granted(&folders, Access::Read)
    }

    /// The same, with calls that read everything: for those that say where a repository lies.
    #[must_use]
    pub fn reading_all(self) -> Self {
        self.granted(&[Path::new("/")], Access::OperatorRead)
    }

    /// The same, with calls that read these files and folders of the operator.
    fn reading(self, paths: &[&Path]) -> Self {
        self.granted(paths, Access::OperatorRead)
    }

    fn granted(mut self, folders: &[&Path], access: Access) -> Self {
        if let Some(walls) = &mut self.walls {
            walls.grants.extend(folders.iter().map(|path| Grant { path: path.to_path_buf(), access }));
        }
        self
    }

    /// Looks at the repository that a task is to work in. Nothing of its settings is run.
    pub async fn look(&self, folder: &Path) -> State {
        match tokio::time::timeout(LOOK_LIMIT, self.state(folder)).await {
            Ok(Ok(state)) => state,
            failed => {
                let why = match failed {
                    Ok(Err(error)) => crate::telemetry::chain(&error),
                    _ => "no answer in time".to_owned(),
                };
                tracing::debug!(why, "The state of a repository is not known");
                State { summary: None, variables: harmless::for_agent(&[]) }
            }
        }
    }

    async fn state(&self, folder: &Path) -> Result<State, GitError> {
        if !folder.ancestors().any(|folder| folder.join(".git").exists()) {
            return Ok(State { summary: None, variables: harmless::for_agent(&[]) });
        }
        let names = self.run(folder, &["config", "--null", "--name-only", "--list", "--includes"]).await?;
        let overruled = harmless::overruled(&names);
        let (status, log) = tokio::join!(
            self.call(folder, &["status", "--short", "--branch", "--ignore-submodules=all"], &[], &overruled),
            self.call(folder, &["log", "--format=%h %s", "-n", "5"], &[], &overruled)
        );
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        // Before the first commit there is no log.
        let summary = summary::of(&text(status?), &text(log.unwrap_or_default()));
        Ok(State { summary: Some(summary), variables: harmless::for_agent(&overruled) })
    }

    /// Runs it in this folder and returns what it printed.
    async fn run(&self, folder: &Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run_with(folder, args, &[]).await
    }

    async fn run_with(&self, folder: &Path, args: &[&str], more: &[(&str, &str)]) -> Result<Vec<u8>, GitError> {
        self.call(folder, args, more, &[]).await
    }

    async fn call(
        &self,
        folder: &Path,
        args: &[&str],
        more: &[(&str, &str)],
        overruled: &[(String, String)],
    ) -> Result<Vec<u8>, GitError> {
        let overruled: Vec<_> =
            overruled.iter().cloned().chain(self.transfer.iter().flat_map(remote::Transfer::settings)).collect();
        let mut env: Environment = harmless::for_us(&overruled).into();
        for (name, value) in self.transfer.iter().flat_map(|to| to.variables(&self.network)) {
            env.retain(|(other, _)| *other != name);
            env.push((name, value));
        }
        env.push(("PATH".to_owned(), self.path.clone()));
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let args = args.iter().map(Into::into).collect();
        let launch = Launch { program: self.program.clone(), args, env, directory: None };
        let (steps, _) = sandbox::enter(self.walls.as_ref(), folder, Isolation::Subreaper, false, None)
            .map_err(|error| GitError::Run(std::io::Error::other(error)))?;
        let ran = process::captured(&launch, steps, self.limit, MAX_OUTPUT_BYTES).await.map_err(GitError::Run)?;
        if ran.status.success() {
            return Ok(ran.stdout);
        }
        let said: Vec<_> = ran.stderr.lines().take(3).collect();
        Err(GitError::Refused { command: launch.args[0].to_string_lossy().into_owned(), said: said.join("; ") })
    }

    /// Returns the output of a call, as one line of text.
    async fn line(&self, folder: &Path, args: &[&str]) -> Result<String, GitError> {
        Ok(String::from_utf8_lossy(&self.run(folder, args).await?).trim().to_owned())
    }
}
