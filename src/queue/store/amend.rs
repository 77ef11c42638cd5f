//! What a client may still change about a task that waits: how soon it starts.

use entity::task;
use rusqlite::params;

use super::row::{spec_of, task_with};
use super::{Change, StoreError, Tx, settle};
use crate::queue::messages::{Amend, Amended};
use crate::task::{Did, NewEvent, Status, stored};

const WRITE: &str = "UPDATE tasks SET spec = ?2, priority = ?3, due_at = ?4, held = ?5, last_event = ?6 WHERE id = ?1";

impl Change for Amend {
    type Answer = Amended;

    const MAKES_WORK: bool = true;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Amended, StoreError> {
        let Some(mut row) = settle::find(tx, self.task)? else { return Ok(Amended::Unknown) };
        let mut read = spec_of(&row);
        let is_pending = row.status == Status::Pending.name();
        // Between two attempts its time is not the client's: a back-off, or an answer that it waits for.
        if !is_pending || (self.run_at.is_some() && row.attempt > 0) {
            let task = Box::new(task_with(row, read));
            return Ok(if is_pending { Amended::Begun(task) } else { Amended::NotPending(task) });
        }
        if let Some(priority) = self.priority {
            (read.spec.priority, row.priority) = (priority, priority);
        }
        if let Some(run_at) = self.run_at {
            read.spec.run_at = run_at;
            (row.due_at, row.held) = (run_at.filter(|at| *at > tx.now).map(|at| at.0), None);
        }
        let when = read.spec.run_at.map_or_else(|| "at once".to_owned(), |at| at.to_string());
        let event = NewEvent::log(&format!("priority {}, to run {when}", row.priority));
        row.last_event = tx.add_events(row.id, row.last_event, &[event])?;
        // What this version can't read it doesn't write either.
        if read.unreadable.is_none() {
            row.spec = stored::to_text(&read.spec).map_err(|error| StoreError::unwritable(row.id, &error))?;
        }
        let task::Model { id, priority, due_at, ref held, last_event, .. } = row;
        tx.execute(WRITE, params![id, row.spec, priority, due_at, held, last_event])?;
        tx.record(&Did::Amend { task: id, priority, due: due_at });
        Ok(Amended::Done(Box::new(task_with(row, read))))
    }
}
