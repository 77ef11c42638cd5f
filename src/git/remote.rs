//! Repositories of other machines. Of each a clone is kept, from which worktrees are made, and which is brought up to date
//! before each.
//!
//! A clone belongs to one key: a task may write objects into the history of its worktree, and git believes what an object's
//! name says. Nothing of a remote repository runs here: there are no settings of its own in a clone, no submodules, and no
//! checkout but that of a worktree.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{CWD, Mode, OFlags};
use sha2::{Digest, Sha256};

use super::{Git, GitError, Repository};
use crate::config::{AgentUser, Environment};
use crate::process::{self, LockWait};
use wire::RemoteRepository;

/// Longest transfer.
const TRANSFER_LIMIT: Duration = Duration::from_secs(900);
/// What is fetched: all branches, all tags, and what the repository says is its default branch.
const REFS: [&str; 3] = ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*", "+HEAD:refs/origin/HEAD"];
/// Parts of git's errors that another try changes nothing of.
const FOR_GOOD: [&str; 9] = [
    "rejected",
    "not found",
    "does not exist",
    "does not appear to be a git repository",
    "Authentication failed",
    "could not read Username",
    "Permission denied",
    "Host key verification failed",
    "access denied",
];

/// What git may do to reach a remote repository.
#[derive(Clone, Debug)]
pub struct Transfer {
    protocol: String,
    credentials: Option<PathBuf>,
}

impl Transfer {
    /// Settings and variables beside those that run nothing.
    pub fn settings(&self) -> Vec<(String, String)> {
        let mut settings = vec![("transfer.fsckObjects".to_owned(), "true".to_owned())];
        if let Some(file) = &self.credentials {
            settings.push(("credential.helper".to_owned(), format!("store --file={}", file.display())));
        }
        settings
    }

    /// Variables in place of those that forbid every transfer. Keys and known hosts of `ssh` are those of the service's user.
    pub fn variables(&self, network: &[(String, String)]) -> Vec<(String, String)> {
        let mut variables = network.to_vec();
        variables.push(("GIT_ALLOW_PROTOCOL".to_owned(), self.protocol.clone()));
        let ssh = "ssh -o BatchMode=yes -o StrictHostKeyChecking=yes";
        variables.push(("GIT_SSH_COMMAND".to_owned(), ssh.to_owned()));
        variables
    }
}

/// The operator's proxies and certificates, as git names them.
pub fn network(environment: &Environment) -> Vec<(String, String)> {
    const NAMES: [(&str, &str); 3] =
        [("HTTPS_PROXY", "HTTPS_PROXY"), ("NO_PROXY", "NO_PROXY"), ("SSL_CERT_FILE", "GIT_SSL_CAINFO")];
    let value = |name: &str| environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
    NAMES.iter().filter_map(|(name, gits)| Some(((*gits).to_owned(), value(name)?))).collect()
}

impl Git {
    /// The same, with calls that may talk to this repository, with the operator's credentials.
    #[must_use]
    pub fn transferring(mut self, remote: &RemoteRepository, credentials: Option<&Path>) -> Self {
        self.limit = TRANSFER_LIMIT;
        self.transfer =
            Some(Transfer { protocol: remote.protocol().to_owned(), credentials: credentials.map(Path::to_owned) });
        let certificates = self.network.iter().find(|(name, _)| name == "GIT_SSL_CAINFO").map(|(_, file)| file.clone());
        let certificates = certificates.as_deref().map(Path::new).filter(|file| file.is_file());
        let readable: Vec<&Path> = local(remote).into_iter().chain(credentials).chain(certificates).collect();
        self.reading(&readable)
    }
}

/// The folder of a repository on this machine.
fn local(remote: &RemoteRepository) -> Option<&Path> {
    remote.url.strip_prefix("file://").map(Path::new)
}

/// The clone of a repository.
#[derive(Debug)]
pub struct RemoteClone {
    top: PathBuf,
    user: AgentUser,
}

impl RemoteClone {
    /// The clone of a key below this folder, where it is or will be.
    #[must_use]
    pub fn below(folder: &Path, key: &str, remote: &RemoteRepository, user: AgentUser) -> Self {
        let name = Sha256::digest(format!("{key}\n{}", remote.url));
        Self { top: folder.join(hex::encode(&name[..16])), user }
    }

