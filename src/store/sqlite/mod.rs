//! SQLite: the engine for one machine.
//!
//! One connection writes, in immediate transactions, in the thread of its owner; others read beside it, each in
//! a thread of its own. All of them are rusqlite's. A hop to another thread and back costs more than a statement, and
//! a command is several: so the connection that writes has no thread of its own, and its commit is the only thing
//! that waits for the disk. sea-orm describes the tables, makes the schema, and builds the one query whose
//! conditions vary.
//!
//! | file | |
//! | --- | --- |
//! | `schema`, `preflight`, `mark`, `reserve` | what happens before it is used: its schema, whether it may be used at all, what it must have, and space for a full disk |
//! | `connection`, `query`, `table` | connections, statements, whole rows |
//! | `tx`, `tasks`, `shares`, `dependencies`, `files`, `attempts`, `talk`, `limits`, `hooks`, `schedules`, `money`, `secrets`, `handovers`, `races`, `children`, `touches`, `rules`, `workers`, `retention` | the statements of a transaction |
//! | `blobs` | the contents of files, in a folder of their own |
//! | `words` | the index of words, in a file of its own |
//! | `export` | all rows, for another database |
//! | `readers`, `read_tasks`, `read_events`, `read_state`, `read_history` | the statements of reads |

mod attempts;
mod blobs;
mod children;
mod claims;
mod connection;
mod dependencies;
mod elsewhere;
mod export;
mod files;
mod handovers;
mod high_water_mark;
mod hooks;
mod keys;
mod limits;
mod money;
mod preflight;
mod query;
mod races;
mod read_conversations;
mod read_events;
mod read_history;
mod read_state;
mod read_tasks;
mod readers;
mod reserve;
mod retention;
mod rules;
mod schedules;
mod schema;
mod secrets;
mod shares;
mod table;
mod talk;
mod tasks;
mod touches;
mod tx;
mod words;
mod workers;

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use rusqlite::Connection;

pub use self::blobs::Folder;
use self::elsewhere::Elsewhere;
pub use self::export::Export;
use self::query::Db;
use self::readers::Readers;
use self::reserve::Reserve;
use self::tx::SqliteTx;
use self::words::Words;
use super::views::{EventPage, Poll, Polled, ReadEvents};
use super::{Blobs, Leadership, Reader, Store, StoreError, Tx, WordIndex, Writes};
use crate::process::{self, end_stopped_holder};
use domain::TaskId;

/// Longest wait of a transaction for another process's. Ours take milliseconds; longer means that something else holds
/// the database.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// Shortest pause between two tries to begin.
const SHORTEST_PAUSE: Duration = Duration::from_millis(1);
/// The longest pause between two tries.
const LONGEST_PAUSE: Duration = Duration::from_millis(8);
/// The byte that a writer has locked, <https://sqlite.org/walformat.html#locks>.
const WRITE_LOCK: u64 = 120;
/// Readers beside the writer: as many as requests are answered at a time on a small machine.
const READERS: usize = 4;
/// A disk that takes longer than this to write some bytes hangs.
const DISK_LIMIT: Duration = Duration::from_secs(30);

/// A database that is open.
pub struct SqliteStore {
    path: PathBuf,
    /// Connection; used by one transaction at a time, `None` when it is closed.
    db: Mutex<Option<Connection>>,
    readers: Arc<Readers>,
    /// The index of words, once it was asked for.
    words: OnceLock<Arc<Words>>,
    reserve: Reserve,
    /// The file that was opened: its name may come to mean another one.
    file: FileId,
    /// Bytes in use, as they were last counted, and the maximum number of them.
    used: AtomicU64,
    most: AtomicU64,
    /// The high-water mark that was written last.
    mark: AtomicI64,
    /// The commits of other processes.
    elsewhere: Elsewhere,
}

/// Device and inode of a file.
#[derive(PartialEq, Eq)]
struct FileId(u64, u64);

