//! Identity of a process: pids are reused, so the start time goes with them.

use serde::{Deserialize, Serialize};

use super::stat;
use domain::BootId;

/// A process that can be told from every other one, on this machine and others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Process id in its PID namespace.
    pub pid: u32,
    /// Start time in clock ticks since boot (`/proc/PID/stat`, field 22).
    pub start: u64,
    /// The boot in which it runs.
    pub boot: BootId,
    /// PID namespace, as the kernel names it.
    pub namespace: String,
}

impl Identity {
    /// Returns the identity of this process.
    #[must_use]
    pub fn current() -> Self {
        Self::of(std::process::id()).unwrap_or_else(|| Self {
            pid: std::process::id(),
            start: 0,
            boot: super::boot_now().boot,
            namespace: namespace(),
        })
    }

    /// Returns the identity of the process with this pid; `None` where there is none, or only a zombie.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let start = start_of(pid)?;
        Some(Self { pid, start, boot: super::boot_now().boot, namespace: namespace() })
    }

    /// True if the process is known to be gone. Where it can't be seen from here (another
    /// machine, another PID namespace) it is not known.
    #[must_use]
    pub fn is_known_dead(&self) -> bool {
        if self.namespace != namespace() {
            return false;
        }
        self.boot != super::boot_now().boot || start_of(self.pid) != Some(self.start)
    }
}

fn namespace() -> String {
    std::fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The start time of a process that lives; a zombie doesn't, unless further threads of it do: they have its files.
fn start_of(pid: u32) -> Option<u64> {
    let stat = stat::of(pid)?;
    let is_over = matches!(stat.state, 'Z' | 'X') && stat.num_threads <= 1;
    (!is_over).then_some(stat.starttime)
}

/// True if a process of ours is in the middle of an `exec`: it has a new memory, and no environment in it yet. Of
/// processes that we may not look into it is not known.
pub(super) fn is_starting(pid: u32) -> bool {
    /// `PF_KTHREAD`, include/linux/sched.h.
    const KERNEL: u32 = 0x0020_0000;
    /// The code of a process that we may not look into begins here (fs/proc/array.c).
    const HIDDEN: u64 = 1;
    stat::of(pid).is_some_and(|stat| {
        stat.flags & KERNEL == 0 && stat.vsize > 0 && stat.startcode != HIDDEN && stat.env_start == Some(0)
    })
}

/// True if a process is on its way out: it has let go of its memory, and so of its environment, but maybe not
/// of its files yet.
pub(super) fn is_exiting(pid: u32) -> bool {
    /// `PF_EXITING`, include/linux/sched.h.
    const EXITING: u32 = 0x4;
    stat::of(pid).is_some_and(|stat| stat.flags & EXITING != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_lives_and_one_with_another_start_does_not() {
        let me = Identity::current();
        assert!(!me.is_known_dead());
        assert!(Identity { start: me.start + 1, ..me.clone() }.is_known_dead());
        assert!(!Identity { namespace: "pid:[1]".into(), start: 1, ..me }.is_known_dead());
    }
}
