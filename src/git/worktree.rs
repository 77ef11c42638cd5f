//! A worktree and a branch for a task: made from a base, looked at for its changes, and removed when
//! nothing in it would be lost.

mod work;

use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use serde::{Deserialize, Serialize};

use super::parse::{Commit, File, LOG_FORMAT, commits, files};
use super::{Git, GitError, patiently};
use crate::config::Claude;
use crate::process;
use domain::TaskId;

pub use work::Work;

/// The largest patch that is kept, in bytes.
const MAX_PATCH_BYTES: usize = 8 << 20;
/// Maximum number of commits and files that are listed.
const MAX_LISTED: usize = 1_000;
/// Commits of ours where the repository names nobody.
const AUTHOR: [(&str, &str); 4] = [
    ("GIT_AUTHOR_NAME", "cc-anywhere"),
    ("GIT_AUTHOR_EMAIL", "cc-anywhere@localhost"),
    ("GIT_COMMITTER_NAME", "cc-anywhere"),
    ("GIT_COMMITTER_EMAIL", "cc-anywhere@localhost"),
];

/// A repository that worktrees can be made of.
#[derive(Clone, Debug)]
pub struct Repository {
    pub top: PathBuf,
    /// Folder of its history.
    pub git_dir: PathBuf,
    /// Path from the top to the folder that was named.
    pub below: PathBuf,
}

impl Repository {
    /// The repository that this folder is in.
    ///
    /// # Errors
    /// There is none, or it is not one that we work with.
    pub async fn of(git: &Git, folder: &Path) -> Result<Self, GitError> {
        let none = |_| GitError::Unfit(format!("{} is in no git repository", folder.display()));
        let top = PathBuf::from(git.line(folder, &["rev-parse", "--show-toplevel"]).await.map_err(none)?);
        let git_dir = git.line(folder, &["rev-parse", "--path-format=absolute", "--git-common-dir"]).await?;
        let [top, git_dir] = [top, git_dir.into()].map(|path| path.canonicalize().unwrap_or(path));
        // A filter is a command that git runs at every checkout.
        if git.run(folder, &["config", "--get-regexp", r"^filter\."]).await.is_ok() {
            return Err(GitError::Unfit(format!(
                "{} has filters in its settings (git config filter.*), which would be run",
                top.display()
            )));
        }
        let below = folder.strip_prefix(&top).unwrap_or(Path::new("")).to_owned();
        Ok(Self { top, git_dir, below })
    }

    /// The commit that a worktree begins at.
    ///
    /// # Errors
    /// There is no such branch or commit.
    pub async fn base(&self, git: &Git, named: Option<&str>) -> Result<String, GitError> {
        let named = named.unwrap_or("HEAD");
        let commit = format!("{named}^{{commit}}");
        let found = git.line(&self.top, &["rev-parse", "--verify", "--end-of-options", &commit]).await;
        found.map_err(|_| GitError::Unfit(format!("{} has no commit \"{named}\"", self.top.display())))
    }

    /// Checks that a branch of this name can be made.
    ///
    /// # Errors
    /// It is no name for a branch, or there is one already.
    pub async fn check_branch(&self, git: &Git, branch: &str) -> Result<(), GitError> {
        if branch.starts_with('-') || git.run(&self.top, &["check-ref-format", "--branch", branch]).await.is_err() {
            return Err(GitError::Unfit(format!("\"{branch}\" is no name for a branch")));
        }
        // A branch is a file to git, or a folder of branches, never both.
        let family = reference(branch.split('/').next().unwrap_or(branch));
        let others = git.run(&self.top, &["for-each-ref", "--format=%(refname:lstrip=2)", &family]).await?;
        match String::from_utf8_lossy(&others).lines().find(|other| clash(other, branch)) {
            Some(other) if other == branch => {
                Err(GitError::Unfit(format!("{} has a branch \"{branch}\" already", self.top.display())))
            }
            Some(other) => Err(GitError::Unfit(format!(
                "{} has a branch \"{other}\", so there can be no \"{branch}\" beside it: choose another name",
                self.top.display()
            ))),
            None => Ok(()),
        }
    }
}

