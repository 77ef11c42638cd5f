//! The homes of the CLI: its settings, sessions and temporary files, one for each key or each task.
//!
//! *Owns* the folders below `homes` in the data folder. *Promises* that what the CLI reads at its start in such a home is
//! what the template has, whatever an earlier task has left there; and that no link which a task has put there leads us
//! elsewhere: every folder is opened without following any.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, OwnedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{
    AtFlags, CWD, FlockOperation, Mode, OFlags, ResolveFlags, fchown, flock, mkdirat, openat, openat2, unlinkat,
};
use rustix::process::{Gid, Uid};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};

use super::home_files::{CONFIG, FOLDERS, FORGOTTEN, KEPT, OBEYED, OWN, SETTINGS};
use crate::config::{AgentHome, Claude, Environment};
use crate::process::{self, AgentUser};
use domain::TaskId;

/// A file of a home or template that is larger is none of settings.
const MAX_FILE_BYTES: u64 = 4 << 20;
/// Temporary files that nobody has touched for this time are removed.
const TEMPORARY: std::time::Duration = std::time::Duration::from_secs(3 * 24 * 3_600);

/// Where homes are, and how they are made.
#[derive(Clone, Debug)]
pub struct Homes {
    kind: AgentHome,
    root: PathBuf,
    template: Option<PathBuf>,
    user: AgentUser,
    /// The CLI's folder of the user that runs the service.
    shared: Option<PathBuf>,
}

impl Homes {
    /// The homes below this folder.
    #[must_use]
    pub fn new(root: PathBuf, claude: &Claude) -> Self {
        let agent = &claude.agent;
        Self {
            kind: agent.home,
            root,
            template: agent.template.clone(),
            user: agent.user,
            shared: claude.config_dir.clone(),
        }
    }

    /// Folder of all homes of one key. Names that differ have folders that differ.
    fn of_key(&self, key: &str) -> PathBuf {
        let plain: String = key.chars().filter(|c| c.is_ascii_alphanumeric() || "-_".contains(*c)).take(40).collect();
        let digest = hex::encode(&Sha256::digest(key)[..4]);
        self.root.join(format!("{plain}-{digest}"))
    }

    /// Path of the home of a task; `None` where it is the one of the user that runs the service.
    #[must_use]
    pub fn path(&self, key: &str, task: TaskId) -> Option<PathBuf> {
        match self.kind {
            AgentHome::Key => Some(self.of_key(key).join("home")),
            AgentHome::Task => Some(self.of_key(key).join(task.to_string())),
            AgentHome::Shared => None,
        }
    }

    /// The CLI's folders in which a session of this key may stand, the task's own first.
    #[must_use]
    pub fn config_dirs(&self, key: &str, task: Option<TaskId>) -> Vec<PathBuf> {
        let own = task.and_then(|task| self.path(key, task)).map(|home| home.join(CONFIG));
        let others = std::fs::read_dir(self.of_key(key)).into_iter().flatten().flatten();
        let others = others.map(|entry| entry.path().join(CONFIG)).filter(|path| Some(path) != own.as_ref());
        own.iter().cloned().chain(others).chain(self.shared.clone()).collect()
    }

    /// Makes the home of a task ready for a start, and puts back what an earlier task has changed in it. Blocks.
    ///
    /// # Errors
    /// The system's.
    pub fn prepare(&self, key: &str, task: TaskId) -> io::Result<Option<PathBuf>> {
        let Some(path) = self.path(key, task) else { return Ok(None) };
        process::make_private_folder(&path)?;
        let of_key = path.parent().unwrap_or(&self.root);
        process::let_pass(of_key, self.user)?;
        // Attempts of one key begin at any time, in any process of this machine. No task can hold this lock: the folder
        // is not the home's.
        let lock = open_dir(CWD, of_key)?;
        rustix::io::retry_on_intr(|| flock(&lock, FlockOperation::LockExclusive))?;
        let home = Home { top: open_dir(CWD, &path)?, path, template: self.template.as_deref(), user: self.user };
        home.own(&home.top)?;
        for folder in FOLDERS {
            home.folder(Path::new(folder))?;
        }
        for settings in SETTINGS {
            home.put_back(Path::new(settings))?;
        }
        home.put_back_config()?;
        home.put_back_own()?;
        home.copy_rest()?;
        home.clean_temporary();
        drop(lock);
        Ok(Some(home.path))
    }
}

