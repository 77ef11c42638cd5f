//! A transaction, with what is kept beside it until its commit.

use std::collections::HashMap;

use super::{children, dependencies, gate, races};
use crate::process::barrier;
use crate::store::convert::spec_of;
use crate::store::rows::{Clock, EventRow, TaskRow};
use crate::store::{About, StoreError, Tx, Writes};
use audit::HistoryEvent;
use domain::{BootInstant, Group, Hold, LeaseKey, NewEvent, Status, TaskId, Timestamp};

/// The work of one transaction. Dropped before its commit, nothing of it has happened.
pub struct Unit<'t> {
    /// The transaction.
    pub tx: Box<dyn Tx + 't>,
    /// The wall time of all that it writes.
    pub now: Timestamp,
    /// The lease time of all that it writes.
    pub lease_now: BootInstant,
    /// Changes as JSON: one row of the history, however many commands they come from.
    history: Vec<String>,
    /// Reason for which a change can't be written into the history: then it is not done.
    unwritten: Option<StoreError>,
    touched: Vec<TaskId>,
    /// Holds whose tasks have left them, with their numbers.
    left: HashMap<Hold, i64>,
    /// True if any pending task is held back.
    any_held: bool,
    /// True if any task waits for dependencies.
    any_waits: bool,
    /// True if dependents of tasks that have ended have to be told.
    unsettled: bool,
    /// Tasks of races that have ended, whose races may be decided now.
    racing: Vec<TaskId>,
    /// Tasks that were cancelled, and whose children are to be.
    cancelled: Vec<TaskId>,
    /// Tasks that have ended and were made from inside others.
    ended_children: Vec<TaskId>,
    /// Stored bytes by key.
    bytes: HashMap<String, i64>,
}

impl<'t> Unit<'t> {
    /// Begins a transaction of commands that are about this.
    ///
    /// # Errors
    /// The store's.
    pub async fn begin(store: &'t dyn Writes, about: About<'_>) -> Result<Self, StoreError> {
        let tx = store.begin_for(about).await?;
        let Clock { wall, lease } = tx.clock();
        Ok(Self {
            tx,
            now: wall,
            lease_now: lease,
            history: Vec::new(),
            unwritten: None,
            touched: Vec::new(),
            left: HashMap::new(),
            any_held: false,
            any_waits: false,
            unsettled: false,
            racing: Vec::new(),
            cancelled: Vec::new(),
            ended_children: Vec::new(),
            bytes: HashMap::new(),
        })
    }

    /// Carries out what is left to do, and commits.
    ///
    /// # Errors
    /// The store's. Nothing has happened then.
    pub async fn commit(mut self) -> Result<Done, StoreError> {
        // Each may leave more to do for the other.
        while !(self.racing.is_empty() && self.cancelled.is_empty() && self.ended_children.is_empty()) {
            Box::pin(self.decide_races()).await?;
            Box::pin(self.end_families()).await?;
        }
        if self.unsettled {
            Box::pin(self.settle()).await?;
        }
        if let Some(error) = self.unwritten.take() {
            return Err(error);
        }
        if self.any_held {
            let left = std::mem::take(&mut self.left);
            Box::pin(gate::let_go(&mut self, &left)).await?;
        }
        for (key, bytes) in std::mem::take(&mut self.bytes) {
            self.tx.add_key_bytes(&key, bytes).await?;
        }
        if !self.history.is_empty() {
            let done = format!("[{}]", self.history.join(","));
            self.tx.append_history(&done).await?;
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        barrier("store-before");
        let has_written = self.tx.commit().await? || !self.history.is_empty() || !self.touched.is_empty();
        barrier("store-after");
        Ok(Done { has_written, touched: self.touched, unsettled: self.unsettled })
    }

    /// Tells dependents of tasks that have ended. Where that fails, what else was done is kept: it is tried again later.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let mark = self.mark().await?;
        let settled = dependencies::settle(self).await;
        self.forget(mark, settled.is_err()).await?;
        self.unsettled = match settled {
            Ok(more) => more,
            Err(error) => {
                let error = crate::telemetry::chain(&error);
                tracing::warn!(error, "Tasks that depend on others that have ended could not be told");
                false
            }
        };
        Ok(())
    }

    /// Decides the races of tasks that have ended. Where that fails, what else was done is kept, and a person may still choose.
    async fn decide_races(&mut self) -> Result<(), StoreError> {
        while let Some(task) = self.racing.pop() {
            let mark = self.mark().await?;
            let decided = races::settle(self, task).await;
            self.forget(mark, decided.is_err()).await?;
            if let Err(error) = decided {
                tracing::error!(taskId = %task, error = crate::telemetry::chain(&error), "A race can't be decided");
            }
        }
        Ok(())
    }

    /// Cancels the children of tasks that were cancelled, and gives back what children have not spent. Where that fails, what
    /// else was done is kept.
    async fn end_families(&mut self) -> Result<(), StoreError> {
        while let Some(task) = self.cancelled.pop() {
            let mark = self.mark().await?;
            let ended = children::cancel_below(self, task).await;
            self.forget(mark, ended.is_err()).await?;
            if let Err(error) = ended {
                let error = crate::telemetry::chain(&error);
                tracing::error!(taskId = %task, error, "The children of a task can't be cancelled with it");
            }
        }
        while let Some(task) = self.ended_children.pop() {
            let mark = self.mark().await?;
            let settled = children::settle_above(self, task).await;
            self.forget(mark, settled.is_err()).await?;
            if let Err(error) = settled {
                let error = crate::telemetry::chain(&error);
                tracing::error!(taskId = %task, error, "What a child has not spent is not given back");
            }
        }
        Ok(())
    }

