//! The homes of the CLI: its settings, sessions and temporary files, one for each key or each task.
//!
//! *Owns* the folders below `homes` in the data folder. *Promises* that what the CLI reads at its start in such a home is
//! what the template has, whatever an earlier task has left there; and that no link which a task has put there leads us
//! elsewhere: every folder is opened without following any.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::CWD;
use sha2::{Digest as _, Sha256};

use super::home::Home;
use super::home_files::CONFIG;
use crate::config::{AgentHome, AgentUser, Claude, Environment};
use crate::process::{self, LockWait};
use domain::TaskId;

/// Longest wait until another attempt of the key has its home ready. Beside what the disk takes it fits into the limit of
/// a set-up.
const LOCK_LIMIT: Duration = Duration::from_secs(10);

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
    pub fn prepare(&self, key: &str, task: TaskId) -> std::io::Result<Option<PathBuf>> {
        let Some(path) = self.path(key, task) else { return Ok(None) };
        process::make_private_folder(&path)?;
        let of_key = path.parent().unwrap_or(&self.root);
        process::let_pass(of_key, self.user)?;
        // Attempts of one key begin at any time, in any process of this machine. No task can hold this lock: the folder
        // is not the home's.
        let lock = LockWait::new(process::open_folder(CWD, of_key)?, LOCK_LIMIT).wait()?;
        process::barrier("home-locked");
        Home::open(path.clone(), self.template.as_deref(), self.user)?.prepare()?;
        drop(lock);
        Ok(Some(path))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use serde_json::Value;

    use super::super::home_files::OWN;
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
