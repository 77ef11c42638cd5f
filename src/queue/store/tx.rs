//! A transaction, and the writer that runs many commands in one.

use std::future::Future;
use std::pin::Pin;

use entity::{event, task};
use sea_orm::ActiveValue::Set;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, EntityTrait, IntoActiveModel, SqliteTransactionMode,
    TransactionOptions, TransactionTrait,
};
use tokio::sync::oneshot;

use super::StoreError;
use super::row::sql;
use crate::process::{boot_now, wall_now};
use crate::queue::QueueError;
use crate::task::{BootInstant, NewEvent, TaskId, Wall};

/// Rows of one `INSERT`: SQLite takes 32,766 values in a statement, a task has some thirty.
const ROWS_AT_ONCE: usize = 500;

/// An immediate transaction, what it knows of the time, and what it has still to insert.
/// Inserts wait, so that those of many commands become one statement.
pub struct Tx {
    pub(super) db: DatabaseTransaction,
    /// One wall time for all that it writes.
    pub(super) now: Wall,
    /// One lease time for all that it writes.
    pub(super) boot_now: BootInstant,
    /// Pending tasks before it, and those that it adds; read once.
    pub(super) pending: Option<i64>,
    tasks: Vec<task::Model>,
    tags: Vec<(String, TaskId)>,
    events: Vec<event::Model>,
    touched: Vec<TaskId>,
}

impl Tx {
    async fn begin(db: &DatabaseConnection) -> Result<Self, StoreError> {
        // Immediate: a transaction that reads first and then writes could not wait for others.
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..Default::default()
        };
        let db = db.begin_with_options(options).await?;
        Ok(Self {
            db,
            now: wall_now(),
            boot_now: boot_now(),
            pending: None,
            tasks: Vec::new(),
            tags: Vec::new(),
            events: Vec::new(),
            touched: Vec::new(),
        })
    }

    /// Inserts a task with the commit, or before the next statement that could see it.
    pub(super) fn insert(&mut self, row: task::Model, tags: Vec<String>) {
        self.tags.extend(tags.into_iter().map(|tag| (tag, row.id)));
        self.tasks.push(row);
    }

    /// Numbers events behind `last` and inserts them with the commit. Returns the new last.
    pub(super) fn add_events(&mut self, task: TaskId, last: i64, events: Vec<NewEvent>) -> i64 {
        self.touched.push(task);
        let mut seq = last;
        for event in events {
            seq += 1;
            let kind = event.kind.name().to_owned();
            self.events.push(event::Model { task_id: task, seq, at: self.now.0, kind, data: event.data });
        }
        seq
    }

    /// Writes the inserts that wait. To be called before any statement that reads tasks.
    pub(super) async fn flush(&mut self) -> Result<(), StoreError> {
        let mut tasks = std::mem::take(&mut self.tasks).into_iter().peekable();
        while tasks.peek().is_some() {
            let rows = tasks.by_ref().take(ROWS_AT_ONCE).map(IntoActiveModel::into_active_model);
            task::Entity::insert_many(rows.map(reset_all)).exec_without_returning(&self.db).await?;
        }
        for (tag, task) in std::mem::take(&mut self.tags) {
            let text = "INSERT OR IGNORE INTO task_tags (tag, task_id) VALUES (?1, ?2)";
            self.db.execute_raw(sql(text, [tag.into(), task.into()])).await?;
        }
        Ok(())
    }

    async fn commit(mut self) -> Result<Vec<TaskId>, StoreError> {
        self.flush().await?;
        let mut events = std::mem::take(&mut self.events).into_iter().peekable();
        while events.peek().is_some() {
            let rows = events.by_ref().take(ROWS_AT_ONCE).map(|row| event::ActiveModel {
                task_id: Set(row.task_id),
                seq: Set(row.seq),
                at: Set(row.at),
                kind: Set(row.kind),
                data: Set(row.data),
            });
            event::Entity::insert_many(rows).exec_without_returning(&self.db).await?;
        }
        self.db.commit().await?;
        self.touched.sort_unstable();
        self.touched.dedup();
        Ok(self.touched)
    }
}

fn reset_all(row: task::ActiveModel) -> task::ActiveModel {
    sea_orm::ActiveModelTrait::reset_all(row)
}

/// A command as the store runs it. It may be run twice, when the transaction that it was in
/// had to be given up for another's fault.
pub trait Change: Send + Sync + 'static {
    /// What its sender is told after the commit.
    type Answer: Send + 'static;

    /// Does it, inside the transaction.
    fn run(&self, tx: &mut Tx) -> impl Future<Output = Result<Self::Answer, StoreError>> + Send;
}

/// What running a command comes to.
type Ran<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// A command with its sender: of any kind, so that they can wait in one list.
pub trait Waiting: Send {
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
pub struct Writer(DatabaseConnection);

impl Writer {
    pub(super) const fn new(db: DatabaseConnection) -> Self {
        Self(db)
    }

    /// Runs all of them in one transaction, commits, and answers each. Where one of them
    /// fails, each runs again in a transaction of its own, so that only that one's sender is
    /// told of the failure. Returns the tasks that changed.
    pub async fn commit(&self, mut batch: Vec<Box<dyn Waiting>>) -> Vec<TaskId> {
        match self.try_commit(&mut batch).await {
            Ok(touched) => {
                batch.into_iter().for_each(|each| each.answer(Ok(())));
                touched
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

    async fn try_commit(&self, batch: &mut [Box<dyn Waiting>]) -> Result<Vec<TaskId>, StoreError> {
        let mut tx = Tx::begin(&self.0).await?;
        for each in batch.iter_mut() {
            each.run(&mut tx).await?;
        }
        tx.commit().await
    }
}
