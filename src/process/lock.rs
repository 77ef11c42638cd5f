//! Locks that processes of this machine wait for, and the remedy when the holder stands still.
//!
//! A process that is stopped in the middle of its work keeps a lock for everybody, for as long as it stays stopped. It
//! has lost its leases by then; what it wanted to do would be refused, or is done again by another.

use std::fs::Metadata;
use std::io;
use std::os::fd::OwnedFd;
use std::os::linux::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

use super::stat;

/// Time between two looks at a lock.
const LOOK: Duration = Duration::from_millis(20);
/// Time after which a holder that is stopped is not waited for.
const PATIENCE: Duration = Duration::from_secs(3);

/// A wait for the lock of a whole file or folder (flock(2)).
#[derive(Debug)]
pub struct LockWait {
    file: OwnedFd,
    since: Instant,
    limit: Duration,
}

impl LockWait {
    /// The beginning of a wait of at most `limit`. The lock goes with the file.
    #[must_use]
    pub fn new(file: OwnedFd, limit: Duration) -> Self {
        Self { file, since: Instant::now(), limit }
    }

    /// Takes the lock if it is free. Returns whether it did.
    ///
    /// # Errors
    /// The system's; `TimedOut` when the limit is over.
    pub fn look(&self) -> io::Result<bool> {
        match flock(&self.file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let waited = self.since.elapsed();
        if waited > self.limit {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "another process does not leave the lock"));
        }
        if waited > PATIENCE {
            end_holder(&std::fs::File::from(self.file.try_clone()?).metadata()?, Kept::Whole);
        }
        Ok(false)
    }

    /// Waits for the lock in this thread.
    ///
    /// # Errors
    /// As [`Self::look`].
    #[expect(clippy::disallowed_methods, reason = "the kernel tells nobody that has a limit when a lock is free")]
    pub fn wait(self) -> io::Result<OwnedFd> {
        while !self.look()? {
            std::thread::sleep(LOOK);
        }
        Ok(self.file)
    }

    /// Waits for the lock beside other work.
    ///
    /// # Errors
    /// As [`Self::look`].
    pub async fn wait_beside(self) -> io::Result<OwnedFd> {
        while !self.look()? {
            tokio::time::sleep(LOOK).await;
        }
        Ok(self.file)
    }
}

/// Ends a process that holds this byte of the file for writing, if it runs our program and is
/// stopped (by SIGSTOP, or in a shell by Ctrl-Z). Returns whether it did.
pub fn end_stopped_holder(file: &Path, byte: u64) -> bool {
    std::fs::metadata(file).is_ok_and(|found| end_holder(&found, Kept::Byte(byte)))
}

/// What of a file is locked.
#[derive(Clone, Copy)]
enum Kept {
    /// All of it, by flock(2).
    Whole,
    /// A byte, by fcntl(2).
    Byte(u64),
}

fn end_holder(file: &Metadata, kept: Kept) -> bool {
    let Some(pid) = holder(file, kept).filter(|pid| is_stopped(*pid) && is_ours(*pid)) else { return false };
    tracing::error!(pid, "a process that is stopped keeps a lock that others wait for; it is ended");
    super::kill(pid);
    true
}

/// The table of the kernel, since asking through a descriptor of our own would, when that is
/// closed, drop every lock that we have on the file ourselves (fcntl(2)).
fn holder(file: &Metadata, kept: Kept) -> Option<u32> {
    let inode = file.st_ino().to_string();
    let wanted = match kept {
        Kept::Whole => ["FLOCK".to_owned(), "0".to_owned(), "EOF".to_owned()],
        Kept::Byte(byte) => ["POSIX".to_owned(), byte.to_string(), byte.to_string()],
    };
    let table = std::fs::read_to_string("/proc/locks").ok()?;
    table.lines().find_map(|line| {
        // 1: POSIX ADVISORY WRITE 123 fe:00:4711 120 120; who only waits has an arrow there.
        let [_, kind, _, "WRITE", pid, place, from, to] = *line.split_whitespace().collect::<Vec<_>>() else {
            return None;
        };
        let is_it =
            place.rsplit(':').next() == Some(&inode) && [kind, from, to] == wanted.each_ref().map(String::as_str);
        if is_it { pid.parse().ok() } else { None }
    })
}

fn is_stopped(pid: u32) -> bool {
    stat::of(pid).is_some_and(|stat| stat.state == 'T')
}

/// By its name: the program of a process that has closed its memory is told to root alone.
fn is_ours(pid: u32) -> bool {
    let name = |pid| stat::of(pid).map(|stat| stat.comm);
    name(std::process::id()).is_some_and(|ours| name(pid) == Some(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> OwnedFd {
        std::fs::File::open(path).expect("a folder").into()
    }

    #[test]
    fn a_lock_is_waited_for_and_not_for_ever() {
        let dir = tempfile::tempdir().expect("a folder");
        let held = LockWait::new(open(dir.path()), Duration::ZERO).wait().expect("free");
        let found = std::fs::metadata(dir.path()).expect("a folder");
        assert_eq!(holder(&found, Kept::Whole), Some(std::process::id()));
        let late = LockWait::new(open(dir.path()), Duration::from_millis(50)).wait().expect_err("held");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        std::thread::scope(|scope| {
            let wait = scope.spawn(|| LockWait::new(open(dir.path()), Duration::from_secs(60)).wait());
            drop(held);
            assert!(wait.join().expect("no panic").is_ok());
        });
        assert_eq!(holder(&found, Kept::Whole), None);
    }
}
