//! Opens the database, and makes its schema.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr, RuntimeErr};

use super::mark::Mark;
use super::{Reader, Reserve, Writer, sound};

/// How long a statement waits for another process's transaction. Ours take milliseconds;
/// longer means that something else holds the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Readers beside the writer: as many as requests are answered at a time on a small machine.
const READERS: u32 = 4;
/// The WAL is copied into the database after so many pages (16 MB): a page that many commits
/// touched, as the newest of an index is, is then copied once instead of often.
const WAL_PAGES: &str = "4000";

/// The database failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// It can't be opened.
    #[error("can't open the database {path}")]
    Open {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<DbErr>,
    },
    /// Its folder can't be made.
    #[error("can't make the folder of the database {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It is from a newer version of this program.
    #[error(
        "the database {path} was made by a newer version of this program: install that version, or use another DB_PATH"
    )]
    TooNew {
        /// Its file.
        path: PathBuf,
    },
    /// Its schema is not that of this version.
    #[error("the database {path} was made by another version of this program: start the server of this version once")]
    OtherVersion {
        /// Its file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of the database is full: free some space there")]
    Full,
    /// Its file is another one than was opened.
    #[error("the database {path} was moved away or replaced while it was in use: put it back, or restart the server")]
    Replaced {
        /// Where it was.
        path: PathBuf,
    },
    /// This process has closed it.
    #[error("the database is closed")]
    Closed,
    /// Somebody else holds its lock.
    #[error("the database is locked by another process")]
    Locked,
    /// A statement failed.
    #[error("a statement failed")]
    Statement(#[source] Arc<DbErr>),
    /// It is damaged, or no database at all.
    #[error("the database {path} is damaged ({what}): put a backup in its place, or use another DB_PATH")]
    Damaged {
        /// Its file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// It may not be written.
    #[error("can't write to the database {path}: give this user the right to, or use another DB_PATH")]
    NotWritable {
        /// Its file.
        path: PathBuf,
        /// Why.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// It has lost what it had.
    #[error(
        "the database {path} has lost its newest changes: it ends at change {newest} and had {mark}. Was its -wal file \
         removed, or an older copy put in its place? Put the right files back, or start once with ACCEPT_LOSS=on"
    )]
    Behind {
        /// Its file.
        path: PathBuf,
        /// The newest commit in the history that it has had.
        mark: i64,
        /// The newest that it has now.
        newest: i64,
    },
    /// It is on another machine.
    #[error("the database {path} is on a network file system ({kind}), where SQLite loses data: use a local DB_PATH")]
    Network {
        /// Its file.
        path: PathBuf,
        /// What kind.
        kind: &'static str,
    },
    /// There is none.
    #[error("there is no database {path}: set DB_PATH, or start the server once")]
    Missing {
        /// Where it should be.
        path: PathBuf,
    },
    /// A row says what no version of this program writes.
    #[error("the row {task} can't be read: {what}")]
    Row {
        /// The task.
        task: crate::task::TaskId,
        /// What is wrong.
        what: String,
    },
}

impl StoreError {
    /// What is to be stored can't be written as JSON.
    pub(super) fn unwritable(task: crate::task::TaskId, error: &serde_json::Error) -> Self {
        Self::Row { task, what: format!("it can't be written: {error}") }
    }
}

impl From<DbErr> for StoreError {
    fn from(source: DbErr) -> Self {
        match code_of(&source).as_deref() {
            // SQLITE_FULL, SQLITE_BUSY
            Some("13") => Self::Full,
            Some("5") => Self::Locked,
            _ => Self::Statement(Arc::new(source)),
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => Self::Full,
            Some(rusqlite::ErrorCode::DatabaseBusy) => Self::Locked,
            _ => DbErr::Custom(source.to_string()).into(),
        }
    }
}

/// SQLite's result code, <https://sqlite.org/rescode.html>.
fn code_of(error: &DbErr) -> Option<String> {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))
    | DbErr::Conn(RuntimeErr::SqlxError(cause))) = error
    else {
        return None;
    };
    cause.as_database_error().and_then(|cause| cause.code()).map(|code| code.into_owned())
}

/// An open database.
pub struct Store {
    /// The one connection that writes.
    pub writer: Writer,
    /// The ones that read.
    pub reader: Reader,
    /// Its high-water mark.
    mark: Mark,
}

