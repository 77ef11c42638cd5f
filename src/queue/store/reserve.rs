//! Space kept free beside the database for the day when the disk is full. It then goes to what
//! brings tasks to their end; new work is refused until there is space again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Renewals and results of some hours.
const BYTES: u64 = 8 << 20;

/// The reserve of one database. Clones share it; each process has its own.
#[derive(Clone)]
pub struct Reserve {
    file: PathBuf,
    spent: Arc<AtomicBool>,
}

impl Reserve {
    /// Sets the space aside, if it is there.
    #[must_use]
    pub fn of(database: &Path) -> Self {
        let mut name = database.as_os_str().to_owned();
        name.push("-reserve");
        let reserve = Self { file: name.into(), spent: Arc::new(AtomicBool::new(true)) };
        reserve.refill();
        reserve
    }

    /// Whether the disk is full: only what brings tasks to their end is stored.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Gives the space to the database. False where it has been given before.
    pub fn spend(&self) -> bool {
        let first = !self.spent.swap(true, Ordering::Relaxed);
        if first {
            tracing::error!(file = %self.file.display(), "The disk is full: new tasks are refused until there is space");
            // Another process may have been quicker.
            std::fs::remove_file(&self.file).unwrap_or_default();
        }
        first
    }

    /// Sets the space aside again, when there is enough of it.
    pub fn refill(&self) {
        if !self.is_spent() {
            return;
        }
        match self.allocate() {
            Ok(true) => self.spent.store(false, Ordering::Relaxed),
            Ok(false) => {}
            Err(error) => tracing::warn!(%error, file = %self.file.display(), "No space can be kept in reserve"),
        }
    }

    fn allocate(&self) -> std::io::Result<bool> {
        let file = File::options().create(true).append(true).open(&self.file)?;
        if file.metadata()?.len() >= BYTES {
            return Ok(true);
        }
        let folder = self.file.parent().unwrap_or(Path::new("/"));
        let found = statvfs(folder)?;
        // Twice: the database needs some as well.
        if found.f_bavail * found.f_frsize < 2 * BYTES {
            return Ok(false);
        }
        match fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
            // A file system that can't set space aside: it has some, which must do.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => Ok(true),
            Err(error) => Err(error.into()),
        }
    }
}
