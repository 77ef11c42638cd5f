//! One home of the CLI: made, and put back to what its template has. Everything in it is a task's to change, at any time;
//! so every path is walked by descriptors, and no link is followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags, fchown, openat, unlinkat};
use rustix::io::Errno;
use rustix::process::{Gid, Uid};
use serde_json::{Map, Value};

use super::home_files::{CONFIG, FOLDERS, FORGOTTEN, KEPT, OBEYED, OWN, SETTINGS};
use crate::config::AgentUser;
use crate::process;

/// A file of a home or template that is larger is none of settings.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Temporary files that nobody has touched for this time are removed.
const TEMPORARY: std::time::Duration = std::time::Duration::from_secs(3 * 24 * 3_600);

/// A home that is open.
pub struct Home<'a> {
    path: PathBuf,
    top: OwnedFd,
    template: Option<&'a Path>,
    user: AgentUser,
}

impl<'a> Home<'a> {
    /// Opens the home at this path.
    ///
    /// # Errors
    /// The system's; there is a link on the way.
    pub fn open(path: PathBuf, template: Option<&'a Path>, user: AgentUser) -> io::Result<Self> {
        Ok(Self { top: process::open_folder(CWD, &path)?, path, template, user })
    }

    /// Makes it ready for a start, and puts back what an earlier task has changed in it.
    ///
    /// # Errors
    /// The system's.
    pub fn prepare(&self) -> io::Result<()> {
        self.own(&self.top)?;
        for folder in FOLDERS {
            self.folder(Path::new(folder))?;
        }
        for settings in SETTINGS {
            self.put_back(Path::new(settings))?;
        }
        self.put_back_config()?;
        self.put_back_own()?;
        self.copy_rest()?;
        self.clean_temporary();
        Ok(())
    }

