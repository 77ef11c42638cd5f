//! An immediate transaction on the connection that writes.
//!
//! It counts tasks by key and status itself, and adds that to the table of counts with its end. Triggers do the same for
//! versions that don't; they cost each statement on a task a journal of its own, and are off on this connection.

use std::collections::{BTreeMap, HashMap};
use std::sync::MutexGuard;

use async_trait::async_trait;
use rusqlite::Connection;

use super::elsewhere::Elsewhere;
use super::query::Db;
use crate::process::{boot_now, wall_now};
use crate::store::StoreError;
use crate::store::rows::Clock;
use crate::store::tx::{History, Tx};
use domain::{Named as _, Status};

/// A transaction. Immediate: one that reads first and then writes could not wait for others.
pub struct SqliteTx<'a> {
    db: MutexGuard<'a, Option<Connection>>,
    clock: Clock,
    is_open: bool,
    elsewhere: &'a Elsewhere,
    /// Number of rows that the connection had changed before it.
    changes_before: u64,
    /// Pending tasks before it, where that was asked for.
    pending_before: Option<i64>,
    counts: Counts,
    /// True if there is any webhook, where that was asked for.
    any_webhooks: Option<bool>,
    /// Weights of the shares, where they were asked for: each submit asks.
    shares: Option<HashMap<String, i64>>,
    /// The counts at the last mark.
    mark: Option<Counts>,
}

/// Numbers of tasks that a transaction has added to each key and status.
type Counts = BTreeMap<(String, String), i64>;

const COUNT: &str = "INSERT INTO task_counts (key_name, status, count) VALUES (?1, ?2, ?3)
    ON CONFLICT (key_name, status) DO UPDATE SET count = count + excluded.count";

impl<'a> SqliteTx<'a> {
    /// Begins a transaction.
    pub fn begin(db: MutexGuard<'a, Option<Connection>>, elsewhere: &'a Elsewhere) -> Result<Self, StoreError> {
        let connection = db.as_ref().ok_or(StoreError::Closed)?;
        Db(connection).execute("BEGIN IMMEDIATE", [])?;
        let changes_before = connection.total_changes();
        let clock = Clock { wall: wall_now(), lease: boot_now() };
        Ok(Self {
            db,
            clock,
            is_open: true,
            elsewhere,
            changes_before,
            pending_before: None,
            counts: Counts::new(),
            any_webhooks: None,
            shares: None,
            mark: None,
        })
    }

    /// The connection.
    pub fn db(&self) -> Result<Db<'_>, StoreError> {
        self.db.as_ref().map(Db).ok_or(StoreError::Closed)
    }

    /// The number of the row that was inserted last.
    pub fn last_inserted(&self) -> Result<i64, StoreError> {
        Ok(self.db()?.0.last_insert_rowid())
    }

    /// Counts tasks of a key more or less in a status.
    pub fn count(&mut self, key: &str, status: &str, more: i64) {
        *self.counts.entry((key.to_owned(), status.to_owned())).or_default() += more;
    }

    /// Number of pending tasks that the transaction has added, to this key or to all.
    pub fn more_pending(&self, key: Option<&str>) -> i64 {
        let is_meant = |of: &str, status: &str| status == Status::Pending.name() && key.is_none_or(|key| key == of);
        self.counts.iter().filter(|((of, status), _)| is_meant(of, status)).map(|(_, more)| more).sum()
    }

    /// Number of pending tasks, with those of the transaction.
    pub fn pending_tasks(&mut self) -> Result<i64, StoreError> {
        let before = match self.pending_before {
            Some(before) => before,
            None => {
                let text = "SELECT SUM(count) FROM task_counts WHERE status = 'pending'";
                let found = self.db()?.one(text, [], |row| row.get::<_, Option<i64>>(0))?;
                *self.pending_before.insert(found.flatten().unwrap_or(0))
            }
        };
        Ok(before + self.more_pending(None))
    }

    /// True if there is any webhook, of a task or registered.
    pub fn any_webhooks(&mut self) -> Result<bool, StoreError> {
        if let Some(any) = self.any_webhooks {
            return Ok(any);
        }
        let any = self.db()?.any("SELECT 1 FROM webhooks LIMIT 1", [])?;
        Ok(*self.any_webhooks.insert(any))
    }

    /// Weights of the shares, to be kept as they are written.
    pub fn known_shares(&mut self) -> Result<&mut HashMap<String, i64>, StoreError> {
        let known = match self.shares.take() {
            Some(known) => known,
            None => {
                let read = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?));
                let known = self.db()?.readable("SELECT name, weight FROM shares", [], "share", read)?;
                known.into_iter().collect()
            }
        };
        Ok(self.shares.insert(known))
    }

    /// Shares have changed that are not known one by one.
    pub fn forget_shares(&mut self) {
        self.shares = None;
    }

    /// A webhook is written.
    pub const fn expect_webhooks(&mut self) {
        self.any_webhooks = Some(true);
    }

    fn write_counts(&self) -> Result<(), StoreError> {
        let db = self.db()?;
        for ((key, status), more) in self.counts.iter().filter(|(_, more)| **more != 0) {
            db.execute(COUNT, rusqlite::params![key, status, more])?;
        }
        Ok(())
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
        self.mark = Some(self.counts.clone());
        Ok(())
    }

    async fn end_savepoint(&mut self, undo: bool) -> Result<(), StoreError> {
        let mark = self.mark.take();
        if undo {
            self.db()?.execute("ROLLBACK TO mark", [])?;
            self.counts = mark.unwrap_or_default();
            (self.shares, self.any_webhooks) = (None, None);
        }
        self.db()?.execute("RELEASE mark", [])?;
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<bool, StoreError> {
        self.write_counts()?;
        let db = self.db()?;
        let has_changed = db.0.total_changes() != self.changes_before;
        db.execute("COMMIT", [])?;
        self.is_open = false;
        if has_changed {
            self.elsewhere.note_own();
        }
        Ok(has_changed)
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
