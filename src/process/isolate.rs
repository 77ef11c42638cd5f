//! The strongest walls that this system allows round an attempt's processes.

use std::io;

use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::process::Signal;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};

/// Ways to hold the processes of an attempt together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Isolation {
    /// A PID namespace of their own, whose init is the shim: nothing can leave it, and
    /// all of it ends with its init.
    PidNamespace,
    /// The shim adopts their orphans, and finds them by their marks and by descent.
    Subreaper,
}

/// Moves the calling process behind the strongest wall there is; without `namespaces`, behind
/// the next. **It must have one thread.**
///
/// With a PID namespace the caller forks: this returns in the child, which is the
/// namespace's init; the parent stays outside, holds no stream, and leaves with the child's
/// exit code. When it is killed, the kernel kills the child, and with it the namespace.
pub fn isolate(namespaces: bool) -> Isolation {
    if let Err(error) = rustix::process::setsid() {
        tracing::debug!(%error, "already leads a session");
    }
    if namespaces && unshare(false).or_else(|_| unshare(true)).is_ok() {
        fork_into_namespace();
        return Isolation::PidNamespace;
    }
    if let Err(error) = rustix::process::set_child_subreaper(Some(rustix::process::getpid())) {
        tracing::warn!(error = crate::telemetry::chain(&error), "orphans can't be adopted");
    }
    Isolation::Subreaper
}

fn unshare(with_user: bool) -> io::Result<()> {
    let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let mut flags = UnshareFlags::NEWPID | UnshareFlags::NEWNS;
    if with_user {
        flags |= UnshareFlags::NEWUSER;
    }
    sys::unshare(flags)?;
    if with_user {
        std::fs::write("/proc/self/setgroups", "deny")?;
        std::fs::write("/proc/self/uid_map", format!("{uid} {uid} 1"))?;
        std::fs::write("/proc/self/gid_map", format!("{gid} {gid} 1"))?;
    }
    Ok(())
}

/// Exit code of a process that could start no other (`EX_TEMPFAIL` of `sysexits.h`).
pub const NO_PROCESS: i32 = 75;

fn fork_into_namespace() {
    match sys::fork() {
        // Init of the namespace: ends with its parent, and sees the processes that are its own.
        Ok(None) => {
            if let Err(error) = rustix::process::set_parent_process_death_signal(Some(Signal::KILL)) {
                tracing::warn!(error = crate::telemetry::chain(&error), "no signal at the parent's death");
            }
            mount_proc();
        }
        // Without its streams: their ends are seen when the child closes its own.
        Ok(Some(child)) => sys::wait_in_place_of(child),
        // Without the child there is nobody to run the CLI; the worker sees why by this.
        Err(_) => std::process::exit(NO_PROCESS),
    }
}

/// `/proc` of the namespace, so that `ps` and `kill` inside it agree. Where the system
/// refuses, the outer one stays: all works but for such numbers.
fn mount_proc() {
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let mounted = rustix::mount::mount_change("/", private).and_then(|()| {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("proc", "/proc", "proc", flags, None)
    });
    if let Err(error) = mounted {
        tracing::debug!(%error, "the namespace keeps the outer /proc");
    }
}

/// Replaces the three standard streams by `/dev/null`, so that their other ends are seen to
/// close when the CLI closes its own.
pub fn drop_streams() {
    let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") else { return };
    let replaced = rustix::stdio::dup2_stdin(&null)
        .and_then(|()| rustix::stdio::dup2_stdout(&null))
        .and_then(|()| rustix::stdio::dup2_stderr(&null));
    if replaced.is_err() {
        // Only then the worker would wait for an end of stream that comes with the shim's own.
        std::process::exit(71);
    }
}

/// True if the end of this process is the end of its container: it is the first process there, or the child of a first
/// process that only passes signals on.
#[must_use]
pub fn is_first_of_container() -> bool {
    let is_init = || {
        let first = std::fs::read_to_string("/proc/1/comm").unwrap_or_default();
        ["tini", "docker-init", "dumb-init", "catatonit", "s6-svscan", "pause"].contains(&first.trim())
    };
    std::process::id() == 1
        || (rustix::process::getppid().is_some_and(|parent| parent.as_raw_nonzero().get() == 1) && is_init())
}
