//! What a worktree has that is nowhere else, and its end.

use super::{Worktree, note_of, reference};
use crate::git::{Git, GitError};

/// Changed files that are named.
const MAX_NAMED: usize = 20;

/// Work in a worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// Files with changes that are not committed, the first of them.
    pub uncommitted: Vec<String>,
    /// Number of all of these.
    pub uncommitted_count: usize,
    /// Commits of its branch that no other branch or tag has.
    pub commits: usize,
}

impl Worktree {
    /// Its branch.
    #[must_use]
    pub fn branch(&self) -> &str {
        &self.note.branch
    }

    /// True if it is to stay when its task has ended.
    #[must_use]
    pub const fn is_kept(&self) -> bool {
        self.note.keep
    }

    /// Returns what of it is nowhere else.
    ///
    /// # Errors
    /// Git refused.
    pub async fn work(&self, git: &Git) -> Result<Work, GitError> {
        let mut work = Work::default();
        if self.path.join(".git").exists() {
            let status = git.run(&self.path, &["status", "--porcelain", "-z", "--untracked-files=normal"]).await?;
            let status = String::from_utf8_lossy(&status).into_owned();
            // The old name of a file that was renamed has no letters before it.
            let files = status.split('\0').filter(|entry| entry.as_bytes().get(2) == Some(&b' '));
            let files: Vec<String> = files.filter_map(|entry| Some(entry.get(3..)?.to_owned())).collect();
            work.uncommitted_count = files.len();
            work.uncommitted = files.into_iter().take(MAX_NAMED).collect();
        }
        let top = &self.note.repository;
        let own = reference(&self.note.branch);
        if git.run(top, &["show-ref", "--verify", "--quiet", &own]).await.is_ok() {
            let exclude = format!("--exclude={own}");
            // Its own worktree stands at it.
            let count =
                git.line(top, &["rev-list", "--single-worktree", "--count", &own, "--not", &exclude, "--all"]).await?;
            work.commits = count.parse().unwrap_or_default();
        }
        Ok(work)
    }

    /// Removes it with all that is in it, and its branch.
    ///
    /// # Errors
    /// Git refused.
    pub async fn discard(&self, git: &Git) -> Result<(), GitError> {
        let top = &self.note.repository;
        if self.path.join(".git").exists() {
            git.run(top, &["worktree", "remove", "--force", "--end-of-options", &self.path.to_string_lossy()]).await?;
        }
        if git.run(top, &["show-ref", "--verify", "--quiet", &reference(&self.note.branch)]).await.is_ok() {
            git.run(top, &["branch", "--quiet", "-D", "--end-of-options", &self.note.branch]).await?;
        }
        std::fs::remove_file(note_of(&self.path)).map_err(|source| GitError::Note { path: note_of(&self.path), source })
    }

    /// The same worktree, which need not stay.
    #[must_use]
    pub fn released(mut self) -> Self {
        self.note.keep = false;
        self
    }
}
