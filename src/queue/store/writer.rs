//! The one connection that writes: SQLite, in the thread of whoever commits.
//!
//! A hop to another thread and back costs more than a statement, and a command is several. So this
//! connection has no thread of its own, unlike the ones that read; its commit is the only thing that
//! waits for the disk. For another process's transaction it waits without holding up the thread.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use fail::fail_point;
use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::change::Waiting;
use super::{Reserve, StoreError, Tx};
use crate::process::{barrier, end_stopped_holder};
use crate::task::TaskId;

/// How long a commit waits for another process's transaction. Ours take milliseconds;
/// longer means that something else holds the database.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);
/// Statements that are kept ready: some more than there are.
const STATEMENTS: usize = 128;
/// The byte that whoever writes has locked, <https://sqlite.org/walformat.html#locks>.
const WRITE_LOCK: u64 = 120;

/// See the [module](self). Clones share it.
#[derive(Clone)]
pub struct Writer {
    /// Used by one commit at a time; `None` when it is closed.
    db: Arc<Mutex<Option<Connection>>>,
    /// Where the locks of the WAL are.
    locks: PathBuf,
    /// For a disk that is full.
    reserve: Reserve,
    /// The file that was opened.
    file: Arc<File>,
}

/// Which file it is: its name may come to mean another one.
struct File {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl File {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }

    /// What is written to a file without a name is lost with the process.
    fn check(&self) -> Result<(), StoreError> {
        match Self::of(&self.path) {
            Ok(found) if (found.device, found.inode) == (self.device, self.inode) => Ok(()),
            _ => Err(StoreError::Replaced { path: self.path.clone() }),
        }
    }
}

/// What became of a batch.
#[derive(Default)]
pub struct Committed {
    /// True if any command is stored now.
    pub any: bool,
    /// The tasks that changed.
    pub touched: Vec<TaskId>,
    /// Why the last one that failed did.
    pub failure: Option<StoreError>,
}

