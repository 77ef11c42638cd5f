//! The worktree of a task, around its attempts: made before, looked at behind, cleaned up at the end.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode};

use super::confine;
use super::folders::is_below;
use super::set_up::{NotReady, WorkerContext};
use crate::git::{Cleaned, File, Git, GitError, RemoteClone, Repository, Worktree};
use crate::process::{self, BackOff, wall_now};
use crate::queue::{Find, Queue, ReadRace};
use domain::{ChangeSet, Failure, FailureClass, TaskId};
use wire::{RemoteRepository, Task, WorktreeOptions};

/// Delay of a task whose repository is locked by another process.
const BUSY: Duration = Duration::from_secs(1);
/// Maximum number of tries to push a branch.
const PUSHES: u32 = 4;
/// Time within which the folder of worktrees is listed.
const LIST_LIMIT: Duration = Duration::from_secs(30);
/// Time after its end when a task surely has no process any more, in milliseconds.
const QUIET_MS: i64 = 60_000;

/// Time for which a task waits where worktrees have all the room that they may.
const NO_ROOM: Duration = Duration::from_secs(30);
/// Time for which a size that leaves no room is good: of many tasks that wait, one measures. One that leaves room is good for
/// the worktree that is made then.
const SIZE_FOR: Duration = Duration::from_secs(1);

/// Checks that a further worktree may be made.
async fn has_room(tools: &WorkerContext, task: TaskId) -> Result<(), NotReady> {
    static MEASURED: Mutex<Option<(Instant, u64)>> = Mutex::new(None);
    let Some(most) = tools.claude.agent.worktree_bytes else { return Ok(()) };
    if path(tools, task).exists() {
        return Ok(());
    }
    let known = *MEASURED.lock().unwrap_or_else(PoisonError::into_inner);
    let bytes = match known.filter(|(at, _)| at.elapsed() < SIZE_FOR) {
        Some((_, bytes)) => bytes,
        None => {
            let folder = tools.worktrees.clone();
            let size = process::blocking(LIST_LIMIT, move || process::folder_size(vec![folder])).await;
            let size =
                size.map_err(|error| NotReady::Release(format!("can't measure the worktrees: {error}"), NO_ROOM))?;
            if size < most {
                return Ok(());
            }
            *MEASURED.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), size));
            size
        }
    };
    let why = format!(
        "the worktrees have {bytes} bytes, and may have {most} (WORKTREE_DISK_BYTES): cc-anywhere worktrees lists them, and removes some"
    );
    Err(NotReady::Release(why, NO_ROOM))
}

/// Returns the folder of a task's worktree.
fn path(tools: &WorkerContext, task: TaskId) -> PathBuf {
    tools.worktrees.join(task.to_string())
}

/// Makes the worktree, or finds the one of an earlier attempt. Returns the folder in it that the task
/// works in.
pub async fn prepare(
    tools: &WorkerContext,
    queue: &Queue,
    task: &Task,
    options: &WorktreeOptions,
    named: &Path,
) -> Result<PathBuf, NotReady> {
    has_room(tools, task.id).await?;
    let made = async {
        let git = Git::find(&tools.claude)?;
        let repository = Repository::of(&git, named).await?;
        for folder in [&repository.top, &repository.git_dir] {
            // A folder can have become part of another repository since the submit.
            if !is_below(folder, &tools.claude.workspace_roots) || !confine::may_use(queue, task, folder).await {
                let folder = folder.display();
                return Err(GitError::Unfit(format!("{folder} is outside the folders that the task's key may use")));
            }
        }
        let git = Git::confined(&tools.claude)?;
        let git = git.writing(&[&tools.worktrees, &repository.top, &repository.git_dir]);
        let branch = options.branch_of(task.id);
        let base = options.base_branch.as_deref();
        let path = path(tools, task.id);
        Worktree::ensure(&git, &path, &repository, &branch, base, options.keep).await?;
        Ok::<_, GitError>((path, repository.below))
    };
    let (top, below) = made.await.map_err(|error| {
        let why = crate::telemetry::chain(&error);
        if error.is_transient() {
            NotReady::Release(why, BUSY)
        } else {
            NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKTREE", why))
        }
    })?;
    // The folder that was named may be no part of the commit.
    let folder = top.join(&below);
    let give = |fresh: &OwnedFd| process::give(&process::path_of(fresh), tools.claude.agent.user);
    let made = process::open_folder(CWD, &top)
        .and_then(|top| process::make_folders(top, &below, Mode::from_raw_mode(0o777), give));
    made.map(|_| folder).map_err(|error| {
        let why = format!("can't make the folder {} in the worktree: {error}", below.display());
        match error.kind() {
            // A link, or a file.
            io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput => {
                NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKTREE", why))
            }
            _ => NotReady::Release(why, Duration::from_secs(10)),
        }
    })
}

