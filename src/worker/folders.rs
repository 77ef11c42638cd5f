//! The folders of an attempt, as they really are when it starts: what was checked at the submit may have been replaced
//! by a link since.

use std::io;
use std::path::{Path, PathBuf};

use super::set_up::{DISK_LIMIT, NotReady, UNAVAILABLE_DELAY, WorkerContext, no_answer};
use super::worktree;
use crate::process;
use crate::queue::Queue;
use domain::{Failure, FailureClass, TaskId};
use wire::Task;

/// The folder of the task, as it really is now, and the one that it stands for: the one that was
/// checked at the submit may have been replaced by a link since.
pub async fn directory(tools: &WorkerContext, queue: &Queue, task: &Task) -> Result<(PathBuf, PathBuf), NotReady> {
    if let Some(remote) = &task.spec.context.repository {
        let made = worktree::prepare_remote(tools, task, remote).await?;
        return Ok((made.clone(), made));
    }
    let gone = |message: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKING_DIRECTORY", message));
    let worktree = task.spec.worktree();
    let named = match (&worktree, &task.spec.context.working_directory) {
        (Some(_), Some(repository)) => Path::new(repository),
        _ => Path::new(task.working_directory.as_deref().unwrap_or("/")),
    };
    let here = own_folder_here(tools, named);
    let named = here.as_deref().unwrap_or(named);
    if named.starts_with(&tools.work_dir) {
        let made = named.to_owned();
        let user = tools.claude.agent.user;
        let make = move || {
            process::make_private_folder(&made)?;
            process::give(&made, user)
        };
        let made = process::blocking(DISK_LIMIT, make).await;
        made.and_then(|made| made).map_err(|error| {
            NotReady::Release(format!("can't make {}: {error}", named.display()), UNAVAILABLE_DELAY)
        })?;
        return Ok((named.to_owned(), named.to_owned()));
    }
    let found = process::resolve(named.to_owned()).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => no_answer(&error),
        _ => gone(format!("the working directory {} can't be used: {error}", named.display())),
    })?;
    let found = found.path;
    if worktree.is_none() && found != named {
        return Err(gone(format!(
            "the working directory {} leads elsewhere by now: {}",
            named.display(),
            found.display()
        )));
    }
    // The worktree of an earlier task, where its session goes on.
    if !is_below(&found, &tools.claude.workspace_roots) && !found.starts_with(&tools.worktrees) {
        return Err(gone(format!("the working directory {} is outside WORKSPACE_ROOTS", found.display())));
    }
    match worktree {
        Some(options) => Ok((worktree::prepare(tools, queue, task, &options, &found).await?, found)),
        None => Ok((found.clone(), found)),
    }
}

/// The folder of this machine in place of another one's: where a task has a folder or a worktree to itself, its path begins
/// with the data folder of the machine that has taken it.
fn own_folder_here(tools: &WorkerContext, named: &Path) -> Option<PathBuf> {
    let (parent, name) = (named.parent()?, named.file_name()?);
    let here = [&tools.work_dir, &tools.worktrees].into_iter().find(|here| here.file_name() == parent.file_name())?;
    let is_own = name.to_str()?.parse::<TaskId>().is_ok();
    let is_elsewhere = parent != here && !is_below(named, &tools.claude.workspace_roots);
    (is_own && is_elsewhere).then(|| here.join(name))
}

/// The further folders of a task, which are what they were when they were checked.
pub async fn further_folders(tools: &WorkerContext, task: &Task) -> Result<Vec<String>, NotReady> {
    let mut folders = Vec::new();
    for named in &task.spec.options.sdk.add_dirs {
        let gone = |why: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKING_DIRECTORY", why));
        let found = process::resolve(named.into()).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => no_answer(&error),
            _ => gone(format!("the folder {named} can't be used: {error}")),
        })?;
        if found.path != Path::new(named) || !found.is_dir || !is_below(&found.path, &tools.claude.workspace_roots) {
            return Err(gone(format!("the folder {named} leads elsewhere by now: {}", found.path.display())));
        }
        folders.push(named.clone());
    }
    Ok(folders)
}

/// True if the path is one of these folders, or below one.
pub fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
}
