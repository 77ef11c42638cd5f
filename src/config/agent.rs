//! The settings of the walls round the CLI: its home, its user, what it may read and write, and how much.

use std::path::PathBuf;

use super::source::Source;

/// Whether a task's processes are confined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sandbox {
    /// As far as the kernel can.
    Auto,
    /// With Landlock, or not at all.
    Required,
    /// Not.
    Off,
}

/// Who shares a home of the CLI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AgentHome {
    /// The tasks of one key.
    Key,
    /// The attempts of one task.
    Task,
    /// All, and the user that runs the service: its own home.
    Shared,
}

/// A user, as uid and gid; `None` where the CLI stays the service's own.
pub type AgentUser = Option<(u32, u32)>;

/// The walls round the CLI.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Whether they are built.
    pub sandbox: Sandbox,
    /// Who shares a home.
    pub home: AgentHome,
    /// Folder that a new home is copied from.
    pub template: Option<PathBuf>,
    /// User that the CLI becomes.
    pub user: AgentUser,
    /// Further paths that tasks may read.
    pub read: Vec<PathBuf>,
    /// Further paths that tasks may read and write.
    pub write: Vec<PathBuf>,
    /// True if the CLI gets a token of its attempt instead of the account's key.
    pub proxy: bool,
    /// Maximum memory of a task's processes together, in bytes.
    pub memory_bytes: Option<u64>,
    /// Maximum number of a task's processes.
    pub processes: Option<u64>,
    /// Maximum size of a file, in bytes.
    pub file_bytes: Option<u64>,
    /// Maximum number of bytes that the CLI prints in an attempt.
    pub output_bytes: Option<u64>,
    /// Maximum number of bytes in the folders that a task writes to.
    pub disk_bytes: Option<u64>,
    /// Bytes of all worktrees from which on no further one is made.
    pub worktree_bytes: Option<u64>,
}

impl Agent {
    pub(super) fn read(from: &mut Source) -> Self {
        let mut limit = |name| Some(from.number::<u64>(name, 0, u64::MAX)).filter(|most| *most > 0);
        let (memory_bytes, processes) = (limit("TASK_MEMORY_BYTES"), limit("TASK_PROCESSES"));
        let (file_bytes, output_bytes) = (limit("TASK_FILE_BYTES"), limit("TASK_OUTPUT_BYTES"));
        let (disk_bytes, worktree_bytes) = (limit("TASK_DISK_BYTES"), limit("WORKTREE_DISK_BYTES"));
        let user = user(from);
        let homes = [("key", AgentHome::Key), ("task", AgentHome::Task), ("shared", AgentHome::Shared)];
        let sandbox = [("auto", Sandbox::Auto), ("required", Sandbox::Required), ("off", Sandbox::Off)];
        let sandbox = from.choice("SANDBOX", &sandbox);
        if sandbox == Sandbox::Off && user.is_some() {
            from.fault("AGENT_USER", "needs the sandbox: with SANDBOX=off the CLI stays the service's user");
        }
        Self {
            sandbox,
            home: from.choice("AGENT_HOME", &homes),
            template: template(from),
            user,
            read: absolute(from, "AGENT_READ"),
            write: absolute(from, "AGENT_WRITE"),
            proxy: from.choice("CREDENTIAL_PROXY", &[("on", true), ("off", false)]),
            memory_bytes,
            processes,
            file_bytes,
            output_bytes,
            disk_bytes,
            worktree_bytes,
        }
    }
}

fn template(from: &mut Source) -> Option<PathBuf> {
    let path = PathBuf::from(from.text("AGENT_HOME_TEMPLATE")?);
    match std::fs::canonicalize(&path) {
        Ok(found) if found.is_dir() => Some(found),
        Ok(_) => {
            from.fault("AGENT_HOME_TEMPLATE", &format!("is no folder: {}", path.display()));
            None
        }
        Err(error) => {
            from.fault("AGENT_HOME_TEMPLATE", &format!("{}: {error}", path.display()));
            None
        }
    }
}

fn absolute(from: &mut Source, name: &'static str) -> Vec<PathBuf> {
    let paths: Vec<PathBuf> = from.list(name, ':').into_iter().map(PathBuf::from).collect();
    if let Some(relative) = paths.iter().find(|path| !path.is_absolute()) {
        from.fault(name, &format!("must be absolute paths, separated by colons, got \"{}\"", relative.display()));
    }
    paths
}

/// The user by name or number, as `/etc/passwd` has it.
fn user(from: &mut Source) -> AgentUser {
    let named = from.text("AGENT_USER")?;
    let table = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let found = table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, uid, gid, ..] = fields[..] else { return None };
        (name == named || uid == named).then(|| Some((uid.parse().ok()?, gid.parse().ok()?)))?
    });
    if found.is_none() {
        from.fault("AGENT_USER", &format!("there is no user {named}"));
    } else if !rustix::process::geteuid().is_root() {
        from.fault("AGENT_USER", "can be set only where the service runs as root");
    }
    found
}