/// Makes the worktree of a task that names its repository by address, from a clone that is brought up to date before; or
/// finds the one of an earlier attempt.
pub async fn prepare_remote(
    tools: &WorkerContext,
    task: &Task,
    remote: &RemoteRepository,
) -> Result<PathBuf, NotReady> {
    has_room(tools, task.id).await?;
    let (options, path) = (task.spec.worktree().unwrap_or_default(), path(tools, task.id));
    let made = async {
        if !tools.claude.repository_urls.iter().any(|allowed| remote.is_below(allowed)) {
            return Err(GitError::Unfit(format!("REPOSITORY_URLS of this worker does not name {}", remote.url)));
        }
        let (clone, git) = clone_of(tools, task, remote)?;
        let known = Worktree::open(&path)?.is_some();
        let branch = options.branch_of(task.id);
        let base = match known {
            true => None,
            false => {
                let base = clone.update(&transferring(tools, &git, remote), remote).await?;
                clone.check_branch(&git, &branch).await?;
                Some(base)
            }
        };
        Worktree::ensure(&git, &path, &clone.repository(), &branch, base.as_deref(), options.keep).await?;
        Ok::<_, GitError>(())
    };
    match made.await {
        Ok(()) => Ok(path.clone()),
        Err(error) if error.is_transient() => Err(NotReady::Release(crate::telemetry::chain(&error), BUSY)),
        Err(error) => {
            let class = if error.may_pass() { FailureClass::Network } else { FailureClass::Invalid };
            Err(NotReady::Fail(Failure::new(class, "REPOSITORY", crate::telemetry::chain(&error))))
        }
    }
}

/// The clone of a task's repository, and git for calls in it and in the worktrees.
fn clone_of(tools: &WorkerContext, task: &Task, remote: &RemoteRepository) -> Result<(RemoteClone, Git), GitError> {
    let clone = RemoteClone::below(&tools.repositories, &task.key, remote, tools.claude.agent.user);
    let git = Git::confined(&tools.claude)?.writing(&[&tools.worktrees, &clone.repository().top]);
    Ok((clone, git))
}

fn transferring(tools: &WorkerContext, git: &Git, remote: &RemoteRepository) -> Git {
    git.clone().transferring(remote, tools.claude.git_credentials.as_deref())
}

/// Pushes the branch of a task. What is committed nowhere else stays here, should that fail.
async fn push(tools: &WorkerContext, task: &Task, branch: &str) -> Result<(), GitError> {
    let Some(remote) = &task.spec.context.repository else { return Ok(()) };
    let (clone, git) = clone_of(tools, task, remote)?;
    let (git, mut back_off) = (transferring(tools, &git, remote), BackOff::default());
    for _ in 1..PUSHES {
        match clone.push(&git, remote, branch).await {
            Err(error) if error.may_pass() || error.is_transient() => back_off.pause().await,
            pushed => return pushed,
        }
    }
    clone.push(&git, remote, branch).await
}

/// Returns the changes of the task; where they are to be committed, commits them before.
///
/// # Errors
/// Why it can't be said.
pub async fn conclude(
    tools: &WorkerContext,
    task: &Task,
    options: &WorktreeOptions,
    completed: bool,
) -> Result<Option<ChangeSet>, GitError> {
    let Some(worktree) = Worktree::open(&path(tools, task.id))? else { return Ok(None) };
    let git = worktree.git(&tools.claude, &tools.worktrees)?;
    if completed && (options.auto_commit || options.push) {
        worktree.commit_all(&git, &message(task, options)).await?;
    }
    let mut changes = worktree.changes(&git).await?;
    if completed && options.push && !changes.commits.is_empty() {
        let pushed = push(tools, task, &changes.branch).await;
        changes.pushed = Some(pushed.is_ok());
        changes.push_error = pushed.err().map(|error| crate::telemetry::chain(&error));
    }
    let patch = std::mem::take(&mut changes.patch);
    Ok(Some(ChangeSet { summary: serde_json::to_value(changes).unwrap_or_default(), patch }))
}

