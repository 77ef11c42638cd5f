//! Batches of nothing but inserts, which is what submits are: plain SQLite on a connection of its own,
//! in the thread of whoever commits.
//!
//! Under load a submit costs its hops between threads, not its statements. The other connections
//! belong to threads of their own, two hops away; this one has none. It takes no part in anything
//! that reads first, and where somebody else holds the database it leaves the batch to those who can
//! wait without holding up a thread.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rusqlite::types::{Null, ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, TransactionBehavior, params_from_iter};
use sea_orm::{DbErr, Value};

use super::StoreError;
use super::insert::Target;

/// Another process's commit takes less; whoever holds the lock for longer is waited for elsewhere.
const BUSY_TIMEOUT: Duration = Duration::from_millis(20);

/// The connection. Clones share it.
#[derive(Clone)]
pub struct Quick(Arc<Mutex<Option<Connection>>>);

impl Quick {
    /// A connection to a database that is open and in WAL mode. `wal_pages` is when the WAL is folded in.
    pub fn open(path: &Path, wal_pages: &str) -> Result<Self, StoreError> {
        let db = Connection::open(path).map_err(failed)?;
        db.busy_timeout(BUSY_TIMEOUT).map_err(failed)?;
        // As durable as the other writing connection.
        let settings =
            format!("PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = {wal_pages};");
        db.execute_batch(&settings).map_err(failed)?;
        Ok(Self(Arc::new(Mutex::new(Some(db)))))
    }

    /// Closes it. What comes later is left to others.
    pub fn close(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// Inserts rows of several tables, whose values stand one after the other, in a transaction of its own.
    /// False where somebody else holds the database: then nothing was done.
    pub fn insert(&self, tables: &[(&Target, Vec<Value>)]) -> Result<bool, StoreError> {
        let mut db = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(db) = db.as_mut() else { return Ok(false) };
        match insert(db, tables) {
            Ok(()) => Ok(true),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(false),
            Err(error) => Err(failed(error)),
        }
    }
}

fn insert(db: &mut Connection, tables: &[(&Target, Vec<Value>)]) -> rusqlite::Result<()> {
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for (to, values) in tables.iter().filter(|(_, values)| !values.is_empty()) {
        let mut insert = tx.prepare_cached(&to.row_text())?;
        for row in values.chunks_exact(to.width) {
            insert.execute(params_from_iter(row.iter().map(Bound)))?;
        }
    }
    tx.commit()
}

fn failed(error: rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => StoreError::Full,
        Some(ErrorCode::DatabaseBusy) => StoreError::Locked,
        _ => DbErr::Custom(error.to_string()).into(),
    }
}

/// A value, as the other connections would bind it.
struct Bound<'a>(&'a Value);

impl rusqlite::ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Bool(Some(value)) => i64::from(*value).into(),
            Value::Int(Some(value)) => i64::from(*value).into(),
            Value::BigInt(Some(value)) => (*value).into(),
            Value::Double(Some(value)) => (*value).into(),
            Value::String(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Text(value.as_bytes())),
            Value::Bytes(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value)),
            Value::Uuid(Some(value)) => ToSqlOutput::Borrowed(ValueRef::Blob(value.as_bytes())),
            Value::Bool(None)
            | Value::Int(None)
            | Value::BigInt(None)
            | Value::Double(None)
            | Value::String(None)
            | Value::Bytes(None)
            | Value::Uuid(None) => Null.into(),
            other => {
                return Err(rusqlite::Error::ToSqlConversionFailure(format!("{other:?} is no value of ours").into()));
            }
        })
    }
}
