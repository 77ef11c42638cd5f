//! Holder of a file's lock, and the remedy when it is a process that stands still.
//!
//! A process that is stopped in the middle of a transaction keeps the database locked for
//! everybody, for as long as it stays stopped. It has lost its leases by then; what it wanted to
//! write would be refused.

use std::os::linux::fs::MetadataExt;
use std::path::Path;

use super::stat;

/// Ends a process that holds this byte of the file for writing, if it runs our program and is
/// stopped (by SIGSTOP, or in a shell by Ctrl-Z). Returns whether it did.
pub fn end_stopped_holder(file: &Path, byte: u64) -> bool {
    let Some(pid) = holder(file, byte).filter(|pid| is_stopped(*pid) && is_ours(*pid)) else { return false };
    tracing::error!(pid, "a process that is stopped keeps the database locked; it is ended");
    super::kill(pid);
    true
}

/// The table of the kernel, since asking through a descriptor of our own would, when that is
/// closed, drop every lock that we have on the file ourselves (fcntl(2)).
fn holder(file: &Path, byte: u64) -> Option<u32> {
    let inode = std::fs::metadata(file).ok()?.st_ino().to_string();
    let byte = byte.to_string();
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    table.lines().find_map(|line| {
        // 1: POSIX ADVISORY WRITE 123 fe:00:4711 120 120; who only waits has an arrow there.
        let [_, "POSIX", _, "WRITE", pid, place, from, to] = *line.split_whitespace().collect::<Vec<_>>() else {
            return None;
        };
        let is_it = place.rsplit(':').next() == Some(&inode) && from == byte && to == byte;
        if is_it { pid.parse().ok() } else { None }
    })
}

fn is_stopped(pid: u32) -> bool {
    stat::of(pid).is_some_and(|stat| stat.state == 'T')
}

fn is_ours(pid: u32) -> bool {
    let program = |pid: &str| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    program("self").is_some_and(|ours| program(&pid.to_string()) == Some(ours))
}
