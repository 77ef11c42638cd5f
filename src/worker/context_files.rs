//! The files that come with an instruction: written where they came with the request, looked at again
//! where they were there.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::set_up::{NotReady, WorkerContext};
use crate::config::AgentUser;
use crate::process;
use domain::{Failure, FailureClass, TaskId};
use wire::{ContextFile, Task, Upload, can_be_named};

/// A disk that is full may have room again.
const DISK_DELAY: Duration = Duration::from_secs(10);

/// The files of a task, as the CLI is told of them, and the folder of those that came with the request.
pub struct Files {
    /// Absolute paths.
    pub named: Vec<String>,
    /// Folder that the model may read as well.
    pub folder: Option<PathBuf>,
}

/// Returns the folder of the request's files.
fn folder_of(tools: &WorkerContext, task: TaskId) -> PathBuf {
    tools.work_dir.join(format!("{task}.files"))
}

/// Makes them ready for an attempt that works in `directory`.
pub fn prepare(tools: &WorkerContext, task: &Task, directory: &Path) -> Result<Files, NotReady> {
    let mut files = Files { named: Vec::new(), folder: None };
    for file in &task.spec.context.files {
        match file {
            ContextFile::Path(named) => files.named.push(resolve_named(tools, named, directory)?),
            ContextFile::Upload(upload) => {
                let folder = folder_of(tools, task.id);
                let written = write(&folder, upload, tools.claude.agent.user)
                    .map_err(|error| NotReady::Release(format!("can't write {}: {error}", upload.name), DISK_DELAY))?;
                files.named.push(written.display().to_string());
                files.folder = Some(folder);
            }
        }
    }
    Ok(files)
}

/// The file as it really is now: the one that was checked at the submit may have been replaced by a
/// link since.
fn resolve_named(tools: &WorkerContext, named: &str, directory: &Path) -> Result<String, NotReady> {
    let fail = |message: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "CONTEXT_FILE", message));
    let found = directory.join(named).canonicalize();
    let found = found.map_err(|error| fail(format!("context.files: {named} can't be read: {error}")))?;
    let in_a_root = tools.claude.workspace_roots.iter().any(|root| found.starts_with(root));
    // The data folder may lie in a root, with the key and the database in it.
    let is_ours = tools.work_dir.parent().is_some_and(|data| found.starts_with(data));
    // Outside the working folder only what was found so at the submit, when the key's own folders were looked at.
    let inside = found.starts_with(directory) || (in_a_root && !is_ours && found == Path::new(named));
    match found.to_str().filter(|found| can_be_named(found)) {
        Some(found) if inside => Ok(found.to_owned()),
        _ => Err(fail(format!("context.files: {named} is outside the folders that tasks may use"))),
    }
}

fn write(folder: &Path, upload: &Upload, user: AgentUser) -> io::Result<PathBuf> {
    process::make_private_folder(folder)?;
    let path = folder.join(&upload.name);
    std::fs::write(&path, upload.bytes().ok_or(io::ErrorKind::InvalidData)?)?;
    process::give(&path, user)?;
    process::give(folder, user)?;
    Ok(path)
}
