//! A transaction, alone among all that write.
//!
//! Commands read, decide and write without further locks, and events and commits are numbered in the order of the commits:
//! on SQLite because the file has one writer. Here an advisory lock has the same effect for all processes of all machines.
//! What limits the rate is then how long each holds the lock, so a transaction
//!
//! - keeps what it writes until something must be read that depends on it, or until its end, and then sends all of it at
//!   once, with the `COMMIT`: the server has the rest of the transaction in its hands, and no answer travels in between;
//! - inserts its rows by one or two statements, however many tables and commands they are of (`together.rs`);
//! - reads the tasks that its commands are about, and what submits ask, with its beginning, without an answer in between, and
//!   keeps them as it has written them.
//!
//! A process that stops in the middle of a transaction holds the lock no longer than [`IDLE_LIMIT_MS`]: the server ends
//! the transaction.

mod commit;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::{Bound, Connection, unread};
use super::shared::{Line, Ready, Shared};
use super::table::Table;
use super::tallies::{FOLD_COUNTS, PENDING};
use super::value::{Column as _, Unread, Value, get, params};
use super::waiting::Waiting;
use crate::store::rows::{Clock, TaskRow};
use crate::store::tx::{History, Tx};
use crate::store::{About, StoreError};
use domain::{BootId, BootInstant, Named as _, Status, TaskId, Timestamp};

/// Longest silence of a process inside a transaction, in milliseconds.
const IDLE_LIMIT_MS: u32 = 3_000;
/// Longest wait of a transaction for those of others, in milliseconds. Each takes milliseconds; longer means that one of
/// them hangs.
const LOCK_LIMIT_MS: u32 = 5_000;
/// Longest run of a statement, in milliseconds.
const STATEMENT_LIMIT_MS: u32 = 60_000;

/// Begins a transaction that takes a lock and then reads: each statement sees what was committed before it, whatever the
/// database's default is.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

/// Waits until no other transaction writes, and then reads the clock and the number of this one.
const ALONE: &str = "WITH alone AS MATERIALIZED (SELECT pg_advisory_xact_lock($1))
    SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint, pg_current_xact_id()::text FROM alone";

/// The clock of the server, in place of a machine's boot: the same for every process that writes.
pub const SERVER_CLOCK: BootId = BootId::from_u128(0xdb);

/// The connection that writes, while a transaction of this process uses it.
pub type Writing<'a> = tokio::sync::MutexGuard<'a, Line>;

/// See the [module](self).
pub struct PostgresTx<'a> {
    shared: &'a Shared,
    ready: &'a Ready,
    /// Keeps other transactions of this process waiting.
    _writing: Writing<'a>,
    db: Arc<Connection>,
    clock: Clock,
    /// Number of the transaction, by which it can be asked whether it is under way.
    xid: String,
    /// Number of a commit before this one.
    seen: i64,
    is_open: bool,
    waiting: Waiting,
    /// Tasks as the transaction has read and written them.
    rows: HashMap<TaskId, TaskRow>,
    sums: Sums,
    /// Number of pending tasks, where it was asked for.
    pub pending: Option<i64>,
    /// Weights of the shares, where they were asked for.
    pub shares: Option<HashMap<String, i64>>,
    /// True if any pending task is held back, where that was asked for.
    pub any_held: Option<bool>,
    /// True if any task waits for dependencies, where that was asked for.
    pub any_waits: Option<bool>,
    mark: Option<Mark>,
    /// True if other processes have something to hear.
    is_news: bool,
    /// True if that may concern workers.
    is_work: bool,
    /// Changes of the commit, for the history.
    done: Option<String>,
}

/// The settings of a transaction that writes: its limits, and that a commit is on the disk before it is answered, even if
/// others who use the server do without.
fn settings(scope: &str) -> String {
    let is_local = scope == "LOCAL";
    format!(
        "SET {scope} idle_in_transaction_session_timeout = {IDLE_LIMIT_MS}; SET {scope} lock_timeout = {LOCK_LIMIT_MS};
        SET {scope} statement_timeout = {STATEMENT_LIMIT_MS};
        SELECT set_config('synchronous_commit', 'local', {is_local}) WHERE current_setting('synchronous_commit') = 'off'"
    )
}

/// Sums of what a transaction adds to the tallies.
#[derive(Clone, Default)]
pub struct Sums {
    /// Numbers of tasks by key and status.
    pub counts: BTreeMap<(String, String), i64>,
    /// Stored bytes by key.
    pub bytes: BTreeMap<String, i64>,
}

/// A point to go back to.
struct Mark {
    sums: Sums,
    /// True once the server knows of it.
    is_sent: bool,
}

