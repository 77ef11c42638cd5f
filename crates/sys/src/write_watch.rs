//! Tells when somebody writes to a file (inotify).

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::inotify::{CreateFlags, WatchFlags, add_watch, init};
use tokio::io::unix::AsyncFd;

/// Bytes of what is told that are taken with one call.
const PORTION: usize = 4_096;

/// A file that is watched: the one that had the path when the watch began, whatever becomes of the path. Writes through
/// memory (`mmap`) are not seen, nor those of other machines.
#[derive(Debug)]
pub struct WriteWatch(AsyncFd<OwnedFd>);

impl WriteWatch {
    /// Watches a file from now on; to be called, and waited for, in one runtime.
    ///
    /// # Errors
    /// There is no such file, or this user has too many watches (`fs.inotify.max_user_instances`).
    pub fn of(path: &Path) -> io::Result<Self> {
        let watch = init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        add_watch(&watch, path, WatchFlags::MODIFY)?;
        #[expect(unsafe_code, reason = "the descriptor is owned by the AsyncFd and closed by nobody else")]
        let registered = unsafe { AsyncFd::register(watch) };
        Ok(Self(registered?))
    }

    /// True if there were writes since the last call, or since [`written`](Self::written) has returned.
    #[must_use]
    pub fn has_written(&self) -> bool {
        let mut told = [0; PORTION];
        let mut any = false;
        while rustix::io::read(self.0.get_ref(), &mut told).is_ok_and(|bytes| bytes > 0) {
            any = true;
        }
        any
    }

    /// Waits for a write.
    pub async fn written(&self) {
        loop {
            // An error would say that the runtime ends.
            let Ok(mut ready) = self.0.readable().await else { return std::future::pending().await };
            if self.has_written() {
                return;
            }
            ready.clear_ready();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn writes_are_told_and_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        assert!(WriteWatch::of(&path).is_err(), "no file");
        let mut file = std::fs::File::create(&path).expect("a file");
        let watch = WriteWatch::of(&path).expect("a watch");
        assert!(!watch.has_written());
        file.write_all(b"a").expect("a write");
        assert!(watch.has_written() && !watch.has_written());
        let quiet = tokio::time::timeout(Duration::from_millis(20), watch.written()).await;
        assert!(quiet.is_err(), "nothing was written");
        file.write_all(b"b").expect("a write");
        watch.written().await;
        assert!(!watch.has_written());
    }
}