impl Writer {
    /// A connection to a database that is there and in WAL mode. `wal_pages` is when the WAL is folded in.
    pub(super) fn open(path: &Path, wal_pages: &str, reserve: Reserve) -> Result<Self, StoreError> {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::ZERO)?;
        db.set_prepared_statement_cache_capacity(STATEMENTS);
        // An acknowledged task survives a power cut; group commit pays for it.
        db.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
            PRAGMA wal_autocheckpoint = {wal_pages};"
        ))?;
        let mut locks = path.as_os_str().to_owned();
        locks.push("-shm");
        let file = File::of(path)
            .map_err(|source| StoreError::NotWritable { path: path.to_owned(), source: Arc::new(source) })?;
        Ok(Self { db: Arc::new(Mutex::new(Some(db))), locks: locks.into(), reserve, file: Arc::new(file) })
    }

    /// Closes it. What comes later is refused.
    pub(super) fn close(&self) {
        *self.db.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The reserve, for whoever refills it.
    #[must_use]
    pub const fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// Runs all of them in one transaction, commits, and answers each. Where one of them
    /// fails, each runs again in a transaction of its own, so that only that one's sender is
    /// told of the failure. Returns what became of it.
    pub async fn commit(&self, batch: Vec<Box<dyn Waiting>>) -> Committed {
        let turned_away = batch.len();
        let mut batch = self.turn_away(batch);
        if batch.is_empty() {
            return Committed { failure: (turned_away > 0).then_some(StoreError::Full), ..Committed::default() };
        }
        match self.try_commit(&mut batch).await {
            Ok(touched) => {
                batch.into_iter().for_each(|each| each.answer(Ok(())));
                Committed { any: true, touched, failure: None }
            }
            Err(StoreError::Full) if self.reserve.spend() => Box::pin(self.commit(batch)).await,
            Err(StoreError::Locked) if end_stopped_holder(&self.locks, WRITE_LOCK) => {
                Box::pin(self.commit(batch)).await
            }
            Err(error) if batch.len() == 1 => {
                tracing::warn!(error = crate::telemetry::chain(&error), "A command was not stored");
                batch.into_iter().for_each(|each| each.answer(Err(error.clone())));
                Committed { failure: Some(error), ..Committed::default() }
            }
            // None of them could be stored by itself either: no need to wait for the lock or the disk once each.
            Err(error @ (StoreError::Locked | StoreError::Replaced { .. } | StoreError::Closed)) => {
                tracing::warn!(
                    commands = batch.len(),
                    error = crate::telemetry::chain(&error),
                    "Commands were not stored"
                );
                batch.into_iter().for_each(|each| each.answer(Err(error.clone())));
                Committed { failure: Some(error), ..Committed::default() }
            }
            Err(_) => {
                let mut all = Committed::default();
                for each in batch {
                    let one = Box::pin(self.commit(vec![each])).await;
                    all.any |= one.any;
                    all.touched.extend(one.touched);
                    all.failure = one.failure.or(all.failure);
                }
                all
            }
        }
    }

    /// When the disk is full only what is essential stays.
    fn turn_away(&self, batch: Vec<Box<dyn Waiting>>) -> Vec<Box<dyn Waiting>> {
        if !self.reserve.is_spent() {
            return batch;
        }
        let (essential, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|each| each.is_essential());
        others.into_iter().for_each(|each| each.answer(Err(StoreError::Full)));
        essential
    }

    /// Waits for its turn among the processes that write.
    async fn try_commit(&self, batch: &mut [Box<dyn Waiting>]) -> Result<Vec<TaskId>, StoreError> {
        let until = Instant::now() + BUSY_LIMIT;
        let mut pause = Duration::from_millis(1);
        loop {
            match self.run(batch) {
                Err(StoreError::Locked) if Instant::now() < until => {
                    tokio::time::sleep(pause).await;
                    pause = (2 * pause).min(LONGEST_PAUSE);
                }
                ran => return ran,
            }
        }
    }

    /// Reads, outside of any transaction, unless a commit is under way.
    pub(super) fn try_read<T>(
        &self,
        read: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>,
    ) -> Result<Option<T>, StoreError> {
        let db = match self.db.try_lock() {
            Ok(db) => db,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(None),
        };
        read(&Tx::new(db.as_ref().ok_or(StoreError::Closed)?)).map(Some)
    }

    /// Whether a command could be stored now. Writes nothing.
    ///
    /// # Errors
    /// Why it could not.
    pub fn probe(&self) -> Result<(), StoreError> {
        self.file.check()?;
        if self.reserve.is_spent() {
            return Err(StoreError::Full);
        }
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let db = db.as_ref().ok_or(StoreError::Closed)?;
        Ok(Transaction::new_unchecked(db, TransactionBehavior::Immediate)?.rollback()?)
    }

    /// Reads, outside of any transaction.
    pub(super) fn read<T>(&self, read: impl FnOnce(&Tx<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        read(&Tx::new(db.as_ref().ok_or(StoreError::Closed)?))
    }

    fn run(&self, batch: &mut [Box<dyn Waiting>]) -> Result<Vec<TaskId>, StoreError> {
        fail_point!("store-commit", |_| {
            tracing::warn!("a failpoint fired");
            Err(sea_orm::DbErr::Custom("a failpoint".to_owned()).into())
        });
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = db.as_ref() else { return Err(StoreError::Closed) };
        self.file.check()?;
        // Immediate: a transaction that reads first and then writes could not wait for others. Dropped, also
        // by a panic, it is rolled back.
        let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
        let mut tx = Tx::new(db);
        for each in batch.iter_mut() {
            each.run(&mut tx)?;
        }
        let touched = tx.finish()?;
        barrier("store-before");
        transaction.commit()?;
        barrier("store-after");
        Ok(touched)
    }
}