impl Store {
    /// Opens the database, makes it where it isn't there, and brings its schema up to date. One
    /// that is [behind its mark](super::mark) is opened only where the loss is accepted.
    ///
    /// # Errors
    /// It can't be opened, or must not be used.
    pub async fn open(path: &Path, accept_loss: bool) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source: Arc::new(source) })?;
        sound::look(path, accept_loss).await?;
        let open = |source| open_error(path, source);
        let schema = connect(path, 1, false).await.map_err(open)?;
        migrate(path, &schema).await?;
        schema.close().await.map_err(open)?;
        let writer = Writer::open(path, WAL_PAGES, Reserve::of(path))?;
        let readers = connect(path, READERS, false).await.map_err(open)?;
        let mut mark = Mark::of(path);
        let reader = Reader::new(readers);
        mark.advance(&reader).await?;
        Ok(Self { writer, reader, mark })
    }

    /// How many bytes the disk of a database has left, and whether new tasks would be accepted there.
    ///
    /// # Errors
    /// The system's.
    pub fn room(path: &Path) -> std::io::Result<(u64, bool)> {
        Reserve::room(path)
    }

    /// Says whether a database may be used, and changes nothing.
    ///
    /// # Errors
    /// It must not be used, and why.
    pub async fn check(path: &Path) -> Result<(), StoreError> {
        sound::look(path, false).await
    }

    /// Opens a database only to read it, beside whoever uses it.
    ///
    /// # Errors
    /// There is none, or it is from another version.
    pub async fn look(path: &Path) -> Result<Reader, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let db = connect(path, 1, true).await.map_err(|source| open_error(path, source))?;
        let applied = applied(&db).await.map_err(|source| open_error(path, source))?.unwrap_or_default();
        if applied != steps() {
            return Err(StoreError::OtherVersion { path: path.to_owned() });
        }
        Ok(Reader::new(db))
    }

    /// Its high-water mark, for another hand.
    #[must_use]
    pub fn mark(&self) -> Mark {
        self.mark.clone()
    }

    /// Waits until nothing uses it, and closes it.
    pub async fn close(&mut self) {
        if let Err(error) = self.mark.advance(&self.reader).await {
            tracing::debug!(%error, "the mark stays where it was");
        }
        if let Err(error) = self.reader.db().close_by_ref().await {
            tracing::debug!(%error, "the database did not close");
        }
        // The last one folds the WAL in.
        self.writer.close();
    }
}

pub(super) fn open_error(path: &Path, source: DbErr) -> StoreError {
    let path = path.to_owned();
    match code_of(&source).as_deref() {
        // SQLITE_CORRUPT, SQLITE_NOTADB
        Some("11" | "26") => StoreError::Damaged { path, what: "SQLite can't read it".to_owned() },
        _ => StoreError::Open { path, source: Arc::new(source) },
    }
}

pub(super) async fn connect(path: &Path, connections: u32, read_only: bool) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    let file = path.to_owned();
    options.max_connections(connections).min_connections(1).sqlx_logging(false);
    // A file doesn't go away as a server does; asking whether it is there would double each hop.
    options.test_before_acquire(false);
    options.map_sqlx_sqlite_opts(move |options| {
        // A copy is not in WAL mode until it is first written.
        let options = if read_only { options } else { options.journal_mode(SqliteJournalMode::Wal) };
        options
            .filename(&file)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(!read_only)
            .read_only(read_only)
            // An acknowledged task survives a power cut; group commit pays for it.
            .synchronous(SqliteSynchronous::Full)
            .pragma("wal_autocheckpoint", WAL_PAGES)
            // What a statement of many rows keeps for its own undoing. A file of its own for each
            // would cost a third of the commit.
            .pragma("temp_store", "memory")
            .busy_timeout(BUSY_TIMEOUT)
            .foreign_keys(true)
    });
    Database::connect(options).await
}

/// Brings the schema up to date. Several processes may start at once: the lock of the
/// database makes one of them first, and the others find nothing to do.
async fn migrate(path: &Path, db: &DatabaseConnection) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
    let known = steps();
    let mut tries = 0;
    loop {
        if applied(db).await.map_err(open)?.is_some_and(|applied| applied.len() == known.len()) {
            return Ok(());
        }
        match Migrator::up(db, None).await {
            Ok(()) => return Ok(()),
            // Another process was quicker, or holds the lock.
            Err(error) if tries < 20 => {
                tracing::debug!(%error, "the schema is being made by another process");
                tries += 1;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(open(error)),
        }
    }
}

/// The names of all steps that we know, in order.
pub(super) fn steps() -> Vec<String> {
    Migrator::migrations().iter().map(|step| step.name().to_owned()).collect()
}

/// The names of the steps that the database has; `None` where it is new.
pub(super) async fn applied(db: &DatabaseConnection) -> Result<Option<Vec<String>>, DbErr> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'";
    if db.query_one_raw(super::row::sql(there, [])).await?.is_none() {
        return Ok(None);
    }
    let rows = db.query_all_raw(super::row::sql("SELECT version FROM seaql_migrations", [])).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>().map(Some)
}