    /// A task was cancelled: its children are, with the commit.
    pub fn cancel_children(&mut self, task: TaskId) {
        self.cancelled.push(task);
    }

    /// A task has ended that was made from inside another one.
    pub fn end_child(&mut self, task: TaskId) {
        self.ended_children.push(task);
    }

    /// A task of a race has ended.
    pub fn race(&mut self, task: TaskId) {
        self.racing.push(task);
    }

    /// Marks a point to go back to.
    pub async fn mark(&mut self) -> Result<Mark, StoreError> {
        self.tx.savepoint().await?;
        Ok(Mark { history: self.history.len(), touched: self.touched.len(), bytes: self.bytes.clone() })
    }

    /// Forgets a mark; where `undo` is true, also what was done since.
    pub async fn forget(&mut self, mark: Mark, undo: bool) -> Result<(), StoreError> {
        if undo {
            self.history.truncate(mark.history);
            self.touched.truncate(mark.touched);
            self.bytes = mark.bytes;
        }
        self.tx.end_savepoint(undo).await
    }

    /// A task.
    pub async fn find(&mut self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        let Some(found) = self.tx.task(id).await? else { return Ok(None) };
        self.any_held |= found.any_held;
        self.any_waits |= found.any_waits;
        Ok(Some(found.row))
    }

    /// The task, if this lease still holds it.
    pub async fn held(&mut self, key: LeaseKey) -> Result<Option<TaskRow>, StoreError> {
        let row = self.find(key.task).await?;
        Ok(row.filter(|row| row.epoch == key.epoch && row.status == Status::Running.into()))
    }

    /// Inserts events of a task of this key, numbered behind `last`. Returns the new last.
    pub async fn add_events(
        &mut self,
        task: TaskId,
        key: &str,
        last: i64,
        events: &[NewEvent],
    ) -> Result<i64, StoreError> {
        self.touched.push(task);
        let mut seq = last;
        for event in events {
            seq += 1;
            self.count_bytes(key, event.data.len() as i64);
            let (kind, data) = (event.kind.into(), event.data.clone());
            self.tx.insert_event(&EventRow { task_id: task, seq, at: self.now.0, kind, data }).await?;
        }
        Ok(seq)
    }

    /// Counts stored bytes for a key; they are written with the commit.
    pub fn count_bytes(&mut self, key: &str, bytes: i64) {
        match self.bytes.get_mut(key) {
            Some(sum) => *sum += bytes,
            None => drop(self.bytes.insert(key.to_owned(), bytes)),
        }
    }

    /// Writes it into the history with the commit, which fails where that can't be done.
    pub fn record(&mut self, did: &HistoryEvent) {
        match serde_json::to_string(did) {
            Ok(line) => self.history.push(line),
            Err(error) => self.unwritten = Some(StoreError::statement(error)),
        }
    }

    /// Tasks may have been held back, or may be let go, in this transaction.
    pub const fn expect_held(&mut self) {
        self.any_held = true;
    }

    /// Tasks may wait for dependencies, of which nothing was read.
    pub const fn expect_waits(&mut self) {
        self.any_waits = true;
    }

    /// Tasks that have ended may have dependents that were not told.
    pub const fn expect_unsettled(&mut self) {
        self.unsettled = true;
    }

    /// A task has ended: those that depend on it are told with the commit.
    pub async fn ended(&mut self, task: TaskId) -> Result<(), StoreError> {
        if self.any_waits {
            self.tx.add_unsettled(task).await?;
            self.unsettled = true;
        }
        Ok(())
    }

    /// A task has changed without an event.
    pub fn touch(&mut self, task: TaskId) {
        self.touched.push(task);
    }

    /// A task has left its folder, its groups, and what it had reserved.
    pub fn leave(&mut self, row: &TaskRow) {
        if !self.any_held {
            return;
        }
        let directory = row.working_directory.clone().unwrap_or_default();
        let key = row.key_name.clone();
        let own = [Hold::Directory(directory), Hold::Budget(key), Hold::Budget(String::new())];
        let tags = spec_of(row).spec.tags;
        let groups = Group::of(&row.key_name, row.concurrency_key.as_deref(), &tags);
        for hold in own.into_iter().chain(groups.into_iter().map(Hold::Concurrency)) {
            *self.left.entry(hold).or_default() += 1;
        }
    }
}

/// A transaction that was committed.
#[derive(Debug, Default)]
pub struct Done {
    /// True if there is anything that others may wait for.
    pub has_written: bool,
    /// The tasks that changed.
    pub touched: Vec<TaskId>,
    /// True if there are more dependents to be told than one commit should.
    pub unsettled: bool,
}

/// A point of a transaction to go back to.
#[derive(Debug)]
pub struct Mark {
    history: usize,
    touched: usize,
    bytes: HashMap<String, i64>,
}
