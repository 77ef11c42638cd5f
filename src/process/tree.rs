//! The whole process tree of an attempt, as its shim sees it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::process::WaitOptions;

use super::sweep::{kill_until_none, living, pause};
use super::{EnvMarks, Isolation, stat};

/// Beginning of the name of a shim's cgroup; its pid follows.
const GROUP: &str = "cc-anywhere-";

/// Size of a tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TreeSize {
    /// Number of processes, without the shim.
    pub processes: u64,
    /// Resident memory of all of them, in bytes; what several share counts for each.
    pub memory_bytes: u64,
}

/// Process tree that a shim must end: the CLI and its descendants.
pub struct Tree {
    isolation: Isolation,
    marks: EnvMarks,
    cgroup: Option<PathBuf>,
}

impl Tree {
    /// The tree below this process, whose members carry `marks`.
    #[must_use]
    pub fn new(isolation: Isolation, marks: EnvMarks) -> Self {
        let cgroup = match isolation {
            Isolation::PidNamespace => None,
            Isolation::Subreaper => make_cgroup(),
        };
        Self { isolation, marks, cgroup }
    }

    /// Adds the first process. What it starts later is added by the kernel.
    pub fn add(&self, pid: u32) {
        let Some(group) = &self.cgroup else { return };
        if let Err(error) = std::fs::write(group.join("cgroup.procs"), pid.to_string()) {
            tracing::debug!(%error, "the CLI stays in the cgroup of the worker");
        }
    }

    /// Returns the number of processes of the tree, and their memory.
    #[must_use]
    pub fn size(&self) -> TreeSize {
        let me = std::process::id();
        let is_member = |pid: &u32| *pid != me && (self.isolation == Isolation::PidNamespace || descends(*pid, me));
        let mut size = TreeSize::default();
        for pid in living().filter(is_member) {
            size.processes += 1;
            size.memory_bytes += stat::of(pid).map_or(0, |stat| stat.rss * rustix::param::page_size() as u64);
        }
        size
    }

    /// Ends every process of the tree. Returns whether none is left.
    pub fn kill(&self) -> bool {
        match self.isolation {
            Isolation::PidNamespace => kill_namespace(),
            Isolation::Subreaper => self.kill_descendants(),
        }
    }

    fn kill_descendants(&self) -> bool {
        if let Some(group) = &self.cgroup {
            // Absent before Linux 5.14; the passes below do not rely on it.
            std::fs::write(group.join("cgroup.kill"), "1").unwrap_or_default();
        }
        let me = std::process::id();
        let (_, gone) = kill_until_none(|pid| self.marks.is_on(pid) || descends(pid, me));
        reap(|_, _, _| ());
        if let Some(group) = &self.cgroup {
            std::fs::remove_dir(group).unwrap_or_default();
        }
        gone
    }
}

/// Collects every child that has ended, and tells of each: pid, exit code, signal. Returns
/// whether any child is left.
pub fn reap(mut each: impl FnMut(u32, Option<i32>, Option<i32>)) -> bool {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                each(super::number_of(pid), status.exit_status(), status.terminating_signal());
            }
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// The init of a namespace may signal all of it with -1, itself excepted; every process in it
/// is or becomes its child.
fn kill_namespace() -> bool {
    for _ in 0..3_000 {
        sys::kill_namespace();
        if !reap(|_, _, _| ()) {
            return true;
        }
        pause(Duration::from_millis(1));
    }
    false
}

/// True if `ancestor` is among the parents of `pid`.
fn descends(pid: u32, ancestor: u32) -> bool {
    let mut at = pid;
    // The chain is short; the bound is against a loop while processes end and numbers change.
    for _ in 0..64 {
        match parent_of(at) {
            Some(parent) if parent == ancestor => return true,
            Some(parent) if parent > 1 => at = parent,
            _ => return false,
        }
    }
    false
}

fn parent_of(pid: u32) -> Option<u32> {
    u32::try_from(stat::of(pid)?.ppid).ok()
}

/// A cgroup (version 2) of our own below the one we are in, where the system lets us.
fn make_cgroup() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mounts").ok()?;
    let root = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let path = fields.next()?;
        (fields.next()? == "cgroup2").then(|| path.to_owned())
    })?;
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/"))?;
    let parent = Path::new(&root).join(own);
    remove_leftovers(&parent);
    let group = parent.join(format!("{GROUP}{}", std::process::id()));
    std::fs::create_dir(&group).ok()?;
    Some(group)
}

/// Groups of shims that were killed. One with processes in it can't be removed.
fn remove_leftovers(parent: &Path) {
    for entry in std::fs::read_dir(parent).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let shim = name.to_str().and_then(|name| name.strip_prefix(GROUP));
        if shim.is_some_and(|shim| !Path::new("/proc").join(shim).exists()) {
            std::fs::remove_dir(entry.path()).unwrap_or_default();
        }
    }
}
