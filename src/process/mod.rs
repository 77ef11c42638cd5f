//! Processes: starting them, watching them, and making sure that they are gone.
//!
//! *Owns* every use of `Command`, of signals and of `/proc`. *Talks to* the kernel only.
//! *Promises* that what [`sweep`] and [`Tree::kill`] were asked to end has ended when they
//! return, or says that it has not. Keeps no state: when the caller dies, nothing is lost here.

mod agent_user;
mod back_off;
mod blocking;
mod clock;
mod control;
mod descriptors;
mod folder_size;
mod identity;
mod isolate;
mod lock;
mod no_links;
mod own_use;
mod pass;
mod path;
mod private;
mod sock;
mod spawn;
mod stat;
mod sweep;
mod tree;
mod tree_log;
mod whole;

pub use agent_user::{barred, give, let_pass};
pub use back_off::BackOff;
pub use blocking::blocking;
pub use clock::{boot_now, wall_now};
pub use control::ControlLines;
pub use descriptors::raise_descriptors;
pub use folder_size::folder_size;
pub use identity::Identity;
pub use isolate::{Isolation, NO_PROCESS, drop_streams, is_first_of_container, isolate};
pub use lock::{LockWait, end_stopped_holder};
pub use no_links::{make_folders, open_exactly, open_file, open_folder, path_of, read, replace};
pub use own_use::own_use;
pub use pass::send_with;
pub use path::{Resolved, resolve};
pub use private::{check_secret, close_to_others, is_open_to_others, make_own_folder, make_private_folder};
pub use sock::{control_from_fd, control_pair, cut_off_after};
pub use spawn::{
    Launch, Streams, captured, exit_of, open_in_browser, output, spawn_cli, spawn_helper, spawn_shim, spawn_worker,
};
pub use sweep::{EnvMarks, TreeMark, end_all};
pub use sys::WriteWatch;
pub use tree::{Tree, reap};
pub use tree_log::{TreeLog, open_tree_log, read_trees, tree_log};
pub use whole::write_whole;

use rustix::process::{Pid, Signal};

/// True if the system had no process, memory or descriptor to give: the same may succeed later.
#[must_use]
pub fn is_out_of_resources(error: &std::io::Error) -> bool {
    let passing = [libc::EAGAIN, libc::ENOMEM, libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ETXTBSY];
    error.raw_os_error().is_some_and(|code| passing.contains(&code))
}

/// The uid under which this process acts.
#[must_use]
pub fn effective_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// The name of this machine.
#[must_use]
pub fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// A chance in `0.0..1.0`, to spread what would happen together.
#[must_use]
pub fn chance() -> f64 {
    f64::from(getrandom::u32().unwrap_or(0)) / (f64::from(u32::MAX) + 1.0)
}

/// A secret of 256 bits, in hexadecimal.
///
/// # Errors
/// The system has no randomness.
pub fn secret() -> std::io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(hex::encode(bytes))
}

/// Sends a signal to one process; that it is gone already is no error.
pub fn signal(pid: u32, signal: Signal) {
    let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => tracing::warn!(
            pid = pid.as_raw_nonzero().get(),
            error = crate::telemetry::chain(&error),
            "could not signal a process"
        ),
    }
}

/// A step at which tests kill or stop this very process, through the failpoint of that name.
/// Nothing in builds without failpoints.
pub fn barrier(step: &str) {
    fail::fail_point!(step, |action| {
        match action.as_deref() {
            Some("kill") => kill(std::process::id()),
            _ => signal(std::process::id(), Signal::STOP),
        }
    });
    // Without the feature nothing else uses it.
    let _: &str = step;
}

/// Closes this process's memory, environment and descriptors to other processes of its user, and forbids core dumps.
pub fn close_memory() {
    let never = rustix::process::DumpableBehavior::NotDumpable;
    if let Err(error) = rustix::process::set_dumpable_behavior(never) {
        tracing::warn!(error = crate::telemetry::chain(&error), "the memory of this process stays open to its user");
    }
}

/// Ends a process at once.
pub fn kill(pid: u32) {
    signal(pid, Signal::KILL);
}

/// Asks a process to end.
pub fn terminate(pid: u32) {
    signal(pid, Signal::TERM);
}

/// Lets a stopped process go on: it keeps a TERM pending until then.
pub fn wake_up(pid: u32) {
    signal(pid, Signal::CONT);
}

/// The number of a process, as it is written down and sent.
const fn number_of(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// Completes when the process has ended, child of ours or not; at once where it is gone.
pub async fn ended(pid: u32) {
    let Some(raw) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { return };
    let Ok(fd) = rustix::process::pidfd_open(raw, rustix::process::PidfdFlags::NONBLOCK) else { return };
    // A pidfd becomes readable once, when the process ends.
    if let Err(error) = sys::readable(fd).await {
        tracing::error!(pid, error = crate::telemetry::chain(&error), "could not watch a process");
    }
}
