//! A transaction: what commands read and write with.

use std::collections::HashMap;

use entity::task;
use rusqlite::types::{Null, ToSqlOutput, ValueRef};
use rusqlite::{Connection, Params, Row, params, params_from_iter};
use sea_orm::{DbBackend, QueryTrait, Value};

use super::table::Table;
use super::{StoreError, gate};
use crate::process::{boot_now, wall_now};
use crate::task::{BootInstant, Did, Group, Hold, NewEvent, TaskId, Wall};

const TAG: &str = "INSERT INTO task_tags (tag, task_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
const EVENT: &str = "INSERT INTO events (task_id, seq, at, kind, data) VALUES (?1, ?2, ?3, ?4, ?5)";
const HISTORY: &str = "INSERT INTO history (at, boot_ms, done) VALUES (?1, ?2, ?3)";

/// An immediate transaction, and one time for all that it writes.
pub struct Tx<'a> {
    db: &'a Connection,
    /// The wall time.
    pub(super) now: Wall,
    /// The lease time.
    pub(super) boot_now: BootInstant,
    /// What was done, each as JSON: one row of the history, however many submits it tells of.
    history: Vec<String>,
    touched: Vec<TaskId>,
    /// What others may have waited for, and how many have left it.
    left: HashMap<Hold, i64>,
    /// Whether anybody waits for something to be left.
    pub(super) any_held: bool,
}

impl<'a> Tx<'a> {
    /// Commands of a transaction that was just begun.
    pub(super) fn new(db: &'a Connection) -> Self {
        Self {
            db,
            now: wall_now(),
            boot_now: boot_now(),
            history: Vec::new(),
            touched: Vec::new(),
            left: HashMap::new(),
            any_held: false,
        }
    }

    /// All rows of a result.
    pub(super) fn all<T>(
        &self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_map(values, read)?.collect::<Result<_, _>>()?)
    }

    /// The rows of a result for as long as they are wanted; the last is one that is wanted no more behind it.
    pub(super) fn some<T>(
        &self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
        mut go_on: impl FnMut(&T) -> bool,
    ) -> Result<Vec<T>, StoreError> {
        let mut statement = self.db.prepare_cached(text)?;
        let mut found = Vec::new();
        for row in statement.query_map(values, read)? {
            found.push(row?);
            if !found.last().is_some_and(&mut go_on) {
                break;
            }
        }
        Ok(found)
    }

    /// The first row of a result.
    pub(super) fn one<T>(
        &self,
        text: &str,
        values: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StoreError> {
        let mut statement = self.db.prepare_cached(text)?;
        Ok(statement.query_map(values, read)?.next().transpose()?)
    }

    /// Runs a statement. Returns how many rows it changed.
    pub(super) fn execute(&self, text: &str, values: impl Params) -> Result<usize, StoreError> {
        Ok(self.db.prepare_cached(text)?.execute(values)?)
    }

    /// Runs a statement that was put together. Returns how many rows it changed.
    pub(super) fn run(&self, statement: &impl QueryTrait) -> Result<usize, StoreError> {
        let statement = statement.build(DbBackend::Sqlite);
        let values = statement.values.map(|values| values.0).unwrap_or_default();
        self.execute(&statement.sql, params_from_iter(values.iter().map(Bound)))
    }

    /// Takes back what was done where it ends with a refusal.
    pub(super) fn all_or_none<T, E>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<Result<T, E>, StoreError>,
    ) -> Result<Result<T, E>, StoreError> {
        let (history, touched) = (self.history.len(), self.touched.len());
        self.db.execute_batch("SAVEPOINT all_or_none")?;
        let done = work(self)?;
        if done.is_err() {
            self.db.execute_batch("ROLLBACK TO all_or_none")?;
            self.history.truncate(history);
            self.touched.truncate(touched);
        }
        self.db.execute_batch("RELEASE all_or_none")?;
        Ok(done)
    }

    /// Inserts a row.
    pub(super) fn insert<T: Table>(&self, row: &T) -> Result<(), StoreError> {
        self.execute(T::INSERT, row.values().as_slice())?;
        Ok(())
    }

    /// The number of the row that was inserted last.
    pub(super) fn last_inserted(&self) -> i64 {
        self.db.last_insert_rowid()
    }

    /// Inserts a task with its tags.
    pub(super) fn insert_task(&self, row: &task::Model, tags: &[String]) -> Result<(), StoreError> {
        self.insert(row)?;
        for tag in tags {
            self.execute(TAG, params![tag, row.id])?;
        }
        Ok(())
    }

    /// Inserts events, numbered behind `last`. Returns the new last.
    pub(super) fn add_events(&mut self, task: TaskId, last: i64, events: &[NewEvent]) -> Result<i64, StoreError> {
        self.touched.push(task);
        let mut seq = last;
        for event in events {
            seq += 1;
            self.execute(EVENT, params![task, seq, self.now.0, event.kind.name(), event.data])?;
        }
        Ok(seq)
    }

    /// Writes it into the history with the commit.
    pub(super) fn record(&mut self, did: &Did) {
        match serde_json::to_string(did) {
            Ok(line) => self.history.push(line),
            Err(error) => tracing::error!(error = crate::telemetry::chain(&error), "A change is not in the history"),
        }
    }

    /// A task has left its folder, its groups, and what it had reserved.
    pub(super) fn leave(&mut self, row: &task::Model) {
        if !self.any_held {
            return;
        }
        let directory = row.working_directory.clone().unwrap_or_default();
        let key = row.key_name.clone();
        let own = [Hold::Directory(directory), Hold::Budget(key), Hold::Budget(String::new())];
        let tags = super::row::spec_of(row).spec.tags;
        let groups = Group::of(&row.key_name, row.concurrency_key.as_deref(), &tags);
        for hold in own.into_iter().chain(groups.into_iter().map(Hold::Concurrency)) {
            *self.left.entry(hold).or_default() += 1;
        }
    }

    /// What is left to do before the commit. Returns the tasks that changed.
    pub(super) fn finish(mut self) -> Result<Vec<TaskId>, StoreError> {
        if self.any_held {
            let left = std::mem::take(&mut self.left);
            gate::let_go(&mut self, &left)?;
        }
        if !self.history.is_empty() {
            let done = format!("[{}]", self.history.join(","));
            self.execute(HISTORY, params![self.now.0, self.boot_now.ms, done])?;
        }
        self.touched.sort_unstable();
        self.touched.dedup();
        Ok(self.touched)
    }
}

/// A value of a statement that was put together.
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
