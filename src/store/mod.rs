//! The store: what is kept, behind a border that each engine implements.
//!
//! *Owns* the database: nothing else opens it, and statements stand in the folder of their engine only. *Talks to*
//! the database. *Promises* what [`tx`] lists, to commands that contain no SQL and no driver's name; reads run beside
//! the commits. Keeps no rules: what may happen to a task is decided in `domain`, and written by `queue::commands`.
//!
//! | file | |
//! | --- | --- |
//! | `tx` | what a transaction can do, a trait for each group of tables |
//! | `reads` | what can be read beside it |
//! | `rows`, `tables` | rows without drivers' types |
//! | `views` | what reads are asked, and what they answer |
//! | `convert`, `summary` | between rows and the domain |
//! | `columns`, `families` | columns of tables, and expressions on budgets, which are the same for every engine |
//! | `error` | why it did not do what was asked |
//! | `transfer` | all rows, moved from one engine to the other |
//! | `blobs` | the contents of files, beside the tables |
//! | `word_index` | which events have which words |
//! | `leadership` | which process does what one alone should do |
//! | `sqlite` | the engine for one machine |
//! | `postgres` | the engine for many |
//! | `conformance` | the tests that every engine passes |
//!
//! Decided against: one set of statements for all engines, through a query builder. What makes a claim fast differs
//! from engine to engine; what a claim means does not.

pub mod blobs;
mod columns;
#[cfg(test)]
mod conformance;
pub mod convert;
pub mod error;
mod families;
mod leadership;
mod postgres;
pub mod reads;
pub mod rows;
mod sqlite;
mod summary;
mod tables;
#[cfg(test)]
pub mod test_server;
mod transfer;
pub mod tx;
pub mod views;
pub mod word_index;

use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;

pub use self::blobs::Blobs;
pub use self::error::StoreError;
pub use self::leadership::Leadership;
pub use self::reads::{Reader, Reads};
pub use self::transfer::move_to;
pub use self::tx::Tx;
use self::views::{EventPage, Poll, Polled, ReadEvents};
pub use self::word_index::WordIndex;
use crate::config;
use crate::process;
use domain::TaskId;

/// What the commands of a transaction will ask.
#[derive(Clone, Copy, Debug, Default)]
pub struct About<'a> {
    /// Tasks that they are about.
    pub tasks: &'a [TaskId],
    /// True if they store new tasks: then the number of those that wait matters, and how shares take turns.
    pub submits: bool,
}

/// The part of the store that its one owner has.
#[async_trait(?Send)]
pub trait Writes: Send + Sync {
    /// Begins a transaction; waits for its turn among the processes that write.
    ///
    /// # Errors
    /// The database can't be written: [`StoreError::Locked`] where another process writes for too long.
    async fn begin(&self) -> Result<Box<dyn Tx + '_>, StoreError>;

