//! The files in which the CLI writes its sessions down: `projects/<folder>/<session>.jsonl` below its
//! configuration, a JSON object a line. Only the CLI writes them; we look where they are.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, fchown, fstat, openat};
use rustix::process::{Gid, Uid};
use serde_json::Value;

use crate::process;
use domain::SessionId;

/// Length that is read of a file, in bytes. The first message stands near its beginning.
const LOOK_BYTES: u64 = 8 << 20;

/// A session that was begun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    directory: Option<PathBuf>,
}

impl Transcript {
    /// Folder in which the conversation is held and can go on: nowhere else does the CLI find it.
    #[must_use]
    pub const fn directory(&self) -> Option<&PathBuf> {
        self.directory.as_ref()
    }

    /// True if there is anything to go on with. A file of preliminaries alone (the CLI was killed
    /// early) is to the CLI no conversation, and yet its id is in use.
    #[must_use]
    pub const fn has_messages(&self) -> bool {
        self.directory.is_some()
    }
}

/// A file of a session.
struct Found {
    /// The CLI's folder that it stands in.
    config: PathBuf,
    /// Name of its folder below `projects`.
    project: PathBuf,
    file: File,
}

/// Finds the file of this session in the first of the CLI's folders that has one. No link is followed: a task may have
/// put one there. Blocks.
fn find(configs: &[PathBuf], session: SessionId) -> Option<Found> {
    let name = format!("{session}.jsonl");
    configs.iter().find_map(|config| {
        let opened = open_config(config).ok()?;
        let projects = process::open_folder(&opened, Path::new("projects")).ok()?;
        let entries = std::fs::read_dir(process::path_of(&projects)).ok()?;
        entries.flatten().find_map(|entry| {
            let project = PathBuf::from(entry.file_name());
            let file = process::open_file(&projects, &project.join(&name)).ok()?;
            Some(Found { config: config.clone(), project, file })
        })
    })
}

/// Opens one of the CLI's folders: the operator may have put a link in its place, and whoever works in it may have put
/// some in it.
fn open_config(config: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, config, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Copies a session to where the CLI looks for it from this folder: its own folder below `projects` has the name of
/// the working directory with `-` for whatever is no letter or digit. Blocks. What is there already stays.
///
/// # Errors
/// There is no such session, or the file can't be copied.
pub fn move_transcript(configs: &[PathBuf], session: SessionId, directory: &Path) -> io::Result<()> {
    copy(configs, session, Some(&project_of(directory)))
}

/// Copies a session to the first of the CLI's folders, where it stands in another one. Blocks.
///
/// # Errors
/// There is no such session, or the file can't be copied.
pub fn bring_home(configs: &[PathBuf], session: SessionId) -> io::Result<()> {
    copy(configs, session, None)
}

/// Writes a session where the CLI looks for it from this folder, unless there is a longer one. Blocks. Returns true if it
/// was written.
///
/// # Errors
/// The file can't be written.
pub fn restore(configs: &[PathBuf], session: SessionId, directory: &Path, lines: &str) -> io::Result<bool> {
    let known = find(configs, session).map_or(0, |found| BufReader::new(found.file).lines().count());
    if known >= lines.lines().count() {
        return Ok(false);
    }
    let own = configs.first().ok_or(io::ErrorKind::NotFound)?;
    write(own, &project_of(directory), session, true, &mut lines.as_bytes())?;
    Ok(true)
}

/// The CLI's own folder below `projects` has the name of the working directory, with `-` for whatever is no letter or digit.
fn project_of(directory: &Path) -> PathBuf {
    directory
        .to_string_lossy()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect::<String>()
        .into()
}

fn copy(configs: &[PathBuf], session: SessionId, project: Option<&Path>) -> io::Result<()> {
    let mut found = find(configs, session).ok_or(io::ErrorKind::NotFound)?;
    let own = configs.first().ok_or(io::ErrorKind::NotFound)?;
    let project = project.unwrap_or(&found.project);
    if found.config == *own && *project == *found.project {
        return Ok(());
    }
    write(own, project, session, false, &mut found.file)
}

/// Writes a file of a session in one of the CLI's folders. Where one is there, it stays unless it is to be replaced.
fn write(config: &Path, project: &Path, session: SessionId, replaces: bool, from: &mut dyn Read) -> io::Result<()> {
    // The CLI may run as another user, whose folder this is.
    let opened = open_config(config)?;
    let owner = fstat(&opened)?;
    let give =
        |fresh: &OwnedFd| Ok(fchown(fresh, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))?);
    let folder = process::make_folders(&opened, &Path::new("projects").join(project), Mode::RWXU, give)?;
    let name = format!("{session}.jsonl");
    if !replaces && process::open_exactly(&folder, Path::new(&name), OFlags::PATH).is_ok() {
        return Ok(());
    }
    process::replace(&folder, OsStr::new(&name), from, give)
}

/// Reads the transcript of this session. `None` where there is no file in these folders of the CLI. Blocks.
#[must_use]
pub fn transcript(configs: &[PathBuf], session: SessionId) -> Option<Transcript> {
    let file = find(configs, session)?.file;
    let lines = BufReader::new(file.take(LOOK_BYTES)).lines().map_while(Result::ok);
    let message = lines
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .find(|line| line["type"] == "user" || line["type"] == "assistant");
    Some(Transcript { directory: message.and_then(|line| line["cwd"].as_str().map(PathBuf::from)) })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const LINE: &str = "{\"type\":\"user\",\"cwd\":\"/there\"}\n";

    #[test]
    fn a_session_is_found_and_brought_home_and_a_link_is_none() {
        let dir = tempfile::tempdir().expect("a folder");
        let [own, other] = ["own", "other"].map(|name| dir.path().join(name));
        let session = SessionId::new();
        std::fs::create_dir_all(other.join("projects/-there")).expect("folders");
        std::fs::create_dir_all(&own).expect("a folder");
        let configs = [own.clone(), other.clone()];
        assert!(transcript(&configs, session).is_none());
        std::fs::write(other.join(format!("projects/-there/{session}.jsonl")), LINE).expect("a file");
        let found = transcript(&configs, session).expect("found");
        assert_eq!(found.directory(), Some(&PathBuf::from("/there")));
        bring_home(&configs, session).expect("copied");
        assert!(own.join(format!("projects/-there/{session}.jsonl")).is_file());
        move_transcript(&configs, session, Path::new("/new/place")).expect("copied");
        assert!(own.join(format!("projects/-new-place/{session}.jsonl")).is_file());
        // A task that has the service read a file of its own for it.
        let (planted, secret) = (SessionId::new(), dir.path().join("secret"));
        std::fs::write(&secret, LINE).expect("a file");
        symlink(&secret, own.join(format!("projects/-there/{planted}.jsonl"))).expect("a link");
        assert!(transcript(&configs, planted).is_none() && bring_home(&configs, planted).is_err());
        // Or write elsewhere.
        let elsewhere = dir.path().join("elsewhere");
        std::fs::create_dir(&elsewhere).expect("a folder");
        std::fs::rename(own.join("projects"), own.join("before")).expect("renamed");
        symlink(&elsewhere, own.join("projects")).expect("a link");
        assert!(bring_home(&configs, session).is_err());
        assert_eq!(std::fs::read_dir(&elsewhere).expect("a folder").count(), 0);
    }
}