/// True if two branches are the same, or the name of one is a folder of the other.
fn clash(one: &str, other: &str) -> bool {
    let (short, long) = if one.len() <= other.len() { (one, other) } else { (other, one) };
    long.strip_prefix(short).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn reference(branch: &str) -> String {
    format!("refs/heads/{branch}")
}

/// Note beside a worktree, written before it is made.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Note {
    repository: PathBuf,
    /// Folder of its history; in it, where an earlier version has written the note.
    #[serde(default)]
    git_dir: Option<PathBuf>,
    branch: String,
    base: String,
    keep: bool,
}

/// Maximum length of a file that says where a repository is, in bytes.
const MAX_LINK_BYTES: u64 = 8 << 10;

/// The history of the repository that a folder is a worktree of, and the folder in it that is the worktree's own, as
/// paths without links: where each of both names the other, so that none can name what isn't its own.
#[must_use]
pub fn linked(top: &Path) -> Option<(PathBuf, PathBuf)> {
    let file = top.join(".git");
    let own = top.join(read_link(&file)?.strip_prefix("gitdir:")?.trim()).canonicalize().ok()?;
    let back = PathBuf::from(read_link(&own.join("gitdir"))?.trim()).canonicalize().ok()?;
    let history = own.join(read_link(&own.join("commondir"))?.trim()).canonicalize().ok()?;
    (back == file.canonicalize().ok()? && own.parent()? == history.join("worktrees")).then_some((history, own))
}

fn read_link(file: &Path) -> Option<String> {
    String::from_utf8(process::read(CWD, file, MAX_LINK_BYTES).ok()?).ok()
}

/// Changes of a task.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Changes {
    pub branch: String,
    /// Commit at which it began.
    pub base_commit: String,
    /// Newest commit.
    pub head_commit: String,
    /// Newest first.
    pub commits: Vec<Commit>,
    /// Changed files, with those that are not committed.
    pub files: Vec<File>,
    /// Lines.
    pub additions: i64,
    /// Lines.
    pub deletions: i64,
    /// True if all of it is committed.
    pub committed: bool,
    /// Where the branch was to be pushed: true if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pushed: Option<bool>,
    /// Reason for which it was not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push_error: Option<String>,
    /// Patch from the base to now, with what is not committed; empty where it would be too large.
    #[serde(skip)]
    pub patch: Vec<u8>,
    /// The size of the patch, in bytes, also where it is too large to be kept.
    pub patch_bytes: usize,
}

/// Result of a clean-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleaned {
    /// The worktree is gone; its branch too, where it had nothing of its own.
    Removed,
    /// The worktree was to be kept, or something in it is nowhere else.
    Kept,
}

/// A worktree of a task.
#[derive(Clone, Debug)]
pub struct Worktree {
    path: PathBuf,
    note: Note,
}

impl Worktree {
    /// The worktree at this path: the one that an earlier attempt made, or a new one, with a new branch.
    ///
    /// # Errors
    /// The repository or the names don't allow it.
    pub async fn ensure(
        git: &Git,
        path: &Path,
        repository: &Repository,
        branch: &str,
        base: Option<&str>,
        keep: bool,
    ) -> Result<Self, GitError> {
        if let Some(known) = Self::open(path)? {
            return known.mend(git).await;
        }
        repository.check_branch(git, branch).await?;
        let base = repository.base(git, base).await?;
        let git_dir = Some(repository.git_dir.clone());
        let note = Note { repository: repository.top.clone(), git_dir, branch: branch.to_owned(), base, keep };
        let worktree = Self { path: path.to_owned(), note };
        worktree.write_note()?;
        worktree.mend(git).await
    }