/// Sets the variables by which programs find the home.
pub fn move_in(environment: &mut Environment, home: &Path) {
    let of = |name: &str| home.join(name).display().to_string();
    let original = environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| PathBuf::from(home));
    let ours = [
        ("HOME", home.display().to_string()),
        ("CLAUDE_CONFIG_DIR", of(CONFIG)),
        ("XDG_CONFIG_HOME", of(".config")),
        ("XDG_CACHE_HOME", of(".cache")),
        ("XDG_DATA_HOME", of(".local/share")),
        ("XDG_STATE_HOME", of(".local/state")),
        ("TMPDIR", of("tmp")),
        ("CLAUDE_CODE_TMPDIR", of("tmp")),
        ("GIT_CONFIG_GLOBAL", of(".gitconfig")),
    ];
    environment.retain(|(name, _)| name != "XDG_RUNTIME_DIR" && !ours.iter().any(|(ours, _)| ours == name));
    environment.extend(ours.map(|(name, value)| (name.to_owned(), value)));
    // The toolchains of the user that runs the service are found by its home.
    if let Some(rustup) = original.map(|home| home.join(".rustup")).filter(|rustup| rustup.is_dir()) {
        environment.push(("RUSTUP_HOME".to_owned(), rustup.display().to_string()));
    }
}

/// A home that is open.
struct Home<'a> {
    path: PathBuf,
    top: OwnedFd,
    template: Option<&'a Path>,
    user: AgentUser,
}

