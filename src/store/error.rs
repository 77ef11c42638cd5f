//! Errors of the store.

use std::path::PathBuf;
use std::sync::Arc;

use uuid::Uuid;

/// Cause of a failure, with its own causes.
pub type Cause = Arc<dyn std::error::Error + Send + Sync>;

/// The database failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The database can't be opened.
    #[error("can't open the database {path}")]
    Open {
        /// The database file.
        path: PathBuf,
        /// Error of the driver.
        #[source]
        source: Cause,
    },
    /// The folder can't be made.
    #[error("can't make the data folder {path}; set DB_PATH to a file in a folder that this user may write")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The database is from a newer version of this program.
    #[error(
        "the database {path} was made by a newer version of this program: install that version, or use another DB_PATH"
    )]
    TooNew {
        /// The database file.
        path: PathBuf,
    },
    /// The schema is not that of this version.
    #[error("the database {path} was made by another version of this program: start the server of this version once")]
    OtherVersion {
        /// The database file.
        path: PathBuf,
    },
    /// Another process uses the database.
    #[error("the database {path} is in use: stop the server and its workers first")]
    InUse {
        /// The database file.
        path: PathBuf,
    },
    /// The disk is full.
    #[error("the disk of the database is full: free some space there")]
    Full,
    /// The database has reached the size that it may have.
    #[error(
        "the database has {used} bytes, and may have {most} (MAX_DATABASE_BYTES): remove old tasks (RETENTION_DAYS, cc-anywhere prune), or raise the limit"
    )]
    Quota {
        /// Bytes in use.
        used: u64,
        /// Maximum number of bytes.
        most: u64,
    },
    /// The file is another one than was opened.
    #[error("the database {path} was moved away or replaced while it was in use: put it back, or restart the server")]
    Replaced {
        /// Path of the database.
        path: PathBuf,
    },
    /// The server of the database can't be reached, or can't be written to.
    #[error("the database at {server} can't be reached")]
    Unavailable {
        /// Address of the server.
        server: Arc<str>,
        /// Error of the driver.
        #[source]
        source: Cause,
    },
    /// The database refuses who asks.
    #[error(
        "the database at {server} refuses: check the user, the password and the name of the database in DATABASE_URL"
    )]
    Refused {
        /// Address of the server.
        server: Arc<str>,
        /// Error of the driver.
        #[source]
        source: Cause,
    },
    /// A setting says what can't be used.
    #[error("{setting} {what}")]
    Setting {
        /// Name of the setting.
        setting: &'static str,
        /// What is wrong with it.
        what: String,
    },
    /// The schema on the server is not that of this version.
    #[error("the database at {server} {what}")]
    Schema {
        /// Address of the server.
        server: Arc<str>,
        /// What is wrong, and what helps.
        what: String,
    },
    /// The content of a file can't be read or written.
    #[error("can't use the content {path}")]
    Content {
        /// The file that holds it.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// This process has closed the database.
    #[error("the database is closed")]
    Closed,
    /// Another process holds the lock of the database.
    #[error("the database is locked by another process")]
    Locked,
    /// A statement failed.
    #[error("a statement failed")]
    Statement(#[source] Cause),
    /// The database is damaged, or the file is none at all.
    #[error("the database {path} is damaged ({what}): put a backup in its place, or use another DB_PATH")]
    Damaged {
        /// The database file.
        path: PathBuf,
        /// Finding.
        what: String,
    },
    /// The database may not be written.
    #[error("can't write to the database {path}: give this user the right to, or use another DB_PATH")]
    NotWritable {
        /// The database file.
        path: PathBuf,
        /// Error of the system.
        #[source]
        source: Arc<std::io::Error>,
    },
    /// The database has lost its newest changes.
    #[error(
        "the database {path} has lost its newest changes: it ends at change {newest} and had {mark}. Was its -wal file \
         removed, or an older copy put in its place? Put the right files back, or start once with ACCEPT_LOSS=on"
    )]
    Behind {
        /// The database file.
        path: PathBuf,
        /// Number of the newest commit that it has had.
        mark: i64,
        /// Number of the newest commit that it has now.
        newest: i64,
    },
    /// The database is on another machine.
    #[error("the database {path} is on a network file system ({kind}), where SQLite loses data: use a local DB_PATH")]
    Network {
        /// The database file.
        path: PathBuf,
        /// The kind of file system.
        kind: &'static str,
    },
    /// There is no database.
    #[error("there is no database {path}: set DB_PATH, or start the server once")]
    Missing {
        /// Expected path.
        path: PathBuf,
    },
    /// A row says what no version of this program writes, or can't be written.
    #[error("the {table} row {id} can't be read: {what}")]
    Row {
        /// The kind of row.
        table: &'static str,
        /// The id of the row.
        id: Uuid,
        /// Fault.
        what: String,
    },
}

impl StoreError {
    /// A failed statement.
    pub fn statement(source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Statement(Arc::new(source))
    }

    /// Error for a value that can't be written as JSON.
    pub fn unwritable(table: &'static str, id: Uuid, error: &serde_json::Error) -> Self {
        Self::Row { table, id, what: format!("it can't be written: {error}") }
    }
}