impl FileId {
    fn of(path: &Path) -> std::io::Result<Self> {
        let found = std::fs::metadata(path)?;
        Ok(Self(found.dev(), found.ino()))
    }
}

/// Makes the database's file where it isn't there, and closes it and those beside it to others. What SQLite makes later
/// gets the mode of the database.
fn close_files(path: &Path) -> Result<(), StoreError> {
    let beside = |end: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    };
    let all = ["-wal", "-shm", "-mark", "-reserve"].map(beside);
    process::close_to_others(path, true)
        .and_then(|()| all.iter().try_for_each(|file| process::close_to_others(file, false)))
        .map_err(|source| StoreError::NotWritable { path: path.to_owned(), source: Arc::new(source) })
}

impl SqliteStore {
    /// Opens the database, makes it where it isn't there, and brings its schema up to date.
    pub async fn open(path: &Path, accept_loss: bool) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        process::make_private_folder(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source: Arc::new(source) })?;
        preflight::check(path, accept_loss)?;
        close_files(path)?;
        schema::migrate(path).await?;
        let db = connection::writing(path)?;
        let file = FileId::of(path)
            .map_err(|source| StoreError::NotWritable { path: path.to_owned(), source: Arc::new(source) })?;
        let store = Self {
            path: path.to_owned(),
            db: Mutex::new(Some(db)),
            readers: Arc::new(Readers::open(path, READERS, false)?),
            words: OnceLock::new(),
            reserve: Reserve::of(path),
            file,
            used: AtomicU64::new(0),
            most: AtomicU64::new(u64::MAX),
            mark: AtomicI64::new(0),
            elsewhere: Elsewhere::new(path),
        };
        store.advance_mark(store.newest_commit().await?).await;
        Ok(store)
    }

    fn db(&self) -> MutexGuard<'_, Option<Connection>> {
        self.db.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads in this thread, on the connection that writes: what it has just written is at hand there, and an answer
    /// that takes microseconds is not worth a hop to another thread.
    fn read_here<T>(&self, read: impl FnOnce(Db<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        read(Db(self.db().as_ref().ok_or(StoreError::Closed)?))
    }

    /// Checks that the database's file still has its name: what is written to a file without one is lost with the
    /// process.
    fn check_file(&self) -> Result<(), StoreError> {
        match FileId::of(&self.path) {
            Ok(found) if found == self.file => Ok(()),
            _ => Err(StoreError::Replaced { path: self.path.clone() }),
        }
    }

    /// Moves the high-water mark ahead to what the database has. What is read is committed, so it is on the disk: the
    /// mark is never ahead. A mark that can't be written is reported, and no more: it guards against a loss, it
    /// doesn't cause one.
    async fn advance_mark(&self, newest: i64) {
        if newest <= self.mark.load(Ordering::Relaxed) {
            return;
        }
        let path = self.path.clone();
        let written = process::blocking(DISK_LIMIT, move || high_water_mark::write(&path, newest)).await;
        match written.and_then(|written| written) {
            Ok(()) => self.mark.store(newest, Ordering::Relaxed),
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "The high-water mark can't be written");
            }
        }
    }

    async fn newest_commit(&self) -> Result<i64, StoreError> {
        self.readers.run(read_history::newest_commit).await
    }

    /// Begins a transaction, if no other process writes.
    fn try_begin(&self) -> Result<SqliteTx<'_>, StoreError> {
        self.check_file()?;
        SqliteTx::begin(self.db(), &self.elsewhere)
    }
}

