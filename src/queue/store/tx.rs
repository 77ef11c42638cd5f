//! A transaction, and the writer that runs many commands in one.

use std::collections::HashSet;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use entity::task;
use fail::fail_point;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, SqliteTransactionMode, Statement, TransactionOptions,
    TransactionTrait, Value,
};
use tokio::sync::oneshot;

use super::insert::{Target, insert, insert_alone};
use super::quick::Quick;
use super::{Reserve, StoreError, gate};
use crate::process::{barrier, boot_now, end_stopped_holder, wall_now};
use crate::queue::QueueError;
use crate::task::{BootInstant, Did, Hold, NewEvent, TaskId, Wall};

const TASKS: Target = Target {
    // The other columns are null until it runs.
    head: "INSERT INTO tasks (id, status, spec, priority, created_at, due_at, attempt, ended, crashes, max_attempts,
        epoch, working_directory, retry_of, last_event, session_id, resumes, continued_from,
        key_name, max_budget_usd, exclusive)",
    width: 20,
    tail: "",
};
const TAGS: Target = Target { head: "INSERT INTO task_tags (tag, task_id)", width: 2, tail: "ON CONFLICT DO NOTHING" };
const EVENTS: Target = Target { head: "INSERT INTO events (task_id, seq, at, kind, data)", width: 5, tail: "" };
pub(super) const ATTEMPTS: Target = Target {
    head: "INSERT INTO attempts (task_id, number, epoch, worker, started_at, session_id, key_name, reserved_usd)",
    width: 8,
    tail: "",
};
const HISTORY: Target = Target { head: "INSERT INTO history (at, boot_ms, done)", width: 3, tail: "" };

/// A transaction, what it knows of the time, and what it has still to insert. Inserts wait, so
/// that those of many commands become one statement; where there is nothing but inserts, that
/// statement is the whole transaction.
pub struct Tx {
    writer: DatabaseConnection,
    /// Immediate. Begun by the first command that reads or changes rows.
    db: Option<DatabaseTransaction>,
    /// One wall time for all that it writes.
    pub(super) now: Wall,
    /// One lease time for all that it writes.
    pub(super) boot_now: BootInstant,
    /// Pending tasks before it, and those that it adds.
    pub(super) pending: Option<Pending>,
    /// Values of rows that wait, one row behind the other.
    tasks: Vec<Value>,
    tags: Vec<Value>,
    events: Vec<Value>,
    attempts: Vec<Value>,
    /// Writes whose answer nobody needs.
    later: Vec<Statement>,
    /// What was done, each as JSON: one row of the history.
    history: Vec<String>,
    touched: Vec<TaskId>,
    /// What others may have waited for.
    left: HashSet<Hold>,
    /// Whether anybody waits for something to be left.
    pub(super) any_held: bool,
}

/// How many tasks are pending, as it was read, with what we added since. It may be too high
/// when others have claimed since, so nothing is refused for it before it is read again; it
/// may be too low for as long as [`PENDING_FRESH`] when other processes submit as well.
#[derive(Clone, Copy)]
pub(super) struct Pending {
    pub(super) count: i64,
    pub(super) read_at: Instant,
}

impl Pending {
    /// Whether it may still be used.
    pub(super) fn is_fresh(&self) -> bool {
        self.read_at.elapsed() < PENDING_FRESH
    }
}

/// Reading the count at every commit would be a sixth of its time.
const PENDING_FRESH: Duration = Duration::from_millis(50);

impl Tx {
    fn new(writer: DatabaseConnection, pending: Option<Pending>) -> Self {
        Self {
            writer,
            db: None,
            now: wall_now(),
            boot_now: boot_now(),
            pending,
            tasks: Vec::new(),
            tags: Vec::new(),
            events: Vec::new(),
            attempts: Vec::new(),
            later: Vec::new(),
            history: Vec::new(),
            touched: Vec::new(),
            left: HashSet::new(),
            any_held: false,
        }
    }

    /// Writes with the next statement that could see it, or with the commit. A hop to the connection's
    /// thread costs more than the statement itself.
    pub(super) fn later(&mut self, statement: Statement) {
        self.later.push(statement);
    }

    /// Inserts an attempt in the same way.
    pub(super) fn begin_attempt(&mut self, values: [Value; ATTEMPTS.width]) {
        self.attempts.extend(values);
    }

