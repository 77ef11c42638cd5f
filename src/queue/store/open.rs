//! Opens the database, and makes its schema.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::{ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbErr};

use super::{Reader, Watcher, Writer};

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
    /// A statement failed.
    #[error("a statement failed")]
    Statement(#[source] Arc<DbErr>),
    /// A row says what no version of this program writes.
    #[error("the row of task {task} can't be read: {what}")]
    Row {
        /// The task.
        task: crate::task::TaskId,
        /// What is wrong.
        what: String,
    },
}

impl From<DbErr> for StoreError {
    fn from(source: DbErr) -> Self {
        Self::Statement(Arc::new(source))
    }
}

/// An open database.
pub struct Store {
    /// The one connection that writes.
    pub writer: Writer,
    /// The ones that read.
    pub reader: Reader,
    /// One that only watches whether other processes have written.
    pub watcher: Watcher,
}

impl Store {
    /// Opens the database, makes it where it isn't there, and brings its schema up to date.
    ///
    /// # Errors
    /// It can't be opened, or is from a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        std::fs::create_dir_all(folder)
            .map_err(|source| StoreError::Folder { path: folder.to_owned(), source: Arc::new(source) })?;
        let open = |source| StoreError::Open { path: path.to_owned(), source: Arc::new(source) };
        let writer = connect(path, 1).await.map_err(open)?;
        migrate(path, &writer).await?;
        let readers = connect(path, READERS).await.map_err(open)?;
        let watcher = connect(path, 1).await.map_err(open)?;
        Ok(Self { writer: Writer::new(writer), reader: Reader::new(readers), watcher: Watcher::new(watcher) })
    }

    /// Waits until nothing uses it, and closes it.
    pub async fn close(&self) {
        for db in [self.reader.db(), self.watcher.db(), self.writer.db()] {
            if let Err(error) = db.close_by_ref().await {
                tracing::debug!(%error, "the database did not close");
            }
        }
    }
}

async fn connect(path: &Path, connections: u32) -> Result<DatabaseConnection, DbErr> {
    let mut options = ConnectOptions::new("sqlite::memory:");
    let file = path.to_owned();
    options.max_connections(connections).min_connections(1).sqlx_logging(false);
    // A file doesn't go away as a server does; asking whether it is there would double each hop.
    options.test_before_acquire(false);
    options.map_sqlx_sqlite_opts(move |options| {
        options
            .filename(&file)
            .in_memory(false)
            .shared_cache(false)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
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
    let known: Vec<String> = Migrator::migrations().iter().map(|step| step.name().to_owned()).collect();
    let mut tries = 0;
    loop {
        if let Some(applied) = applied(db).await.map_err(open)? {
            if applied.iter().any(|step| !known.contains(step)) {
                return Err(StoreError::TooNew { path: path.to_owned() });
            }
            if applied.len() == known.len() {
                return Ok(());
            }
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

/// The names of the steps that the database has; `None` where it is new.
async fn applied(db: &DatabaseConnection) -> Result<Option<Vec<String>>, DbErr> {
    let there = "SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'seaql_migrations'";
    if db.query_one_raw(super::row::sql(there, [])).await?.is_none() {
        return Ok(None);
    }
    let rows = db.query_all_raw(super::row::sql("SELECT version FROM seaql_migrations", [])).await?;
    rows.iter().map(|row| row.try_get_by_index(0)).collect::<Result<_, _>>().map(Some)
}
