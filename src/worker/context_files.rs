//! The files that come with an instruction: written where they came with the request or were sent before, looked at again
//! where they were there.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::set_up::{DISK_LIMIT, NotReady, WorkerContext};
use crate::config::AgentUser;
use crate::process;
use crate::queue::{FileRow, Queue, ReadTaskFiles};
use crate::store::blobs::id_of;
use crate::telemetry::chain;
use domain::{Failure, FailureClass, FileId, TaskId};
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
            ContextFile::Sent(sent) => {
                let folder = folder_of(tools, task.id);
                files.named.push(folder.join(sent.name()).display().to_string());
                files.folder = Some(folder);
            }
        }
    }
    Ok(files)
}

/// Writes those that were sent before.
pub async fn fetch(tools: &WorkerContext, queue: &Queue, task: &Task) -> Result<(), NotReady> {
    let sent = task.spec.context.files.iter().filter_map(|file| match file {
        ContextFile::Sent(sent) => Some(sent),
        ContextFile::Path(_) | ContextFile::Upload(_) => None,
    });
    let mut known = None;
    for sent in sent {
        let unread =
            |error: String| NotReady::Release(format!("can't read file {}: {error}", sent.file_id), DISK_DELAY);
        let known = match &mut known {
            Some(known) => known,
            none => none.insert(queue.ask(ReadTaskFiles(task.id)).await.map_err(|error| unread(chain(&error)))?),
        };
        let gone = || {
            let message = format!("context.files: file {} is not there any more", sent.file_id);
            NotReady::Fail(Failure::new(FailureClass::Invalid, "CONTEXT_FILE", message))
        };
        let row = known.iter().find(|row| row.id == sent.file_id).ok_or_else(gone)?;
        let path = folder_of(tools, task.id).join(sent.name());
        if fetch_one(tools, row, &path).await.map_err(|error| unread(chain(&*error)))? != sent.file_id {
            let message = format!("context.files: the content of file {} is damaged; send it again", sent.file_id);
            return Err(NotReady::Fail(Failure::new(FailureClass::Invalid, "CONTEXT_FILE", message)));
        }
    }
    Ok(())
}

/// Writes a file that was sent. Returns the digest of what was written.
async fn fetch_one(tools: &WorkerContext, row: &FileRow, path: &Path) -> Result<FileId, Box<dyn Error + Send + Sync>> {
    let (at, user) = (path.to_owned(), tools.claude.agent.user);
    let file = process::blocking(DISK_LIMIT, move || fresh(&at, user)).await??;
    let (mut at, mut digest) = (0, Sha256::new());
    loop {
        let piece = tools.blobs.read(row.blob, at).await?;
        if piece.is_empty() {
            break;
        }
        at += piece.len() as u64;
        digest.update(&piece);
        let mut file = file.try_clone()?;
        let write = move || {
            fail::fail_point!("file-fetch");
            file.write_all(&piece)
        };
        process::blocking(DISK_LIMIT, write).await??;
    }
    Ok(id_of(digest))
}

/// Makes a file anew in a folder of ours that the task's processes may read.
fn fresh(path: &Path, user: AgentUser) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        process::make_private_folder(folder)?;
        process::give(folder, user)?;
    }
    // What an attempt before has made of it is not written through.
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = File::options().write(true).create_new(true).open(path)?;
    process::give(path, user)?;
    Ok(file)
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
    let path = folder.join(&upload.name);
    fresh(&path, user)?.write_all(&upload.bytes().ok_or(io::ErrorKind::InvalidData)?)?;
    Ok(path)
}