impl Home<'_> {
    /// Opens a folder of the home, and makes it where it isn't there; what else stands in its place goes.
    fn folder(&self, below: &Path) -> io::Result<OwnedFd> {
        let mut at = open_dir(&self.top, Path::new("."))?;
        for name in below.components().map(Component::as_os_str) {
            match open_dir(&at, Path::new(name)) {
                Ok(found) => {
                    at = found;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => self.remove(&at, name, below)?,
            }
            // The CLI of another attempt may just have made it.
            match mkdirat(&at, name, Mode::RWXU) {
                Ok(()) | Err(rustix::io::Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
            at = open_dir(&at, Path::new(name))?;
            self.own(&at)?;
        }
        Ok(at)
    }

    /// The folder in which something stands, and its name; `None` where the folder isn't there.
    fn parent<'p>(&self, below: &'p Path) -> io::Result<Option<(OwnedFd, &'p OsStr)>> {
        let Some(name) = below.file_name() else { return Ok(None) };
        let parent = below.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match open_dir(&self.top, parent) {
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
        let there = std::fs::read_dir(in_proc(&folder))?;
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
                std::fs::remove_dir_all(in_proc(&folder).join(&name)).unwrap_or_default();
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

    /// Writes a file in the place of what is there, in one step.
    fn write(&self, folder: &OwnedFd, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
        let fresh = format!(".{}.new", name.to_string_lossy());
        unlinkat(folder, &fresh, AtFlags::empty()).unwrap_or_default();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(folder, &fresh, flags, Mode::RUSR | Mode::WUSR)?;
        self.own(&file)?;
        io::Write::write_all(&mut std::fs::File::from(file), bytes)?;
        Ok(rustix::fs::renameat(folder, &fresh, folder, name)?)
    }

    /// Removes what an earlier task has left there, and says so.
    fn remove(&self, folder: &OwnedFd, name: &OsStr, below: &Path) -> io::Result<()> {
        let removed = match unlinkat(folder, name, AtFlags::empty()) {
            Err(rustix::io::Errno::ISDIR | rustix::io::Errno::PERM) => {
                std::fs::remove_dir_all(in_proc(folder).join(name))
            }
            other => other.map_err(io::Error::from),
        };
        match removed {
            Ok(()) => {
                let file = self.path.join(below);
                tracing::warn!(file = %file.display(), "A task has left settings for the next; put back");
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn own(&self, found: &impl AsFd) -> io::Result<()> {
        let Some((uid, gid)) = self.user else { return Ok(()) };
        Ok(fchown(found, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?)
    }

    /// Removes temporary files that nobody has touched for long. What can't be removed stays.
    fn clean_temporary(&self) {
        let Ok(folder) = self.folder(Path::new("tmp")) else { return };
        for entry in std::fs::read_dir(in_proc(&folder)).into_iter().flatten().flatten() {
            let Ok(found) = entry.metadata() else { continue };
            if found.modified().is_ok_and(|at| at.elapsed().is_ok_and(|age| age > TEMPORARY)) {
                let path = entry.path();
                let removed = if found.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
                removed.unwrap_or_default();
            }
        }
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

/// Path of an open folder, whatever stands at its old path by now.
fn in_proc(folder: &OwnedFd) -> PathBuf {
    PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}

/// Opens a folder without following a link, nor leaving the one that it is named from.
fn open_dir(from: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok(openat2(from, path, flags, Mode::empty(), ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS)?)
}

/// Reads a plain file of a folder.
fn read(folder: &OwnedFd, name: &OsStr) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(openat(folder, name, flags, Mode::empty())?);
    let found = file.metadata()?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MAX_FILE_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// True if a file or folder of a home is what the template has.
fn same(wanted: &Path, folder: &OwnedFd, name: &OsStr) -> bool {
    let Ok(found) = std::fs::symlink_metadata(wanted) else { return false };
    if found.is_file() {
        return std::fs::read(wanted).is_ok_and(|wanted| read(folder, name).is_ok_and(|found| found == wanted));
    }
    let Ok(inside) = open_dir(folder, Path::new(name)) else { return false };
    let names = |path: &Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.filter(|entry| !entry.path().is_symlink()).map(|entry| entry.file_name()).collect();
        names.sort_unstable();
        names
    };
    let all = std::fs::read_dir(in_proc(&inside)).into_iter().flatten().flatten();
    let mut there: Vec<_> = all.map(|entry| entry.file_name()).collect();
    there.sort_unstable();
    names(wanted) == there && there.iter().all(|name| same(&wanted.join(name), &inside, name))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn homes(root: &Path, kind: AgentHome) -> Homes {
        std::fs::create_dir_all(root.join("template/.claude/agents")).expect("a template");
        std::fs::write(root.join("template/.claude/agents/a.md"), "ours").expect("a file");
        std::fs::write(root.join("template/.gitconfig"), "[user]\n").expect("a file");
        let template = Some(root.join("template"));
        Homes { kind, root: root.join("homes"), template, user: None, shared: Some(root.join("shared")) }
    }

    #[test]
    fn what_a_task_leaves_is_put_back_and_what_it_remembers_stays() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path");
        let homes = homes(&root, AgentHome::Key);
        let home = homes.prepare("k", TaskId::new()).expect("made").expect("a home");
        let outside = root.join("outside");
        std::fs::create_dir(&outside).expect("a folder");
        std::fs::write(outside.join("settings.json"), "theirs").expect("a file");
        // All that a task could do to the next one.
        std::fs::write(home.join(".bashrc"), "evil").expect("a file");
        std::fs::write(home.join(".gitconfig"), "evil").expect("a file");
        std::fs::write(home.join(".claude/agents/b.md"), "evil").expect("a file");
        std::fs::create_dir_all(home.join(".claude/skills/x")).expect("a folder");
        std::fs::create_dir_all(home.join(".claude/of-a-newer-version")).expect("a folder");
        std::fs::write(home.join(".claude/.config.json"), "evil").expect("a file");
        symlink(&outside, home.join(".claude/plugins")).expect("a link");
        std::fs::create_dir_all(home.join(".claude/projects/-p")).expect("a folder");
        std::fs::write(home.join(".claude/projects/-p/s.jsonl"), "kept").expect("a file");
        symlink(&outside, home.join(".config/fish")).expect("a link");
        std::fs::remove_dir_all(home.join(".local")).expect("removed");
        symlink(&outside, home.join(".local")).expect("a link");
        let own = r#"{"numStartups":3,"mcpServers":{"x":{"command":"evil"}},"projects":{"/p":{"lastCost":1,"mcpServers":{"y":{}},"allowedTools":[]}}}"#;
        std::fs::write(home.join(CONFIG).join(OWN), own).expect("a file");
        homes.prepare("k", TaskId::new()).expect("made");
        assert!(!home.join(".bashrc").exists() && !home.join(".claude/skills").exists());
        for name in [".config.json", "of-a-newer-version", "plugins"] {
            assert!(home.join(CONFIG).join(name).symlink_metadata().is_err(), "{name}");
        }
        assert!(!home.join(".config/fish").is_symlink() && !home.join(".local").is_symlink());
        assert_eq!(std::fs::read_to_string(home.join(".gitconfig")).expect("a file"), "[user]\n");
        let agents = std::fs::read_dir(home.join(".claude/agents")).expect("a folder").count();
        assert_eq!(agents, 1);
        let own: Value =
            serde_json::from_slice(&std::fs::read(home.join(CONFIG).join(OWN)).expect("a file")).expect("an object");
        assert_eq!(
            own,
            serde_json::json!({ "numStartups": 3, "projects": { "/p": { "lastCost": 1, "allowedTools": [] } } })
        );
        assert_eq!(std::fs::read_to_string(home.join(".claude/projects/-p/s.jsonl")).expect("a file"), "kept");
        assert_eq!(std::fs::read_to_string(outside.join("settings.json")).expect("untouched"), "theirs");
        // The whole folder replaced by a link.
        std::fs::remove_dir_all(home.join(CONFIG)).expect("removed");
        symlink(&outside, home.join(CONFIG)).expect("a link");
        homes.prepare("k", TaskId::new()).expect("made");
        assert!(!home.join(CONFIG).is_symlink());
        assert_eq!(std::fs::read_to_string(outside.join("settings.json")).expect("untouched"), "theirs");
    }

    #[test]
    fn attempts_that_begin_together_take_nothing_from_each_other() {
        let dir = tempfile::tempdir().expect("a folder");
        let root = dir.path().canonicalize().expect("a path");
        let homes = homes(&root, AgentHome::Key);
        for key in 0..20 {
            let key = format!("k{key}");
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(|| homes.prepare(&key, TaskId::new()))).collect();
                for one in all {
                    let home = one.join().expect("no panic").expect("made").expect("a home");
                    assert!(home.join(".local/share").is_dir() && home.join(".claude/agents/a.md").is_file());
                }
            });
        }
    }

    #[test]
    fn keys_and_tasks_have_homes_of_their_own() {
        let dir = tempfile::tempdir().expect("a folder");
        let (a, b) = (TaskId::new(), TaskId::new());
        let by_key = homes(dir.path(), AgentHome::Key);
        assert_eq!(by_key.path("k", a), by_key.path("k", b));
        assert_ne!(by_key.path("k", a), by_key.path("k.", a), "names that look alike");
        let by_task = homes(dir.path(), AgentHome::Task);
        assert_ne!(by_task.path("k", a), by_task.path("k", b));
        by_task.prepare("k", a).expect("made");
        by_task.prepare("other", b).expect("made");
        let dirs = by_task.config_dirs("k", Some(b));
        let wanted = [by_task.path("k", b), by_task.path("k", a)].map(|home| home.expect("a home").join(CONFIG));
        assert_eq!(dirs, [wanted[0].clone(), wanted[1].clone(), dir.path().join("shared")]);
    }
}