/// Returns the files that the task has changed in its worktree so far, each with the lines that it has added and removed.
///
/// # Errors
/// Why it can't be said.
pub async fn changed(tools: &WorkerContext, task: TaskId) -> Result<Vec<(String, i64)>, GitError> {
    let Some(worktree) = Worktree::open(&path(tools, task))? else {
        return Err(GitError::Unfit("the task has no worktree any more".to_owned()));
    };
    let files = worktree.changed_files(&worktree.git(&tools.claude, &tools.worktrees)?).await?;
    let lines = |file: &File| file.additions.unwrap_or_default().saturating_add(file.deletions.unwrap_or_default());
    Ok(files.into_iter().map(|file| (file.path.clone(), lines(&file))).collect())
}

fn message(task: &Task, options: &WorktreeOptions) -> String {
    let first = task.spec.instruction.lines().next().unwrap_or_default();
    let subject: String = first.chars().take(72).collect();
    let subject = options.commit_message.clone().unwrap_or(subject);
    format!("{subject}\n\nTask: {}\n", task.id)
}

/// Removes the worktree of a task that has ended, where nothing would be lost.
pub async fn clean(tools: &WorkerContext, queue: &Queue, task: &Task) {
    // Another task may go on there, with the session of this one.
    if queue.is_folder_in_use(task.working_directory.as_deref()).await.unwrap_or(true) {
        return;
    }
    remove(tools, task.id, has_lost(queue, task).await).await;
}

/// Removes the worktree of a task whose processes are gone, where another contender has won its race.
pub async fn clean_lost(tools: &WorkerContext, queue: &Queue, task: &Task) {
    if has_lost(queue, task).await {
        remove(tools, task.id, true).await;
    }
}

/// True if another contender has won its race: what it made is of no use then. What it had changed at its end stays readable.
async fn has_lost(queue: &Queue, task: &Task) -> bool {
    if task.spec.race.is_none() {
        return false;
    }
    let race = queue.ask(ReadRace(task.id)).await.ok().flatten();
    race.is_some_and(|race| race.winner().is_some_and(|winner| winner != task.id))
}

async fn remove(tools: &WorkerContext, task: TaskId, discard: bool) {
    let cleaned = async {
        match Worktree::open(&path(tools, task))? {
            Some(worktree) if worktree.repository().exists() => {
                let git = worktree.git(&tools.claude, &tools.worktrees)?;
                if discard {
                    return worktree.discard(&git).await.map(|()| Cleaned::Removed);
                }
                // A clone of ours is seen by nobody: what is committed there alone stays in sight.
                let is_clone = worktree.repository().starts_with(&tools.repositories);
                match is_clone && worktree.work(&git).await?.commits > 0 {
                    true => Ok(Cleaned::Kept),
                    false => worktree.clean(&git).await,
                }
            }
            _ => Ok(Cleaned::Kept),
        }
    };
    match cleaned.await {
        Ok(Cleaned::Removed) => tracing::debug!(taskId = %task, "Worktree removed"),
        Ok(Cleaned::Kept) => tracing::debug!(taskId = %task, "A worktree stays; see GET /api/worktrees"),
        Err(error) => {
            let error: GitError = error;
            tracing::warn!(taskId = %task, error = %crate::telemetry::chain(&error), "Could not clean up a worktree");
        }
    }
}

/// Cleans up what attempts left that came to no end of their own: of tasks that have ended or are gone.
pub async fn clean_up(tools: &WorkerContext, queue: &Queue) {
    let folder = tools.worktrees.clone();
    let noted = process::blocking(LIST_LIMIT, move || Worktree::noted(&folder));
    for task in noted.await.unwrap_or_default() {
        match queue.ask(Find(task)).await {
            Ok(Some(found)) if found.completed_at.is_some_and(|at| wall_now().since_ms(at) > QUIET_MS) => {
                clean(tools, queue, &found).await;
            }
            Ok(Some(_)) => {}
            Ok(None) => remove(tools, task, false).await,
            Err(_) => return,
        }
    }
}
