//! Space kept free beside the database for the day when the disk is full. It then goes to what
//! brings tasks to their end; new work is refused until there is space again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::{FallocateFlags, fallocate, statvfs};

/// Largest reserve: renewals and results of some hours.
const BYTES: u64 = 8 << 20;
/// A disk with less than this is full: nothing is set aside, and nothing new is accepted.
const LEAST_FREE: u64 = 1 << 20;

/// The reserve of one database. Clones share it; each process has its own.
#[derive(Clone)]
pub struct Reserve {
    file: PathBuf,
    spent: Arc<AtomicBool>,
    /// Bytes that must be free before something is set aside again. More than was given up: what that left free is
    /// no room for new work.
    needed: Arc<AtomicU64>,
}

impl Reserve {
    /// Sets the space aside, if it is there.
    #[must_use]
    pub fn of(database: &Path) -> Self {
        let reserve = Self {
            file: file_of(database),
            spent: Arc::new(AtomicBool::new(true)),
            needed: Arc::new(AtomicU64::new(LEAST_FREE)),
        };
        reserve.refill();
        reserve
    }

    /// Number of bytes the disk of a database has left, and whether new tasks would be accepted there.
    ///
    /// # Errors
    /// The system's.
    pub fn room(database: &Path) -> std::io::Result<(u64, bool)> {
        let free = free_beside(database)?;
        let needed = if database.exists() { 2 * BYTES } else { LEAST_FREE };
        Ok((free, file_of(database).exists() || free >= needed))
    }

    /// True if the disk is full: only what brings tasks to their end is stored.
    #[must_use]
    pub fn is_spent(&self) -> bool {
        self.spent.load(Ordering::Relaxed)
    }

    /// Gives the space to the database. False where it has been given before.
    pub fn spend(&self) -> bool {
        let first = !self.spent.swap(true, Ordering::Relaxed);
        if first {
            let given = std::fs::metadata(&self.file).map_or(0, |file| file.len());
            self.needed.store((2 * given).max(LEAST_FREE), Ordering::Relaxed);
            tracing::error!(file = %self.file.display(), "The disk is full: new tasks are refused until there is space");
            // Another process may have been quicker.
            std::fs::remove_file(&self.file).unwrap_or_default();
        }
        first
    }

    /// Sets the space aside again, when there is enough of it. Where another process has given it up, the disk is
    /// full for this one as well.
    pub fn refill(&self) {
        if !self.is_spent() {
            if !self.file.exists() {
                self.needed.store(2 * BYTES, Ordering::Relaxed);
                self.spent.store(true, Ordering::Relaxed);
            }
            return;
        }
        match self.allocate() {
            Ok(true) => self.spent.store(false, Ordering::Relaxed),
            Ok(false) => {}
            Err(error) => {
                // Nothing of it is left to take space that is needed.
                std::fs::remove_file(&self.file).unwrap_or_default();
                tracing::warn!(error = crate::telemetry::chain(&error), file = %self.file.display(), "No space can be kept in reserve");
            }
        }
    }

    fn allocate(&self) -> std::io::Result<bool> {
        if std::fs::metadata(&self.file).is_ok_and(|file| file.len() > 0) {
            return Ok(true);
        }
        let free = free_beside(&self.file)?;
        if free < self.needed.load(Ordering::Relaxed) {
            return Ok(false);
        }
        // The database needs some as well.
        let bytes = (free / 4).min(BYTES);
        let file = File::options().create(true).append(true).open(&self.file)?;
        match fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => Ok(true),
            // A file system that can't set space aside: it has some, which must do. A byte says that we looked.
            Err(rustix::io::Errno::OPNOTSUPP) => std::io::Write::write_all(&mut &file, b"-").map(|()| true),
            Err(error) => Err(error.into()),
        }
    }
}

/// The file beside a database that holds its reserve.
fn file_of(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push("-reserve");
    name.into()
}

/// Bytes that the disk of a file has left for us.
fn free_beside(file: &Path) -> std::io::Result<u64> {
    let found = statvfs(file.parent().unwrap_or(Path::new("/")))?;
    Ok(found.f_bavail * found.f_frsize)
}