impl<'a> PostgresTx<'a> {
    /// Begins a transaction, once no other one is under way.
    pub async fn begin(
        shared: &'a Shared,
        ready: &'a Ready,
        writing: Writing<'a>,
        db: Arc<Connection>,
        about: About<'_>,
    ) -> Result<Self, StoreError> {
        let begin = if db.address().is_pooled() {
            // The next transaction may get another connection of the server.
            format!("{BEGIN}; {}", settings("LOCAL"))
        } else {
            db.settle(|| settings("SESSION")).await?;
            BEGIN.to_owned()
        };
        let alone = Bound::of(ALONE, params![ready.lock]);
        let find = (!about.tasks.is_empty()).then(|| super::tasks::find(about.tasks));
        let count = about.submits.then(|| Bound::of(PENDING, []));
        let then: Vec<Bound> = [alone].into_iter().chain(find).chain(count).collect();
        let begun = db.begin(&begin, &then).await;
        let mut answers = begun.inspect_err(|_| db.forget("ROLLBACK"))?.into_iter();
        let alone = answers.next().unwrap_or_default();
        let read = |row: &Row| Ok((get(row, 0)?, get(row, 1)?));
        let (ms, xid) = alone.first().ok_or_else(|| "no clock".into()).and_then(read).map_err(unread)?;
        let clock = Clock { wall: Timestamp(ms), lease: BootInstant { boot: SERVER_CLOCK, ms } };
        let mut tx = Self {
            shared,
            ready,
            _writing: writing,
            db,
            clock,
            xid,
            seen: shared.newest_seen(),
            is_open: true,
            waiting: Waiting::default(),
            rows: HashMap::new(),
            sums: Sums::default(),
            pending: None,
            shares: None,
            any_held: None,
            any_waits: None,
            mark: None,
            is_news: false,
            is_work: false,
            done: None,
        };
        if about.submits {
            tx.keep_pending(answers.next_back().unwrap_or_default().first())?;
        }
        answers.for_each(|rows| super::tasks::keep(&mut tx, &rows));
        Ok(tx)
    }

    /// Writes a row with what is written next.
    pub fn insert<T: Table>(&mut self, row: &T) {
        self.insert_values(T::NAME, T::COLUMNS, row.values());
    }

    /// Writes the values of a row with what is written next.
    pub fn insert_values(&mut self, table: &'static str, columns: &'static str, values: Vec<Value>) {
        self.is_news = true;
        self.waiting.insert(table, columns, values);
    }

    /// Runs a statement, of whose result nothing is needed, with what is written next.
    pub fn defer(&mut self, text: &'static str, values: impl Into<Vec<Value>>) {
        self.is_news = true;
        self.defer_quietly(text, values);
    }

    /// The same for a statement that no other process waits for.
    pub fn defer_quietly(&mut self, text: &'static str, values: impl Into<Vec<Value>>) {
        self.waiting.add(None, text, values.into());
    }

    /// The same for a statement about a task.
    pub fn defer_of(&mut self, task: TaskId, text: &'static str, values: impl Into<Vec<Value>>) {
        self.is_news = true;
        self.waiting.add(Some(task), text, values.into());
    }

    /// The same for a statement about a task that takes an array for each of its values: those of many tasks are run as
    /// one.
    pub fn defer_row(&mut self, task: TaskId, text: &'static str, values: impl Into<Vec<Value>>) {
        self.is_news = true;
        self.defer_row_quietly(task, text, values);
    }

    /// The same for a statement that no other process waits for.
    pub fn defer_row_quietly(&mut self, task: TaskId, text: &'static str, values: impl Into<Vec<Value>>) {
        self.waiting.add_row(task, text, values.into());
    }

    /// What waits to be written, in order.
    fn waiting(&mut self) -> Vec<Bound> {
        let (mut waiting, rows) = self.waiting.take();
        waiting.extend(rows.bound());
        if let Some(mark) = self.mark.as_mut().filter(|mark| !mark.is_sent && !waiting.is_empty()) {
            mark.is_sent = true;
            waiting.insert(0, Bound::of("SAVEPOINT mark", []));
        }
        waiting
    }

    /// Keeps what is written from here on behind what waits.
    pub fn fence(&mut self) {
        self.waiting.fence();
    }

    /// Runs a statement behind what waits, and returns its rows.
    pub async fn rows(&mut self, text: &'static str, values: impl Into<Vec<Value>>) -> Result<Vec<Row>, StoreError> {
        let mut all = self.waiting();
        all.push(Bound::of(text, values));
        self.db.pipeline(&all).await
    }

    /// Reads all rows of a result.
    pub async fn all<T>(
        &mut self,
        text: &'static str,
        values: impl Into<Vec<Value>>,
        read: impl FnMut(&Row) -> Result<T, Unread>,
    ) -> Result<Vec<T>, StoreError> {
        self.rows(text, values).await?.iter().map(read).collect::<Result<_, _>>().map_err(unread)
    }

