//! The worktrees of this machine: what each has that is nowhere else, and their end by hand.

use std::path::PathBuf;
use std::time::Duration;

use domain::TaskId;
use serde_json::json;
use wire::Task;

use super::{Caller, Kind, Refusal, Service};
use crate::git::{GitError, Work, Worktree};
use crate::process;
use crate::queue::{Find, QueueError};
use crate::telemetry::chain;

/// Time within which the folder of worktrees is listed, and the room of one is measured.
const DISK_LIMIT: Duration = Duration::from_secs(20);

/// A worktree, as it is found.
pub struct FoundWorktree {
    /// The task that it was made for.
    pub id: TaskId,
    /// That task, where it is there still.
    pub task: Option<Task>,
    /// The worktree.
    pub worktree: Worktree,
    /// Its folder.
    pub path: PathBuf,
    /// True if a task that has not ended works there.
    pub in_use: bool,
    /// Bytes on the disk; 0 where they can't be counted.
    pub bytes: u64,
    /// What of it is nowhere else, or why that is not known.
    pub work: Result<Work, String>,
}

/// Returns the worktrees that the caller sees, of the newest tasks first: at most `limit`, of tasks before this one.
///
/// # Errors
/// The queue's.
pub async fn list(
    service: &Service,
    caller: &Caller,
    before: Option<TaskId>,
    limit: usize,
) -> Result<Vec<FoundWorktree>, QueueError> {
    let mut found = Vec::new();
    for id in noted(service).await.into_iter().filter(|id| before.is_none_or(|before| *id < before)) {
        if found.len() >= limit {
            break;
        }
        let Some((task, worktree)) = seen(service, caller, id).await? else { continue };
        found.push(look(service, id, task, worktree).await?);
    }
    Ok(found)
}

/// Removes a worktree. What is committed stays on its branch, unless `discard` is true. Returns what it had, and whether its
/// branch is gone.
///
/// # Errors
/// There is none that the caller sees, it is in use, or it has changes that are not committed.
pub async fn remove(
    service: &Service,
    caller: &Caller,
    id: TaskId,
    discard: bool,
) -> Result<(FoundWorktree, bool), Refusal> {
    let unknown = || {
        let message = format!("there is no worktree of task {id} on this machine");
        Refusal::new(Kind::Unknown, "WORKTREE_NOT_FOUND", message).with(json!({ "taskId": id }))
    };
    let (task, worktree) = seen(service, caller, id).await?.ok_or_else(unknown)?;
    let found = look(service, id, task, worktree).await?;
    if found.in_use {
        let message = "a task that has not ended works there; cancel it first, or wait for its end";
        return Err(Refusal::new(Kind::Conflict, "WORKTREE_IN_USE", message));
    }
    let not_removed = |why: String| {
        Refusal::new(Kind::Conflict, "WORKTREE_NOT_REMOVED", format!("the worktree could not be removed: {why}"))
    };
    let work = found.work.clone().map_err(not_removed)?;
    if work.uncommitted_count > 0 && !discard {
        let message = format!(
            "{} files have changes that are not committed; commit them in {}, or remove them with it: discard=true",
            work.uncommitted_count,
            found.path.display()
        );
        let details = json!({ "uncommitted": work.uncommitted, "uncommittedCount": work.uncommitted_count });
        return Err(Refusal::new(Kind::Conflict, "WORKTREE_HAS_WORK", message).with(details));
    }
    let removed = async {
        let git = found.worktree.git(&service.claude, &service.worktrees)?;
        match discard {
            true => found.worktree.discard(&git).await,
            false => found.worktree.clone().released().clean(&git).await.map(drop),
        }
    };
    removed.await.map_err(|error: GitError| not_removed(chain(&error)))?;
    let branch_gone = discard || work.commits == 0;
    Ok((found, branch_gone))
}

/// The tasks whose worktrees are noted, newest first.
async fn noted(service: &Service) -> Vec<TaskId> {
    let folder = service.worktrees.clone();
    let mut tasks = process::blocking(DISK_LIMIT, move || Worktree::noted(&folder)).await.unwrap_or_default();
    tasks.sort_unstable_by(|one, other| other.cmp(one));
    tasks
}

/// A worktree and its task, where the caller sees it: that of a task that is gone is the operator's.
async fn seen(service: &Service, caller: &Caller, id: TaskId) -> Result<Option<(Option<Task>, Worktree)>, QueueError> {
    let task = service.queue.ask(Find(id)).await?;
    let sees = task.as_ref().map_or(caller.is_admin(), |task| caller.sees(&task.key));
    let worktree = Worktree::open(&service.worktrees.join(id.to_string())).ok().flatten();
    Ok(worktree.filter(|_| sees).map(|worktree| (task, worktree)))
}

async fn look(
    service: &Service,
    id: TaskId,
    task: Option<Task>,
    worktree: Worktree,
) -> Result<FoundWorktree, QueueError> {
    let path = service.worktrees.join(id.to_string());
    let in_use = match &task {
        Some(task) => {
            // Another task may go on there, with the session of this one.
            let folder = task.working_directory.as_deref();
            !task.status.is_terminal() || service.queue.is_folder_in_use(folder).await?
        }
        None => false,
    };
    let folder = path.clone();
    let bytes = process::blocking(DISK_LIMIT, move || process::folder_size(vec![folder])).await.unwrap_or_default();
    let work = async { worktree.work(&worktree.git(&service.claude, &service.worktrees)?).await };
    let work = work.await.map_err(|error| chain(&error));
    Ok(FoundWorktree { id, task, path, in_use, bytes, work, worktree })
}