#[async_trait(?Send)]
impl Writes for SqliteStore {
    async fn begin(&self) -> Result<Box<dyn Tx + '_>, StoreError> {
        fail::fail_point!("store-commit", |_| {
            tracing::warn!("a failpoint fired");
            Err(StoreError::statement(std::io::Error::other("a failpoint")))
        });
        let until = Instant::now() + BUSY_LIMIT;
        let mut pause = SHORTEST_PAUSE;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            match self.try_begin() {
                Ok(tx) => return Ok(Box::new(tx)),
                Err(StoreError::Locked) if !left.is_zero() => {}
                Err(error) => return Err(error),
            }
            // Who has waited for long looks more often than who has come late.
            let longest = LONGEST_PAUSE.mul_f64(left.div_duration_f64(BUSY_LIMIT));
            tokio::time::sleep(pause.min(longest).max(SHORTEST_PAUSE)).await;
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    fn shortage(&self) -> Option<StoreError> {
        if self.reserve.is_spent() {
            return Some(StoreError::Full);
        }
        let (used, most) = (self.used.load(Ordering::Relaxed), self.most.load(Ordering::Relaxed));
        (used >= most).then_some(StoreError::Quota { used, most })
    }

    fn relieve(&self, failure: &StoreError) -> bool {
        match failure {
            StoreError::Full => self.reserve.spend(),
            StoreError::Locked => {
                let mut locks = self.path.as_os_str().to_owned();
                locks.push("-shm");
                end_stopped_holder(Path::new(&locks), WRITE_LOCK)
            }
            _ => false,
        }
    }

    fn probe(&self) -> Result<(), StoreError> {
        if self.reserve.is_spent() {
            return Err(StoreError::Full);
        }
        // Dropped, it is rolled back.
        self.try_begin().map(drop)
    }

    async fn changed_elsewhere(&self) -> Result<bool, StoreError> {
        let version = || self.read_here(|db| db.one("PRAGMA data_version", [], |row| row.get(0)));
        self.elsewhere.changed(|| Ok(version()?.unwrap_or(0))).await
    }

    async fn poll(&self, poll: &Poll<'_>) -> Result<Polled, StoreError> {
        self.read_here(|db| read_state::poll(db, poll))
    }

    async fn has_ended(&self, task: TaskId) -> Result<bool, StoreError> {
        self.read_here(|db| read_state::has_ended(db, task))
    }

    async fn few_events(&self, read: &ReadEvents) -> Result<Option<EventPage>, StoreError> {
        self.read_here(|db| read_events::few(db, read))
    }
}

#[async_trait]
impl Store for SqliteStore {
    fn reader(&self) -> Reader {
        Arc::<Readers>::clone(&self.readers)
    }

    fn word_index(&self) -> Result<Arc<dyn WordIndex>, StoreError> {
        let words = match self.words.get() {
            Some(words) => words,
            None => {
                let opened = Words::open(&self.path)?;
                self.words.get_or_init(|| Arc::new(opened))
            }
        };
        Ok(Arc::<Words>::clone(words))
    }

    fn blobs(&self) -> Arc<dyn Blobs> {
        Arc::new(Folder::beside(&self.path))
    }