    /// The open transaction, with every task in it that was inserted so far.
    pub(super) async fn db(&mut self) -> Result<&DatabaseTransaction, StoreError> {
        if self.db.is_none() {
            // Immediate: a transaction that reads first and then writes could not wait for others.
            let options = TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            };
            self.db = Some(self.writer.begin_with_options(options).await?);
        }
        let db = self.db.as_ref().expect("begun above");
        let rows = [
            (&TASKS, std::mem::take(&mut self.tasks)),
            (&TAGS, std::mem::take(&mut self.tags)),
            (&ATTEMPTS, std::mem::take(&mut self.attempts)),
        ];
        insert(db, Vec::new(), rows).await?;
        insert(db, std::mem::take(&mut self.later), [] as [(&Target, Vec<Value>); 0]).await?;
        Ok(db)
    }

    /// Inserts a task with the commit, or before the next statement that could see it.
    pub(super) fn insert(&mut self, row: task::Model, tags: &[String]) {
        self.tags.extend(tags.iter().flat_map(|tag| [tag.clone().into(), row.id.into()]));
        let values: [Value; TASKS.width] = [
            row.id.into(),
            row.status.into(),
            row.spec.into(),
            row.priority.into(),
            row.created_at.into(),
            row.due_at.into(),
            row.attempt.into(),
            row.ended.into(),
            row.crashes.into(),
            row.max_attempts.into(),
            row.epoch.into(),
            row.working_directory.into(),
            row.retry_of.into(),
            row.last_event.into(),
            row.session_id.into(),
            row.resumes.into(),
            row.continued_from.into(),
            row.key_name.into(),
            row.max_budget_usd.into(),
            row.exclusive.into(),
        ];
        self.tasks.extend(values);
    }

    /// Numbers events behind `last` and inserts them with the commit. Returns the new last.
    pub(super) fn add_events(&mut self, task: TaskId, last: i64, events: Vec<NewEvent>) -> i64 {
        self.touched.push(task);
        let mut seq = last;
        for event in events {
            seq += 1;
            let values: [Value; EVENTS.width] =
                [task.into(), seq.into(), self.now.0.into(), event.kind.name().into(), event.data.into()];
            self.events.extend(values);
        }
        seq
    }

    /// Writes it into the history with the commit.
    pub(super) fn record(&mut self, did: &Did) {
        self.history.extend(serde_json::to_string(did));
    }

    /// A task has left its folder, and what it had reserved.
    pub(super) fn leave(&mut self, row: &task::Model) {
        let directory = row.working_directory.clone().unwrap_or_default();
        let key = row.key_name.clone();
        self.left.extend([Hold::Directory(directory), Hold::Budget(key), Hold::Budget(String::new())]);
    }

    /// All that was done is one row, however many submits it tells of.
    fn history(&self) -> Vec<Value> {
        if self.history.is_empty() {
            return Vec::new();
        }
        let done = format!("[{}]", self.history.join(","));
        let row: [Value; HISTORY.width] = [self.now.0.into(), self.boot_now.ms.into(), done.into()];
        row.into()
    }

    async fn commit(self, quick: &Quick) -> Result<Vec<TaskId>, StoreError> {
        let history = self.history();
        let rows = [
            (&TASKS, self.tasks),
            (&TAGS, self.tags),
            (&ATTEMPTS, self.attempts),
            (&EVENTS, self.events),
            (&HISTORY, history),
        ];
        match self.db {
            Some(db) => {
                insert(&db, self.later, rows).await?;
                db.commit().await?;
            }
            None if quick.insert(&rows)? => {}
            None => insert_alone(&self.writer, rows).await?,
        }
        let mut touched = self.touched;
        touched.sort_unstable();
        touched.dedup();
        Ok(touched)
    }
}

/// A command as the store runs it. It may be run twice, when the transaction that it was in
/// had to be given up for another's fault.
pub trait Change: Send + Sync + 'static {
    /// What its sender is told after the commit.
    type Answer: Send + 'static;

    /// Whether it brings a task nearer to its end: it is stored even when the disk is full, as
    /// long as the [reserve](super::Reserve) lasts.
    const ESSENTIAL: bool = true;

    /// Does it, inside the transaction.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;
}

/// What running a command comes to.
type Ran<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// A command with its sender: of any kind, so that they can wait in one list.
pub trait Waiting: Send {
    /// Whether it is stored when the disk is full.
    fn is_essential(&self) -> bool;
    /// Does it and keeps the answer.
    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> Ran<'a>;
    /// After the commit, or when it failed.
    fn answer(self: Box<Self>, committed: Result<(), StoreError>);
}

struct Asked<C: Change> {
    change: C,
    answer: Option<C::Answer>,
    sender: oneshot::Sender<Result<C::Answer, QueueError>>,
}

impl<C: Change> Waiting for Asked<C> {
    fn is_essential(&self) -> bool {
        C::ESSENTIAL
    }

    fn run<'a>(&'a mut self, tx: &'a mut Tx) -> Ran<'a> {
        Box::pin(async move {
            self.answer = Some(self.change.run(tx).await?);
            Ok(())
        })
    }

    fn answer(self: Box<Self>, committed: Result<(), StoreError>) {
        let answer = match (committed, self.answer) {
            (Ok(()), Some(answer)) => Ok(answer),
            (Ok(()), None) => Err(QueueError::Restarting),
            (Err(error), _) => Err(error.into()),
        };
        // The sender may have given up waiting; what is stored is stored.
        drop(self.sender.send(answer));
    }
}

/// Where the answer to a command will come.
type Answered<C> = oneshot::Receiver<Result<<C as Change>::Answer, QueueError>>;