    /// Opens a folder of the home, and makes it where it isn't there; what else stands in its place goes.
    fn folder(&self, below: &Path) -> io::Result<OwnedFd> {
        let mut at = process::open_folder(&self.top, Path::new("."))?;
        for name in below.components().map(Component::as_os_str) {
            match process::open_folder(&at, Path::new(name)) {
                Ok(found) => {
                    at = found;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.remove(&at, name, below)?,
            }
            at = process::make_folders(&at, Path::new(name), Mode::RWXU, |fresh| self.own(fresh))?;
        }
        Ok(at)
    }

    /// The folder in which something stands, and its name; `None` where the folder isn't there.
    fn parent<'p>(&self, below: &'p Path) -> io::Result<Option<(OwnedFd, &'p OsStr)>> {
        let Some(name) = below.file_name() else { return Ok(None) };
        let parent = below.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match process::open_folder(&self.top, parent) {
            Ok(found) => Ok(Some((found, name))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            // A link or a file in the place of a folder.
            Err(_) => {
                let outer = self.parent(parent)?;
                if let Some((folder, name)) = outer {
                    self.remove(&folder, name, parent)?;
                }
                Ok(None)
            }
        }
    }

    /// Lets a file or folder of settings be what the template has.
    fn put_back(&self, below: &Path) -> io::Result<()> {
        let wanted = self.template.map(|template| template.join(below)).filter(|path| path.exists());
        let found = self.parent(below)?;
        let Some(wanted) = wanted else {
            let Some((folder, name)) = found else { return Ok(()) };
            return self.remove(&folder, name, below);
        };
        if let Some((folder, name)) = found {
            if same(&wanted, &folder, name) {
                return Ok(());
            }
            self.remove(&folder, name, below)?;
        }
        self.copy(&wanted, below)
    }

    /// Lets the CLI's folder have what the template has, and what stays.
    fn put_back_config(&self) -> io::Result<()> {
        let folder = self.folder(Path::new(CONFIG))?;
        let there = std::fs::read_dir(process::path_of(&folder))?;
        let wanted = self.template.map(|template| std::fs::read_dir(template.join(CONFIG)));
        let names = there.chain(wanted.and_then(Result::ok).into_iter().flatten()).flatten();
        let mut names: Vec<_> = names.map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        names.dedup();
        for name in names {
            let text = name.to_string_lossy();
            // Beside its own file stand locks and copies of it.
            if KEPT.contains(&&*text) || text.starts_with(OWN) {
                continue;
            }
            if FORGOTTEN.contains(&&*text) {
                // What another CLI of this home writes meanwhile goes at a later start.
                remove(&folder, &name).unwrap_or_default();
            } else {
                self.put_back(&Path::new(CONFIG).join(&name))?;
            }
        }
        Ok(())
    }

    /// The CLI's own file: what it obeys in it is as the template has it; what it only remembers stays.
    fn put_back_own(&self) -> io::Result<()> {
        // In a template it may stand where a person has it as well.
        let files = [Path::new(CONFIG).join(OWN), PathBuf::from(OWN)];
        let template =
            self.template.and_then(|template| files.iter().find_map(|file| std::fs::read(template.join(file)).ok()));
        let folder = self.folder(Path::new(CONFIG))?;
        let below = &files[0];
        let template: Map<String, Value> =
            template.and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
        let before = match read(&folder, OsStr::new(OWN)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            // A link, a folder, or too large.
            Err(_) => {
                self.remove(&folder, OsStr::new(OWN), below)?;
                Vec::new()
            }
        };
        let parsed = serde_json::from_slice::<Map<String, Value>>(&before).ok();
        let (mut own, mut changed) = match parsed {
            Some(own) => (own, false),
            None => (template.clone(), !before.is_empty()),
        };
        for name in OBEYED {
            if own.get(*name) != template.get(*name) {
                changed = true;
                own.shift_remove(*name);
                own.extend(template.get(*name).map(|value| ((*name).to_owned(), value.clone())));
            }
        }
        let folders = own.get_mut("projects").and_then(Value::as_object_mut);
        for folder in folders.into_iter().flat_map(Map::values_mut).filter_map(Value::as_object_mut) {
            changed |= forget_obeyed(folder);
        }
        if changed {
            tracing::warn!(file = %self.path.join(below).display(), "A task has changed settings of the next; put back");
        }
        if changed || (before.is_empty() && !own.is_empty()) {
            self.write(&folder, OsStr::new(OWN), serde_json::to_string(&own)?.as_bytes())?;
        }
        Ok(())
    }

    /// What else the template has, where it is missing.
    fn copy_rest(&self) -> io::Result<()> {
        let Some(template) = self.template else { return Ok(()) };
        for entry in std::fs::read_dir(template)?.flatten() {
            let name = PathBuf::from(entry.file_name());
            if name.as_os_str() != OWN && !self.path.join(&name).exists() {
                self.copy(&entry.path(), &name)?;
            }
        }
        Ok(())
    }

    /// Copies a file or folder of the template. Links are left out.
    fn copy(&self, from: &Path, below: &Path) -> io::Result<()> {
        let found = std::fs::symlink_metadata(from)?;
        if found.is_dir() {
            self.folder(below)?;
            for entry in std::fs::read_dir(from)?.flatten() {
                self.copy(&entry.path(), &below.join(entry.file_name()))?;
            }
        } else if found.is_file()
            && let Some(name) = below.file_name()
        {
            let folder = self.folder(below.parent().unwrap_or(Path::new("")))?;
            self.write(&folder, name, &std::fs::read(from)?)?;
            let file = openat(&folder, name, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
            rustix::fs::fchmod(&file, Mode::from_raw_mode(found.permissions().mode() & 0o700))?;
        }
        Ok(())
    }

    /// Writes a file in the place of what is there.
    fn write(&self, folder: &OwnedFd, name: &OsStr, mut bytes: &[u8]) -> io::Result<()> {
        process::replace(folder, name, &mut bytes, |fresh| self.own(fresh))
    }

    /// Removes what an earlier task has left there, and says so.
    fn remove(&self, folder: &OwnedFd, name: &OsStr, below: &Path) -> io::Result<()> {
        if remove(folder, name)? {
            let file = self.path.join(below);
            tracing::warn!(file = %file.display(), "A task has left settings for the next; put back");
        }
        Ok(())
    }

    /// Gives it to the user that the CLI becomes.
    fn own(&self, found: &impl AsFd) -> io::Result<()> {
        let Some((uid, gid)) = self.user else { return Ok(()) };
        Ok(fchown(found, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    /// Removes temporary files that nobody has touched for long. What can't be removed stays.
    fn clean_temporary(&self) {
        let Ok(folder) = self.folder(Path::new("tmp")) else { return };
        for entry in std::fs::read_dir(process::path_of(&folder)).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TEMPORARY)) {
                let path = entry.path();
                let removed = if found.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
                removed.unwrap_or_default();
            }
        }
    }
}

/// Removes a file, a link or a folder with all that is in it. Returns whether there was one.
fn remove(folder: &OwnedFd, name: &OsStr) -> io::Result<bool> {
    let removed = match unlinkat(folder, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => std::fs::remove_dir_all(process::path_of(folder).join(name)),
        other => other.map_err(io::Error::from),
    };
    match removed {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes what the CLI obeys from what it remembers of a folder. Returns whether anything of it said something.
fn forget_obeyed(folder: &mut Map<String, Value>) -> bool {
    let mut changed = false;
    for name in OBEYED {
        let says_nothing = |value: &Value| match value {
            Value::Null | Value::Bool(false) => true,
            Value::Array(all) => all.is_empty(),
            Value::Object(all) => all.is_empty(),
            _ => false,
        };
        if folder.get(*name).is_some_and(|value| !says_nothing(value)) {
            folder.shift_remove(*name);
            changed = true;
        }
    }
    changed
}

/// Reads a file of settings.
fn read(folder: &OwnedFd, name: &OsStr) -> io::Result<Vec<u8>> {
    let bytes = process::read(folder, Path::new(name), MAX_FILE_BYTES + 1)?;
    if bytes.len() as u64 > MAX_FILE_BYTES { Err(io::ErrorKind::InvalidData.into()) } else { Ok(bytes) }
}

/// True if a file or folder of a home is what the template has.
fn same(wanted: &Path, folder: &OwnedFd, name: &OsStr) -> bool {
    let Ok(found) = std::fs::symlink_metadata(wanted) else { return false };
    if found.is_file() {
        return std::fs::read(wanted).is_ok_and(|wanted| read(folder, name).is_ok_and(|found| found == wanted));
    }
    let Ok(inside) = process::open_folder(folder, Path::new(name)) else { return false };
    let names = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.filter(|entry| !entry.path().is_symlink()).map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        names
    };
    let all = std::fs::read_dir(process::path_of(&inside)).into_iter().flatten().flatten();
    let mut there: Vec<_> = all.map(|entry| entry.file_name()).collect();
    there.sort_unstable();
    names(wanted) == there && there.iter().all(|name| same(&wanted.join(name), &inside, name))
}
