//! An immediate transaction on the connection that writes.

use std::sync::MutexGuard;

use async_trait::async_trait;
use rusqlite::Connection;

use super::query::Db;
use crate::process::{boot_now, wall_now};
use crate::store::StoreError;
use crate::store::rows::Clock;
use crate::store::tx::{History, Tx};

/// A transaction. Immediate: one that reads first and then writes could not wait for others.
pub struct SqliteTx<'a> {
    db: MutexGuard<'a, Option<Connection>>,
    clock: Clock,
    is_open: bool,
}

impl<'a> SqliteTx<'a> {
    /// Begins a transaction.
    pub fn begin(db: MutexGuard<'a, Option<Connection>>) -> Result<Self, StoreError> {
        Db(db.as_ref().ok_or(StoreError::Closed)?).execute("BEGIN IMMEDIATE", [])?;
        let clock = Clock { wall: wall_now(), lease: boot_now() };
        Ok(Self { db, clock, is_open: true })
    }

    /// The connection.
    pub fn db(&self) -> Result<Db<'_>, StoreError> {
        self.db.as_ref().map(Db).ok_or(StoreError::Closed)
    }

    /// The number of the row that was inserted last.
    pub fn last_inserted(&self) -> Result<i64, StoreError> {
        Ok(self.db()?.0.last_insert_rowid())
    }

    fn roll_back(&mut self) -> Result<(), StoreError> {
        self.is_open = false;
        let db = self.db()?;
        // SQLite ends a transaction by itself where the disk is full.
        if !db.0.is_autocommit() {
            db.execute("ROLLBACK", [])?;
        }
        Ok(())
    }
}

impl Drop for SqliteTx<'_> {
    fn drop(&mut self) {
        if self.is_open
            && let Err(error) = self.roll_back()
        {
            tracing::error!(error = crate::telemetry::chain(&error), "A transaction could not be rolled back");
        }
    }
}

#[async_trait(?Send)]
impl Tx for SqliteTx<'_> {
    fn clock(&self) -> Clock {
        self.clock
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        self.db()?.execute("SAVEPOINT mark", [])?;
        Ok(())
    }

    async fn end_savepoint(&mut self, undo: bool) -> Result<(), StoreError> {
        if undo {
            self.db()?.execute("ROLLBACK TO mark", [])?;
        }
        self.db()?.execute("RELEASE mark", [])?;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<(), StoreError> {
        self.db()?.execute("COMMIT", [])?;
        self.is_open = false;
        Ok(())
    }
}

#[async_trait(?Send)]
impl History for SqliteTx<'_> {
    async fn append_history(&mut self, done: &str) -> Result<(), StoreError> {
        let Clock { wall, lease } = self.clock;
        let text = "INSERT INTO history (at, boot_ms, done) VALUES (?1, ?2, ?3)";
        self.db()?.execute(text, rusqlite::params![wall.0, lease.ms, done])?;
        Ok(())
    }
}
