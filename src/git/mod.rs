//! Repositories, by git itself.
//!
//! *Owns* every call of git. *Talks to* the file system only, through `process`. *Promises* that no
//! call runs code of the repository: no hooks, no fsmonitor, no filters (a repository that has some
//! is refused), no external diffs, no editor, no network, no settings but the repository's own.
//! Keeps no state: what must outlive us stands in a file beside the worktree.
//!
//! Decided against: a git library. The rules of worktrees are git's own and change with it; the
//! program that the CLI itself calls is the one to ask.

mod parse;
mod worktree;

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::config::Environment;
use crate::process::{self, Launch};

pub use worktree::{Cleaned, Repository, Worktree};

/// Longest call, unless the repository is huge.
const LIMIT: Duration = Duration::from_secs(120);
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

impl GitError {
    /// True if it may go better in a moment: another process has locked the repository.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Refused { said, .. } => said.contains(".lock"),
            Self::Run(_) => true,
            Self::Missing | Self::Unfit(_) | Self::Note { .. } => false,
        }
    }
}

/// The git of this machine.
#[derive(Clone, Debug)]
pub struct Git {
    program: PathBuf,
    env: Environment,
}

/// Settings on top of the repository's own. All of these run code, or ask who owns a folder.
const SETTINGS: &[(&str, &str)] = &[
    ("core.fsmonitor", "false"),
    ("core.hooksPath", "/dev/null"),
    ("core.pager", "cat"),
    ("core.editor", "true"),
    ("commit.gpgSign", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("protocol.allow", "never"),
    ("safe.directory", "*"),
];

impl Git {
    /// Looks for it on the `PATH` of this environment.
    ///
    /// # Errors
    /// It isn't there.
    pub fn find(environment: &[(String, String)]) -> Result<Self, GitError> {
        let path =
            environment.iter().find(|(name, _)| name == "PATH").map(|(_, path)| path.clone()).unwrap_or_default();
        let program = path.split(':').map(|folder| Path::new(folder).join("git")).find(|program| program.is_file());
        let mut env = vec![
            ("PATH".to_owned(), path),
            ("LC_ALL".to_owned(), "C".to_owned()),
            ("GIT_CONFIG_NOSYSTEM".to_owned(), "1".to_owned()),
            ("GIT_CONFIG_GLOBAL".to_owned(), "/dev/null".to_owned()),
            ("GIT_TERMINAL_PROMPT".to_owned(), "0".to_owned()),
            ("GIT_OPTIONAL_LOCKS".to_owned(), "0".to_owned()),
            ("GIT_CONFIG_COUNT".to_owned(), SETTINGS.len().to_string()),
        ];
        for (at, (key, value)) in SETTINGS.iter().enumerate() {
            env.push((format!("GIT_CONFIG_KEY_{at}"), (*key).to_owned()));
            env.push((format!("GIT_CONFIG_VALUE_{at}"), (*value).to_owned()));
        }
        Ok(Self { program: program.ok_or(GitError::Missing)?, env: env.into() })
    }

    /// Returns the state of a repository, as the CLI tells the model when it starts: two that are equal look the same
    /// to it.
    ///
    /// # Errors
    /// There is none, or git refused.
    pub async fn snapshot(&self, folder: &Path) -> Result<Vec<u8>, GitError> {
        let mut all = self.run(folder, &["status", "--porcelain", "--branch"]).await?;
        all.extend(self.run(folder, &["log", "--format=%H", "-n", "5"]).await.unwrap_or_default());
        Ok(all)
    }

    /// Runs it in this folder and returns what it printed.
    async fn run(&self, folder: &Path, args: &[&str]) -> Result<Vec<u8>, GitError> {
        self.run_with(folder, args, &[]).await
    }

    async fn run_with(&self, folder: &Path, args: &[&str], more: &[(&str, &str)]) -> Result<Vec<u8>, GitError> {
        let mut env = self.env.clone();
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let args = args.iter().map(Into::into).collect();
        let launch = Launch { program: self.program.clone(), args, env, directory: Some(folder.to_owned()) };
        let ran = process::captured(&launch, LIMIT, MAX_OUTPUT_BYTES).await.map_err(GitError::Run)?;
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