/// A command, ready to wait, and where its answer will come.
pub fn asked<C: Change>(change: C) -> (Box<dyn Waiting>, Answered<C>) {
    let (sender, answer) = oneshot::channel();
    (Box::new(Asked { change, answer: None, sender }), answer)
}

/// The one connection that writes.
#[derive(Clone)]
pub struct Writer {
    db: DatabaseConnection,
    /// The one for batches that only insert; used by one commit at a time, as the other.
    quick: Quick,
    /// From one transaction to the next.
    pending: Arc<Mutex<Option<Pending>>>,
    /// Whether a transaction may have been left open: it failed, or was given up half-way.
    uncertain: Arc<AtomicBool>,
    /// Where the locks of the WAL are.
    locks: PathBuf,
    /// For a disk that is full.
    reserve: Reserve,
}

/// The byte that whoever writes has locked, <https://sqlite.org/walformat.html#locks>.
const WRITE_LOCK: u64 = 120;

impl Writer {
    pub(super) fn new(db: DatabaseConnection, quick: Quick, path: &Path, reserve: Reserve) -> Self {
        let mut locks = path.as_os_str().to_owned();
        locks.push("-shm");
        Self { locks: locks.into(), db, quick, pending: Arc::default(), uncertain: Arc::default(), reserve }
    }

    pub(super) const fn db(&self) -> &DatabaseConnection {
        &self.db
    }

    pub(super) const fn quick(&self) -> &Quick {
        &self.quick
    }

    /// The reserve, for whoever refills it.
    #[must_use]
    pub const fn reserve(&self) -> &Reserve {
        &self.reserve
    }

    /// Runs all of them in one transaction, commits, and answers each. Where one of them
    /// fails, each runs again in a transaction of its own, so that only that one's sender is
    /// told of the failure. Returns the tasks that changed.
    pub async fn commit(&self, batch: Vec<Box<dyn Waiting>>) -> Vec<TaskId> {
        let mut batch = self.turn_away(batch);
        if batch.is_empty() {
            return Vec::new();
        }
        match self.try_commit(&mut batch).await {
            Ok(touched) => {
                batch.into_iter().for_each(|each| each.answer(Ok(())));
                touched
            }
            Err(StoreError::Full) if self.reserve.spend() => Box::pin(self.commit(batch)).await,
            Err(StoreError::Locked) if end_stopped_holder(&self.locks, WRITE_LOCK) => {
                Box::pin(self.commit(batch)).await
            }
            Err(error) if batch.len() == 1 => {
                tracing::warn!(error = crate::telemetry::chain(&error), "a command was not stored");
                batch.into_iter().for_each(|each| each.answer(Err(error.clone())));
                Vec::new()
            }
            Err(_) => {
                let mut touched = Vec::new();
                for each in batch {
                    touched.extend(Box::pin(self.commit(vec![each])).await);
                }
                touched
            }
        }
    }

    /// When the disk is full only what is essential stays.
    fn turn_away(&self, batch: Vec<Box<dyn Waiting>>) -> Vec<Box<dyn Waiting>> {
        if !self.reserve.is_spent() {
            return batch;
        }
        let (essential, others): (Vec<_>, Vec<_>) = batch.into_iter().partition(|each| each.is_essential());
        others.into_iter().for_each(|each| each.answer(Err(StoreError::Full)));
        essential
    }

    async fn try_commit(&self, batch: &mut [Box<dyn Waiting>]) -> Result<Vec<TaskId>, StoreError> {
        self.roll_back_uncertain().await;
        self.uncertain.store(true, Ordering::Relaxed);
        let ran = self.run(batch).await;
        if ran.is_ok() {
            self.uncertain.store(false, Ordering::Relaxed);
        } else {
            self.roll_back_uncertain().await;
        }
        ran
    }

    async fn run(&self, batch: &mut [Box<dyn Waiting>]) -> Result<Vec<TaskId>, StoreError> {
        fail_point!("store-commit", |_| {
            tracing::warn!("a failpoint fired");
            Err(sea_orm::DbErr::Custom("a failpoint".to_owned()).into())
        });
        // Taken, so that a transaction that fails leaves none behind.
        let known = self.pending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut tx = Tx::new(self.db.clone(), known);
        for each in batch.iter_mut() {
            each.run(&mut tx).await?;
        }
        if tx.any_held {
            let left = std::mem::take(&mut tx.left);
            gate::let_go(&mut tx, &left).await?;
        }
        let pending = tx.pending;
        barrier("store-before");
        let touched = tx.commit(&self.quick).await?;
        barrier("store-after");
        *self.pending.lock().unwrap_or_else(PoisonError::into_inner) = pending;
        Ok(touched)
    }

    async fn roll_back_uncertain(&self) {
        if self.uncertain.swap(false, Ordering::Relaxed) {
            // An error says that none is open, which is as good.
            drop(self.db.execute_raw(super::row::sql("ROLLBACK", [])).await);
        }
    }
}