    /// Reads the first row of a result.
    pub async fn one<T>(
        &mut self,
        text: &'static str,
        values: impl Into<Vec<Value>>,
        read: impl FnOnce(&Row) -> Result<T, Unread>,
    ) -> Result<Option<T>, StoreError> {
        self.rows(text, values).await?.first().map(read).transpose().map_err(unread)
    }

    /// True if a statement has any row.
    pub async fn any(&mut self, text: &'static str, values: impl Into<Vec<Value>>) -> Result<bool, StoreError> {
        Ok(!self.rows(text, values).await?.is_empty())
    }

    /// Workers of other processes have something to hear of this commit: more to claim, or something to tell a task.
    pub const fn tell_workers(&mut self) {
        (self.is_news, self.is_work) = (true, true);
    }

    /// Counts tasks of a key more or less in a status.
    pub fn count(&mut self, key: &str, status: &str, more: i64) {
        *self.sums.counts.entry((key.to_owned(), status.to_owned())).or_default() += more;
        if status == Status::Pending.name() {
            self.pending = self.pending.map(|pending| pending + more);
        }
    }

    /// What the transaction has added to the tallies by now.
    pub const fn sums(&mut self) -> &mut Sums {
        &mut self.sums
    }

    /// Number of pending tasks, with what the transaction has done.
    pub async fn pending_tasks(&mut self) -> Result<i64, StoreError> {
        if let Some(pending) = self.pending {
            return Ok(pending);
        }
        let rows = self.rows(PENDING, []).await?;
        self.keep_pending(rows.first())
    }

    /// Keeps what [`PENDING`] has found. Folds what it has counted, if that was much.
    fn keep_pending(&mut self, found: Option<&Row>) -> Result<i64, StoreError> {
        let read = |row: &Row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?, get(row, 3)?));
        let (stored, rows, names, weights): (i64, i64, Vec<String>, Vec<String>) =
            found.map(read).transpose().map_err(unread)?.unwrap_or_default();
        if self.shared.tally_rows.read(rows) {
            self.defer_quietly(FOLD_COUNTS, []);
        }
        let weights = weights.into_iter().map(|weight| weight.parse().unwrap_or(1));
        self.shares = Some(names.into_iter().zip(weights).collect());
        let ours: i64 =
            self.sums.counts.iter().filter(|((_, status), _)| status == Status::Pending.name()).map(|(_, n)| n).sum();
        Ok(*self.pending.insert(stored + ours))
    }

    /// A task that was read before.
    pub fn known(&self, id: TaskId) -> Option<&TaskRow> {
        self.rows.get(&id)
    }

    /// A task that was read before, to be kept as it is written.
    pub fn known_mut(&mut self, id: TaskId) -> Option<&mut TaskRow> {
        self.rows.get_mut(&id)
    }

    /// Keeps a task as it is now.
    pub fn keep(&mut self, row: TaskRow) {
        self.rows.insert(row.id, row);
    }

    /// Forgets tasks that the database has changed by itself.
    pub fn forget(&mut self, ids: &[TaskId]) {
        for id in ids {
            self.rows.remove(id);
        }
    }
}

impl Drop for PostgresTx<'_> {
    fn drop(&mut self) {
        if self.is_open {
            self.db.forget("ROLLBACK");
        }
    }
}

#[async_trait(?Send)]
impl Tx for PostgresTx<'_> {
    fn clock(&self) -> Clock {
        self.clock
    }

    async fn savepoint(&mut self) -> Result<(), StoreError> {
        let waiting = self.waiting();
        if !waiting.is_empty() {
            self.db.pipeline(&waiting).await?;
        }
        self.mark = Some(Mark { sums: self.sums.clone(), is_sent: false });
        Ok(())
    }

    async fn end_savepoint(&mut self, undo: bool) -> Result<(), StoreError> {
        let Some(Mark { sums, is_sent }) = self.mark.take() else { return Ok(()) };
        if !undo {
            return Ok(());
        }
        self.waiting = Waiting::default();
        self.rows.clear();
        (self.pending, self.shares, self.any_held, self.any_waits) = (None, None, None, None);
        self.sums = sums;
        if is_sent {
            self.db.simple("ROLLBACK TO SAVEPOINT mark").await?;
        }
        Ok(())
    }

    async fn commit(mut self: Box<Self>) -> Result<bool, StoreError> {
        let is_news = self.is_news;
        self.send_commit().await?;
        Ok(is_news)
    }
}

#[async_trait(?Send)]
impl History for PostgresTx<'_> {
    async fn append_history(&mut self, done: &str) -> Result<(), StoreError> {
        self.done = Some(done.to_owned());
        Ok(())
    }
}

/// A value of one column.
pub fn only<T: super::value::Column>(row: &Row) -> Result<T, Unread> {
    T::read(row, 0)
}

/// The name of a status, as it is stored.
pub fn status_name(row: &TaskRow) -> String {
    match row.status.value() {
        Value::Text(Some(name)) => name,
        _ => String::new(),
    }
}