    /// The worktree at this path, where a note of it is there.
    ///
    /// # Errors
    /// The note can't be read.
    pub fn open(path: &Path) -> Result<Option<Self>, GitError> {
        let file = note_of(path);
        let bad = |source| GitError::Note { path: file.clone(), source };
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(bad(error)),
        };
        let note = serde_json::from_slice(&text).map_err(|error| bad(error.into()))?;
        Ok(Some(Self { path: path.to_owned(), note }))
    }

    /// The tasks that have a note of a worktree in this folder, in no order.
    #[must_use]
    pub fn noted(folder: &Path) -> Vec<TaskId> {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
        let notes = entries.filter(|path| path.extension().is_some_and(|end| end == "json"));
        notes.filter_map(|note| str::parse::<TaskId>(note.file_stem()?.to_str()?).ok()).collect()
    }

    /// The repository.
    #[must_use]
    pub fn repository(&self) -> &Path {
        &self.note.repository
    }

    /// Folder of the repository's history.
    fn git_dir(&self) -> PathBuf {
        self.note.git_dir.clone().unwrap_or_else(|| self.note.repository.join(".git"))
    }

    /// The folder of the repository's history, and the one in it that is the worktree's own, as paths without links.
    /// `None` where the worktree does not say so any more: its `.git` is a file that a task may change.
    #[must_use]
    pub fn history(&self) -> Option<(PathBuf, PathBuf)> {
        let noted = self.git_dir().canonicalize().ok()?;
        linked(&self.path).filter(|(history, _)| *history == noted)
    }

    /// Git for calls in this worktree, which see it and its repository and nothing else.
    ///
    /// # Errors
    /// A task has made it the worktree of something else, or there is no git.
    pub fn git(&self, claude: &Claude, worktrees: &Path) -> Result<Git, GitError> {
        if self.path.join(".git").exists() && self.history().is_none() {
            return Err(GitError::Unfit(format!("{} is no longer a worktree of its repository", self.path.display())));
        }
        Ok(Git::confined(claude)?.writing(&[worktrees, &self.note.repository, &self.git_dir()]))
    }

    fn write_note(&self) -> Result<(), GitError> {
        let file = note_of(&self.path);
        let write = || -> io::Result<()> {
            if let Some(folder) = file.parent() {
                std::fs::create_dir_all(folder)?;
            }
            std::fs::write(&file, serde_json::to_vec(&self.note)?)
        };
        write().map_err(|source| GitError::Note { path: file.clone(), source })
    }

    /// Makes what of it isn't there: a death may have come between the steps. Others make worktrees of the repository too.
    async fn mend(self, git: &Git) -> Result<Self, GitError> {
        patiently(|| self.make(git)).await?;
        Ok(self)
    }

    async fn make(&self, git: &Git) -> Result<(), GitError> {
        let (top, branch) = (&self.note.repository, &self.note.branch);
        if self.path.join(".git").exists() {
            return Ok(());
        }
        let path = self.path.to_string_lossy();
        git.run(top, &["worktree", "prune"]).await?;
        let there = git.run(top, &["show-ref", "--verify", "--quiet", &reference(branch)]).await.is_ok();
        if there {
            git.run(top, &["worktree", "add", "--force", "--end-of-options", &path, branch]).await?;
        } else {
            git.run(top, &["worktree", "add", "-b", branch, "--end-of-options", &path, &self.note.base]).await?;
        }
        Ok(())
    }

    /// Commits everything, where there is something to commit.
    ///
    /// # Errors
    /// Git refused.
    pub async fn commit_all(&self, git: &Git, message: &str) -> Result<(), GitError> {
        git.run(&self.path, &["add", "--all"]).await?;
        if git.run(&self.path, &["diff", "--cached", "--quiet"]).await.is_ok() {
            return Ok(());
        }
        let named = git.line(&self.path, &["config", "user.email"]).await.is_ok();
        let author = if named { &[][..] } else { &AUTHOR[..] };
        git.run_with(&self.path, &["commit", "--quiet", "--no-verify", "-m", message], author).await?;
        Ok(())
    }

    /// Returns the changes since the base, committed or not.
    ///
    /// # Errors
    /// Git refused.
    pub async fn changes(&self, git: &Git) -> Result<Changes, GitError> {
        let (path, base) = (&self.path, self.note.base.as_str());
        let head = git.line(path, &["rev-parse", "HEAD"]).await?;
        let tree = self.tree_of_all(git).await?;
        let mut changed = self.files_in(git, &tree).await?;
        let range = format!("{base}..HEAD");
        let most = format!("--max-count={MAX_LISTED}");
        let log = git.run(path, &["log", LOG_FORMAT, &most, "--end-of-options", &range]).await?;
        let patch = self.diff(git, &tree, &["--binary"]).await?;
        let sum = |of: fn(&File) -> Option<i64>| changed.iter().filter_map(of).sum();
        let (additions, deletions) = (sum(|file| file.additions), sum(|file| file.deletions));
        let patch_bytes = patch.len();
        changed.truncate(MAX_LISTED);
        Ok(Changes {
            branch: self.note.branch.clone(),
            base_commit: base.to_owned(),
            head_commit: head,
            commits: commits(&log),
            files: changed,
            additions,
            deletions,
            committed: self.is_clean(git).await?,
            pushed: None,
            push_error: None,
            patch: if patch_bytes > MAX_PATCH_BYTES { Vec::new() } else { patch },
            patch_bytes,
        })
    }

    /// Returns the files that were changed since the base, committed or not.
    ///
    /// # Errors
    /// Git refused.
    pub async fn changed_files(&self, git: &Git) -> Result<Vec<File>, GitError> {
        let tree = self.tree_of_all(git).await?;
        self.files_in(git, &tree).await
    }

    async fn files_in(&self, git: &Git, tree: &str) -> Result<Vec<File>, GitError> {
        let names = self.diff(git, tree, &["--name-status", "-z"]).await?;
        Ok(files(&names, &self.diff(git, tree, &["--numstat", "-z"]).await?))
    }

    /// The difference from the base to a tree.
    async fn diff(&self, git: &Git, tree: &str, how: &[&str]) -> Result<Vec<u8>, GitError> {
        let plain = ["diff", "--no-ext-diff", "--no-textconv", "--no-renames"];
        let args: Vec<&str> = plain.iter().chain(how).copied().chain([self.note.base.as_str(), tree]).collect();
        git.run(&self.path, &args).await
    }

    /// The tree of everything that is there but what is ignored; the worktree's own index is left alone.
    async fn tree_of_all(&self, git: &Git) -> Result<String, GitError> {
        let index = self.path.with_extension("index");
        let name = index.to_string_lossy().into_owned();
        let env = [("GIT_INDEX_FILE", name.as_str())];
        let tree = async {
            git.run_with(&self.path, &["read-tree", "HEAD"], &env).await?;
            git.run_with(&self.path, &["add", "--all"], &env).await?;
            git.run_with(&self.path, &["write-tree"], &env).await
        };
        let tree = tree.await;
        if let Err(error) = std::fs::remove_file(&index) {
            tracing::debug!(%error, "an index stays behind");
        }
        Ok(String::from_utf8_lossy(&tree?).trim().to_owned())
    }

    async fn is_clean(&self, git: &Git) -> Result<bool, GitError> {
        Ok(git.run(&self.path, &["status", "--porcelain", "--untracked-files=normal"]).await?.is_empty())
    }

    /// Removes it where everything in it is committed, and its branch where that has nothing that is
    /// nowhere else. What is not committed, or on no other branch, is never deleted.
    ///
    /// # Errors
    /// Git refused.
    pub async fn clean(&self, git: &Git) -> Result<Cleaned, GitError> {
        let there = self.path.join(".git").exists();
        if self.note.keep || (there && !self.is_clean(git).await?) {
            return Ok(Cleaned::Kept);
        }
        let top = &self.note.repository;
        if !top.exists() {
            return Ok(Cleaned::Kept);
        }
        if there {
            git.run(top, &["worktree", "remove", "--end-of-options", &self.path.to_string_lossy()]).await?;
        }
        let own = reference(&self.note.branch);
        let refs =
            git.line(top, &["for-each-ref", "--format=%(refname)", "--contains", &own]).await.unwrap_or_default();
        // Before it has a commit of its own, every branch that goes on from the base contains it.
        if refs.lines().any(|other| other != own) {
            git.run(top, &["branch", "--quiet", "-D", "--end-of-options", &self.note.branch]).await?;
        }
        std::fs::remove_file(note_of(&self.path))
            .map_err(|source| GitError::Note { path: note_of(&self.path), source })?;
        Ok(Cleaned::Removed)
    }
}

fn note_of(path: &Path) -> PathBuf {
    path.with_extension("json")
}
