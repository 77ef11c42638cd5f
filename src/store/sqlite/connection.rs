//! Connections to the database file, and what its driver's errors mean.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::store::StoreError;

/// Longest wait of a reader's statement for another process's transaction. Ours take milliseconds; longer means that
/// something else holds the database.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Statements that a connection keeps ready: some more than there are.
const STATEMENTS: usize = 128;
/// The WAL is copied into the database after this number of pages (16 MB): a page that many commits
/// touched, as the newest of an index is, is then copied once instead of often.
const WAL_PAGES: u32 = 4_000;

impl From<rusqlite::Error> for StoreError {
    fn from(source: rusqlite::Error) -> Self {
        match source.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            Some(ErrorCode::DatabaseBusy) => Self::Locked,
            _ => Self::Statement(Arc::new(source)),
        }
    }
}

/// Translates an error of opening a database.
pub fn open_error(path: &Path, source: rusqlite::Error) -> StoreError {
    let path = path.to_owned();
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { path, what: "SQLite can't read it".to_owned() }
        }
        _ => StoreError::Open { path, source: Arc::new(source) },
    }
}

/// Lets a connection prepare each statement once. SQLite looks at the values of some (`LIMIT ?`) when it plans them, and
/// then prepares them again with each new value.
fn keep_statements(db: &Connection) -> rusqlite::Result<()> {
    db.set_prepared_statement_cache_capacity(STATEMENTS);
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// The connection that writes, to a database that is there or will be made. It waits for no other process: who
/// uses it does.
pub fn writing(path: &Path) -> Result<Connection, StoreError> {
    let open = || {
        let db = Connection::open(path)?;
        db.busy_timeout(Duration::ZERO)?;
        keep_statements(&db)?;
        // An acknowledged task survives a power cut; group commit pays for it. What a statement of many rows keeps for
        // its own undoing would cost a third of the commit in a file of its own.
        db.execute_batch(&format!(
            "PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;
            PRAGMA wal_autocheckpoint = {WAL_PAGES};"
        ))?;
        // A transaction counts tasks itself.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_TRIGGER, false)?;
        Ok(db)
    };
    open().map_err(|source| open_error(path, source))
}

/// Adds `has_word(spec, result, word)`: true if the word stands in the instruction of a request or in a result. Upper and
/// lower case are the same, which SQLite itself knows of ASCII only; a request that can't be read has no words.
fn add_functions(db: &Connection) -> rusqlite::Result<()> {
    #[derive(serde::Deserialize)]
    struct Request {
        instruction: String,
    }
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    db.create_scalar_function("has_word", 3, flags, |call| {
        let text = |at: usize| call.get_raw(at).as_str().unwrap_or_default();
        let word = text(2).to_lowercase();
        let has = |text: &str| text.to_lowercase().contains(&word);
        let instruction = || serde_json::from_str::<Request>(text(0)).map(|request| request.instruction);
        Ok(has(text(1)) || instruction().is_ok_and(|instruction| has(&instruction)))
    })
}

/// A connection that reads a database that is there. A read-only one also reads a copy that was never opened before.
pub fn reading(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let access = if read_only { OpenFlags::SQLITE_OPEN_READ_ONLY } else { OpenFlags::SQLITE_OPEN_READ_WRITE };
    let open = || {
        let db = Connection::open_with_flags(path, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        db.busy_timeout(BUSY_TIMEOUT)?;
        keep_statements(&db)?;
        db.execute_batch("PRAGMA temp_store = MEMORY;")?;
        add_functions(&db)?;
        Ok(db)
    };
    open().map_err(|source| open_error(path, source))
}

#[cfg(test)]
mod tests {
    use rusqlite::StatementStatus;

    use super::*;

    #[test]
    fn a_statement_is_not_prepared_again_for_other_values() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cc.db");
        let of_writer = writing(&file).expect("a connection");
        of_writer.execute_batch("CREATE TABLE numbers (n INTEGER)").expect("a table");
        for db in [of_writer, reading(&file, false).expect("a connection")] {
            let mut limited = db.prepare("SELECT n FROM numbers WHERE n > ? LIMIT ?").expect("a statement");
            for limit in 1..5 {
                limited.exists([limit, limit]).expect("a result");
            }
            assert_eq!(limited.get_status(StatementStatus::RePrepare), 0);
        }
    }
}
