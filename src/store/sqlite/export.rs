//! All rows of a database that nobody else uses.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::Connection;
use rusqlite::types::ValueRef;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::blobs::Folder;
use super::query::Db;
use super::schema;
use crate::store::StoreError;
use crate::store::transfer::Cell;

/// Longest wait for another process to let go of the database.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Bytes of rows that are passed on together, and the maximum number of them.
const CHUNK_BYTES: usize = 4 << 20;
/// See there.
const CHUNK_ROWS: usize = 2_000;
/// Chunks that are read ahead.
const AHEAD: usize = 2;
/// Files beside a database, which go with it.
const BESIDE: [&str; 4] = ["-wal", "-shm", "-mark", "-reserve"];

/// A database that is held by this process alone.
pub struct Export {
    path: PathBuf,
    db: Arc<Mutex<Connection>>,
}

impl Export {
    /// Takes a database for this process alone.
    ///
    /// # Errors
    /// There is none, another process uses it, or its schema is not that of this version.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        if !path.exists() {
            return Err(StoreError::Missing { path: path.to_owned() });
        }
        let open = || {
            let db = Connection::open(path)?;
            db.busy_timeout(BUSY_TIMEOUT)?;
            // Without a WAL the file has a lock for all of it, which nobody gets beside another connection.
            db.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
            db.pragma_update(None, "journal_mode", "DELETE")?;
            db.execute_batch("BEGIN EXCLUSIVE")?;
            Ok(db)
        };
        let db = open().map_err(|error: rusqlite::Error| match StoreError::from(error) {
            StoreError::Locked => StoreError::InUse { path: path.to_owned() },
            StoreError::Statement(source) => StoreError::Open { path: path.to_owned(), source },
            error => error,
        })?;
        if schema::applied(Db(&db))?.unwrap_or_default() != schema::steps() {
            return Err(StoreError::OtherVersion { path: path.to_owned() });
        }
        Ok(Self { path: path.to_owned(), db: Arc::new(Mutex::new(db)) })
    }

    /// The rows of a table, some at a time, read in a thread of its own.
    pub fn rows(&self, table: &'static str, columns: &[String]) -> Receiver<Result<Vec<Vec<Cell>>, StoreError>> {
        let (sender, chunks) = channel(AHEAD);
        let (db, columns) = (Arc::clone(&self.db), columns.to_vec());
        std::thread::spawn(move || {
            let db = db.lock().unwrap_or_else(PoisonError::into_inner);
            if let Err(error) = send(&db, table, &columns, &sender) {
                // Who has asked may have gone.
                sender.blocking_send(Err(error)).unwrap_or_default();
            }
        });
        chunks
    }

    /// The greatest number that each table has given to a row, where it remembers those of rows that are gone.
    ///
    /// # Errors
    /// The database can't be read.
    pub fn last_numbers(&self) -> Result<Vec<(String, i64)>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        Db(&db).all("SELECT name, seq FROM sqlite_sequence", [], |row| Ok((row.get(0)?, row.get(1)?)))
    }

    /// The contents of files.
    pub fn contents(&self) -> Folder {
        Folder::beside(&self.path)
    }

    /// Names of the columns of a table.
    #[cfg(test)]
    pub fn columns(&self, table: &str) -> Result<Vec<String>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        Db(&db).all("SELECT name FROM pragma_table_info(?1)", [table], |row| row.get(0))
    }

    /// Names of all tables.
    #[cfg(test)]
    pub fn tables(&self) -> Result<Vec<String>, StoreError> {
        let db = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        let text = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT IN ('seaql_migrations', 'sqlite_sequence')";
        Db(&db).all(text, [], |row| row.get(0))
    }

    /// Gives the database another name, so that no server goes on with it by mistake.
    ///
    /// # Errors
    /// The file can't be renamed.
    pub fn put_aside(self) -> Result<PathBuf, StoreError> {
        let Self { path, db } = self;
        drop(db);
        let named = |end: &str| {
            let mut name = path.as_os_str().to_owned();
            name.push(end);
            PathBuf::from(name)
        };
        let aside = named(".moved");
        std::fs::rename(&path, &aside)
            .map_err(|source| StoreError::NotWritable { path: path.clone(), source: Arc::new(source) })?;
        let (contents, aside_contents) = (Folder::beside(&path), Folder::beside(&aside));
        match std::fs::rename(contents.path(), aside_contents.path()) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                return Err(StoreError::NotWritable { path: contents.path().to_owned(), source: Arc::new(source) });
            }
            _ => {}
        }
        for end in BESIDE {
            // What is not there need not go.
            std::fs::remove_file(named(end)).unwrap_or_default();
        }
        Ok(aside)
    }
}

fn send(
    db: &Connection,
    table: &str,
    columns: &[String],
    to: &Sender<Result<Vec<Vec<Cell>>, StoreError>>,
) -> Result<(), StoreError> {
    let mut statement = db.prepare(&format!("SELECT {} FROM {table}", columns.join(", ")))?;
    let mut rows = statement.query([])?;
    let (mut chunk, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let row = (0..columns.len()).map(|at| row.get_ref(at).map(cell)).collect::<Result<Vec<_>, _>>()?;
        bytes += row.iter().map(Cell::size).sum::<usize>();
        chunk.push(row);
        if bytes >= CHUNK_BYTES || chunk.len() >= CHUNK_ROWS {
            if to.blocking_send(Ok(std::mem::take(&mut chunk))).is_err() {
                return Ok(());
            }
            bytes = 0;
        }
    }
    to.blocking_send(Ok(chunk)).unwrap_or_default();
    Ok(())
}

fn cell(value: ValueRef<'_>) -> Cell {
    match value {
        ValueRef::Null => Cell::Null,
        ValueRef::Integer(number) => Cell::Int(number),
        ValueRef::Real(number) => Cell::Float(number),
        ValueRef::Text(text) => Cell::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Cell::Blob(bytes.to_vec()),
    }
}