    /// The clone as a repository.
    #[must_use]
    pub fn repository(&self) -> Repository {
        Repository { top: self.top.clone(), git_dir: self.top.join(".git"), below: PathBuf::new() }
    }

    /// Makes it where it isn't there, and brings it up to date. Returns the commit that is meant.
    ///
    /// # Errors
    /// It can't be reached, or there is no such revision.
    pub async fn update(&self, git: &Git, remote: &RemoteRepository) -> Result<String, GitError> {
        let lock = self.lock().await.map_err(GitError::Run)?;
        if !self.top.join(".git/HEAD").exists() {
            git.run(&self.top, &["init", "--quiet", "--initial-branch=none"]).await?;
        }
        // The agent writes there, and can't make the folder.
        self.give(&self.top.join(".git/logs")).map_err(GitError::Run)?;
        let mut fetch =
            vec!["fetch", "--quiet", "--prune", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules"];
        fetch.extend(["--no-auto-maintenance", "--end-of-options", &remote.url]);
        fetch.extend(REFS);
        git.run(&self.top, &fetch).await?;
        let found = self.find(git, remote.revision.as_deref()).await;
        drop(lock);
        found
    }

    /// A branch, a tag, or a commit of any of them.
    async fn find(&self, git: &Git, revision: Option<&str>) -> Result<String, GitError> {
        let named = match revision {
            None => vec!["refs/origin/HEAD".to_owned()],
            Some(name) => vec![format!("refs/remotes/origin/{name}"), format!("refs/tags/{name}"), name.to_owned()],
        };
        for name in &named {
            let commit = format!("{name}^{{commit}}");
            if let Ok(found) = git.line(&self.top, &["rev-parse", "--verify", "--end-of-options", &commit]).await {
                return Ok(found);
            }
        }
        Err(GitError::Unfit(match revision {
            Some(name) => format!("the repository has no branch, tag or commit \"{name}\""),
            None => "the repository is empty".to_owned(),
        }))
    }

    /// Sends a branch, and notes that it is there.
    ///
    /// # Errors
    /// The repository refuses it, or can't be reached.
    pub async fn push(&self, git: &Git, remote: &RemoteRepository, branch: &str) -> Result<(), GitError> {
        let refs = format!("refs/heads/{branch}:refs/heads/{branch}");
        let git = &git.clone().writing(&local(remote).into_iter().collect::<Vec<_>>());
        git.run(&self.top, &["push", "--quiet", "--no-verify", "--end-of-options", &remote.url, &refs]).await?;
        let (ours, theirs) = (format!("refs/heads/{branch}"), format!("refs/remotes/origin/{branch}"));
        git.run(&self.top, &["update-ref", &theirs, &ours]).await?;
        Ok(())
    }

    /// Makes a folder of the user that git runs as.
    fn give(&self, folder: &Path) -> io::Result<()> {
        process::make_private_folder(folder)?;
        process::give(folder, self.user)
    }

    /// Checks that the repository has no branch of this name.
    ///
    /// # Errors
    /// It has.
    pub async fn check_branch(&self, git: &Git, branch: &str) -> Result<(), GitError> {
        let theirs = format!("refs/remotes/origin/{branch}");
        match git.run(&self.top, &["show-ref", "--verify", "--quiet", &theirs]).await {
            Ok(_) => Err(GitError::Unfit(format!("the repository has a branch \"{branch}\" already"))),
            Err(_) => Ok(()),
        }
    }

    /// Waits for other processes that transfer. The lock goes with the file.
    async fn lock(&self) -> io::Result<OwnedFd> {
        self.give(&self.top)?;
        let file = self.top.with_extension("lock");
        let lock = rustix::fs::openat(
            CWD,
            &file,
            OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::from_raw_mode(0o600),
        )?;
        LockWait::new(lock, TRANSFER_LIMIT).wait_beside().await
    }
}

impl GitError {
    /// True if the same transfer may succeed later.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Refused { command, said } if command == "fetch" || command == "push" => {
                !FOR_GOOD.iter().any(|part| said.contains(part))
            }
            other => other.is_transient(),
        }
    }
}