    /// Begins a transaction about this, which an engine may read together, and at once.
    ///
    /// # Errors
    /// Those of [`begin`](Self::begin).
    async fn begin_for(&self, _about: About<'_>) -> Result<Box<dyn Tx + '_>, StoreError> {
        self.begin().await
    }

    /// Returns the reason for which only what brings tasks to their end is stored: the disk is full, or the database has
    /// reached its size.
    fn shortage(&self) -> Option<StoreError>;

    /// Tries to cure the cause of a failed commit. Returns true if the same may succeed now.
    fn relieve(&self, failure: &StoreError) -> bool;

    /// Finds out whether a transaction could begin now. Writes nothing.
    ///
    /// # Errors
    /// Why it could not.
    fn probe(&self) -> Result<(), StoreError>;

    /// True if another process has written since the last call; may wait for that, up to some seconds.
    ///
    /// # Errors
    /// The database can't be read.
    async fn changed_elsewhere(&self) -> Result<bool, StoreError>;

    /// True if what another process has written since the last call may concern workers: more to claim, or something to tell
    /// a task. An engine that can't tell says so.
    fn has_news_for_workers(&self) -> bool {
        true
    }

    /// Notes whether anybody in this process follows events, which an engine may have to look for.
    fn note_followers(&self, _are_there: bool) {}

    /// Returns what a worker should know. Claims nothing.
    ///
    /// # Errors
    /// The database can't be read.
    async fn poll(&self, poll: &Poll<'_>) -> Result<Polled, StoreError>;

    /// True if a task has ended, or is not there.
    ///
    /// # Errors
    /// The database can't be read.
    async fn has_ended(&self, task: TaskId) -> Result<bool, StoreError>;

    /// Returns the events of a task where there are but a few behind the last that was seen: what a follower reads
    /// after each commit. `None` where there are many, which [`Reads::events`] should read.
    ///
    /// # Errors
    /// The database can't be read.
    async fn few_events(&self, read: &ReadEvents) -> Result<Option<EventPage>, StoreError>;
}

/// A store that is open.
#[async_trait]
pub trait Store: Writes {
    /// Returns a handle to the connections that read.
    fn reader(&self) -> Reader;

    /// Opens the index of words.
    ///
    /// # Errors
    /// It can't be made.
    fn word_index(&self) -> Result<Arc<dyn WordIndex>, StoreError>;

    /// Returns the contents of files.
    fn blobs(&self) -> Arc<dyn Blobs>;

    /// Limits the size of the database to this number of bytes.
    fn limit_size(&self, bytes: Option<u64>);

    /// Keeps up what the engine has beside its tables; called about once a second.
    ///
    /// # Errors
    /// The database can't be read.
    async fn keep_up(&self) -> Result<(), StoreError>;

    /// True if processes of other machines may use it.
    fn spans_machines(&self) -> bool;

    /// Makes this process one of those that may lead. It must have all duties of a leader.
    fn stand(&self) -> Leadership;

    /// Leaves them to another process, for good.
    fn resign(&self);

    /// Waits until nothing uses the database, and closes it. What comes later is refused.
    async fn close(&self);
}

/// Opens the database of these settings, makes its schema where it isn't there, and brings it up to date. A file that has
/// lost what it had is opened only where the settings say so.
///
/// # Errors
/// It can't be opened, or must not be used. A server that can't be reached is no error: it is tried again.
pub async fn open(settings: &config::Store) -> Result<Arc<dyn Store>, StoreError> {
    match &settings.server {
        Some(server) => {
            let folder = &settings.data_dir;
            process::make_private_folder(folder)
                .map_err(|source| StoreError::Folder { path: folder.clone(), source: Arc::new(source) })?;
            Ok(Arc::new(postgres::PostgresStore::open(server).await?))
        }
        None => open_file(&settings.db_path, settings.accept_loss).await,
    }
}

/// Opens a database in a file.
///
/// # Errors
/// It can't be opened, or must not be used.
pub async fn open_file(path: &Path, accept_loss: bool) -> Result<Arc<dyn Store>, StoreError> {
    Ok(Arc::new(sqlite::SqliteStore::open(path, accept_loss).await?))
}

/// The folder with the contents of files of a database in a file.
#[must_use]
pub fn folder_of_files(database: &Path) -> std::path::PathBuf {
    sqlite::Folder::beside(database).path().to_owned()
}

/// Opens a database only to read it, beside the processes that use it.
///
/// # Errors
/// There is none, or it is from another version.
pub async fn open_read_only(settings: &config::Store) -> Result<Reader, StoreError> {
    match &settings.server {
        Some(server) => postgres::open_read_only(server).await,
        None => sqlite::open_read_only(&settings.db_path).await,
    }
}

/// Opens a database to read all of it as it is at one moment, beside the processes that use it.
///
/// # Errors
/// There is none, or it is from another version.
pub async fn open_snapshot(settings: &config::Store) -> Result<Reader, StoreError> {
    match &settings.server {
        Some(server) => postgres::open_snapshot(server).await,
        None => sqlite::open_snapshot(&settings.db_path).await,
    }
}

/// Finds out whether a database may be used. Changes nothing. Returns where it is.
///
/// # Errors
/// It must not be used, and why.
pub async fn check(settings: &config::Store) -> Result<String, StoreError> {
    match &settings.server {
        Some(server) => postgres::check(server).await,
        None => sqlite::check(&settings.db_path).await.map(|()| settings.db_path.display().to_string()),
    }
}

/// Number of bytes that the disk of a database has left, and whether new tasks would be accepted there.
///
/// # Errors
/// The system's.
pub fn room(path: &Path) -> std::io::Result<(u64, bool)> {
    sqlite::room(path)
}