    fn limit_size(&self, bytes: Option<u64>) {
        self.most.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    async fn keep_up(&self) -> Result<(), StoreError> {
        let read = |db: Db<'_>| Ok((read_state::bytes_in_use(db)?, read_history::newest_commit(db)?));
        let (used, newest) = self.readers.run(read).await?;
        self.used.store(used, Ordering::Relaxed);
        let reserve = self.reserve.clone();
        if let Err(error) = process::blocking(DISK_LIMIT, move || reserve.refill()).await {
            tracing::debug!(%error, "the reserve stays as it was");
        }
        self.advance_mark(newest).await;
        Ok(())
    }

    fn spans_machines(&self) -> bool {
        false
    }

    fn stand(&self) -> Leadership {
        Leadership::of_each()
    }

    fn resign(&self) {}

    async fn close(&self) {
        match self.newest_commit().await {
            Ok(newest) => self.advance_mark(newest).await,
            Err(error) => tracing::debug!(%error, "the mark stays where it was"),
        }
        let (readers, words) = (Arc::clone(&self.readers), self.words.get().cloned());
        let close = move || {
            readers.close();
            words.iter().for_each(|words| words.close());
        };
        if let Err(error) = process::blocking(DISK_LIMIT, close).await {
            tracing::debug!(%error, "the readers did not close");
        }
        // The last one folds the WAL in.
        *self.db() = None;
    }
}

/// Opens a database only to read it, beside the processes that use it.
pub async fn open_read_only(path: &Path) -> Result<Reader, StoreError> {
    Ok(Arc::new(open_reader(path).await?))
}

/// Opens a database to read it as it is at one moment.
pub async fn open_snapshot(path: &Path) -> Result<Reader, StoreError> {
    let readers = open_reader(path).await?;
    // It has one connection; its first read decides which moment that is, and its end ends the transaction.
    readers.run(|db| db.execute("BEGIN", []).map(drop)).await?;
    Ok(Arc::new(readers))
}

async fn open_reader(path: &Path) -> Result<Readers, StoreError> {
    if !path.exists() {
        return Err(StoreError::Missing { path: path.to_owned() });
    }
    let readers = Readers::open(path, 1, true)?;
    let other = path.to_owned();
    let applied = readers.run(schema::applied).await.map_err(|error| match error {
        StoreError::Statement(source) => StoreError::Open { path: other, source },
        error => error,
    })?;
    if applied.unwrap_or_default() != schema::steps() {
        return Err(StoreError::OtherVersion { path: path.to_owned() });
    }
    Ok(readers)
}

/// Finds out whether a database may be used. Changes nothing.
pub async fn check(path: &Path) -> Result<(), StoreError> {
    preflight::check(path, false)
}

/// Number of bytes that the disk of a database has left, and whether new tasks would be accepted there.
pub fn room(path: &Path) -> std::io::Result<(u64, bool)> {
    Reserve::room(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::conformance::{Open, exercise, insert, task};
    use crate::store::rows::ClaimRow;
    use domain::{Failure, FailureClass, Timestamp, WorkerInstanceId};
    use wire::TaskError;

    /// A database in a temporary folder.
    struct Scratch(PathBuf);

    impl Open for Scratch {
        async fn open(&self) -> Arc<dyn Store> {
            crate::store::open_file(&self.0.join("cc.db"), false).await.expect("a store")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap_or_default();
        }
    }

    #[actix::test]
    async fn sqlite_keeps_the_promises_of_an_engine() {
        let fresh = || Scratch(std::env::temp_dir().join(format!("cca-sqlite-{}", uuid::Uuid::new_v4().simple())));
        Box::pin(exercise(fresh)).await;
    }

    #[actix::test]
    async fn a_task_whose_key_can_t_be_read_is_claimed_and_set_apart_and_removed_like_any_other() {
        let scratch = Scratch(std::env::temp_dir().join(format!("cca-sqlite-{}", uuid::Uuid::new_v4().simple())));
        let store = scratch.open().await;
        let (bad, good) = (task(1), task(2));
        insert(&*store, &[bad.clone(), good.clone()]).await;
        let other = Connection::open(scratch.0.join("cc.db")).expect("it");
        other.execute("UPDATE tasks SET key_name = x'ff' WHERE id = ?1", [bad.id.as_bytes()]).expect("written");
        let mut tx = store.begin().await.expect("a transaction");
        let ids = [bad.id, good.id];
        let claim = ClaimRow {
            holder: WorkerInstanceId::new(),
            worker: "w",
            expires: tx.clock().lease,
            now: Timestamp(5),
            tasks: &ids,
        };
        let claimed = tx.claim(&claim).await.expect("claimed");
        assert_eq!(claimed.iter().map(Result::is_ok).collect::<Vec<_>>(), [false, true]);
        let error = TaskError::from(&Failure::new(FailureClass::Invalid, "UNREADABLE", "x"));
        tx.fail_unread(bad.id, &error).await.expect("set apart");
        tx.remove_task(bad.id).await.expect("removed");
        tx.commit().await.expect("committed");
        let counts = store.reader().stats(Some("default".to_owned())).await.expect("counts").counts;
        assert_eq!(counts.iter().sum::<i64>(), 2, "it was counted under its key before");
    }
}
