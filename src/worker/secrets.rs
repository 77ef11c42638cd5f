//! The secrets of a task, for as long as an attempt runs: opened, put into its environment and its files, and masked in all
//! that is stored of it.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::set_up::{DISK_LIMIT, NotReady, UNAVAILABLE_DELAY, WorkerContext};
use crate::config::AgentUser;
use crate::process;
use crate::queue::{Find, Queue, ReadSecrets};
use crate::telemetry::{Hidden, chain, hide_also};
use domain::{Failure, FailureClass, Status, TaskId};
use wire::Task;

/// The end of the name of a task's folder of secrets.
const FOLDER: &str = "secrets";

/// Secrets that an attempt has. Dropped, their files go, and they are masked no more.
#[derive(Default)]
pub struct Given {
    /// Variables.
    pub variables: Vec<(String, String)>,
    /// Folder of their files.
    pub folder: Option<PathBuf>,
    hidden: Option<Hidden>,
}

impl Given {
    /// Removes their files. They stay masked.
    pub fn remove_files(&mut self) {
        self.folder.take().iter().for_each(|folder| remove(folder));
    }

    /// Leaves their files to another worker.
    pub fn leave(&mut self) {
        self.folder = None;
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        self.remove_files();
    }
}

fn remove(folder: &Path) {
    match std::fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::error!(folder = %folder.display(), %error, "The files of a task's secrets can't be removed; remove them");
        }
        _ => {}
    }
}

/// Opens the secrets of a task, and writes their files.
pub async fn give(tools: &WorkerContext, queue: &Queue, task: &Task) -> Result<Given, NotReady> {
    let folder = tools.work_dir.join(format!("{}.{FOLDER}", task.id));
    let (mut given, files) = open(tools, queue, task, &folder).await?;
    if !files.is_empty() {
        given.folder = Some(folder.clone());
        let user = tools.claude.agent.user;
        let written = process::blocking(DISK_LIMIT, move || write(&folder, &files, user)).await;
        written.and_then(|written| written).map_err(|error| release(format!("can't write secrets: {error}")))?;
    }
    Ok(given)
}

/// Takes over the secrets of an attempt that runs: its files are there, in this folder.
pub async fn take_up(
    tools: &WorkerContext,
    queue: &Queue,
    task: &Task,
    folder: Option<PathBuf>,
) -> Result<Given, NotReady> {
    let (mut given, _) = open(tools, queue, task, folder.as_deref().unwrap_or(&tools.work_dir)).await?;
    given.folder = folder;
    Ok(given)
}

const fn release(why: String) -> NotReady {
    NotReady::Release(why, UNAVAILABLE_DELAY)
}

/// A file, and what it is to hold.
type SecretFile = (PathBuf, String);

async fn open(
    tools: &WorkerContext,
    queue: &Queue,
    task: &Task,
    folder: &Path,
) -> Result<(Given, Vec<SecretFile>), NotReady> {
    let (mut given, mut files, mut values) = (Given::default(), Vec::new(), Vec::new());
    if task.spec.secrets.is_empty() {
        return Ok((given, files));
    }
    let fail = |why: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "SECRET", why));
    let keys = tools.secrets.as_ref().ok_or_else(|| release("this worker has no SECRETS_KEY_FILE".to_owned()))?;
    let stored = queue.ask(ReadSecrets(Some(task.key.clone()))).await.map_err(|error| release(chain(&error)))?;
    for wanted in &task.spec.secrets {
        let name = &wanted.name;
        let row = stored.iter().find(|row| row.name == *name);
        let row = row.ok_or_else(|| fail(format!("the key {} has no secret {name} any more", task.key)))?;
        let bound = seal::bound_to(&task.key, name);
        let value = keys.open(&bound, &row.sealed).map_err(|error| release(format!("secret {name}: {error}")))?;
        let value = String::from_utf8(value).map_err(|_| fail(format!("secret {name} is no text")))?;
        values.push(value.clone());
        match &wanted.file {
            Some(file) => {
                let path = folder.join(file);
                given.variables.push((wanted.env.clone(), path.display().to_string()));
                files.push((path, value));
            }
            None => given.variables.push((wanted.env.clone(), value)),
        }
    }
    // Before anything of the task can say them.
    given.hidden = Some(hide_also(&values).map_err(|error| fail(format!("the secrets can't be masked: {error}")))?);
    Ok((given, files))
}

fn write(folder: &Path, files: &[(PathBuf, String)], user: AgentUser) -> io::Result<()> {
    // Of an attempt whose worker died.
    remove(folder);
    process::make_private_folder(folder)?;
    for (path, value) in files {
        File::options().write(true).create_new(true).open(path)?.write_all(value.as_bytes())?;
        process::close_to_others(path, false)?;
        process::give(path, user)?;
    }
    process::give(folder, user)
}

/// Removes files of secrets that attempts left whose worker died: of tasks that do not run.
pub async fn clean_up(tools: &WorkerContext, queue: &Queue) {
    let work_dir = tools.work_dir.clone();
    let list = move || {
        let entries = std::fs::read_dir(work_dir).into_iter().flatten().flatten().map(|entry| entry.path());
        let folders = entries.filter(|path| path.extension().is_some_and(|end| end == FOLDER));
        let found =
            |path: PathBuf| Some((str::parse::<TaskId>(path.file_stem()?.to_str()?).ok()?, inode(&path)?, path));
        folders.filter_map(found).collect::<Vec<_>>()
    };
    for (task, seen, folder) in process::blocking(DISK_LIMIT, list).await.unwrap_or_default() {
        match queue.ask(Find(task)).await {
            Ok(Some(task)) if task.status == Status::Running => {}
            Ok(_) => {
                // Another one stands there where the task was claimed meanwhile.
                let remove = move || (inode(&folder) == Some(seen)).then(|| remove(&folder));
                if let Err(error) = process::blocking(DISK_LIMIT, remove).await {
                    tracing::debug!(%error, "files of secrets stay for now");
                }
            }
            Err(_) => return,
        }
    }
}

fn inode(folder: &Path) -> Option<u64> {
    std::fs::symlink_metadata(folder).ok().map(|found| found.ino())
}
