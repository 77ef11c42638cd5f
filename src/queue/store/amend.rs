//! What a client may still change about a task that waits: how soon it starts.

use entity::task;
use rusqlite::params;

use super::row::{spec_of, task_with};
use super::{Change, StoreError, Tx, settle};
use crate::queue::messages::{Amend, Amended};
use crate::task::{Did, NewEvent, Status};

const WRITE: &str = "UPDATE tasks SET spec = ?2, priority = ?3, due_at = ?4, held = ?5, last_event = ?6 WHERE id = ?1";

impl Change for Amend {
    type Answer = Amended;

    const MAKES_WORK: bool = true;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Amended, StoreError> {
        let Some(mut row) = settle::find(tx, self.task)? else { return Ok(Amended::Unknown) };
        let mut spec = spec_of(&row)?;
        let is_pending = row.status == Status::Pending.name();
        // Between two attempts its time is not the client's: a back-off, or an answer that it waits for.
        if !is_pending || (self.run_at.is_some() && row.attempt > 0) {
            let task = Box::new(task_with(row, spec)?);
            return Ok(if is_pending { Amended::Begun(task) } else { Amended::NotPending(task) });
        }
        if let Some(priority) = self.priority {
            (spec.priority, row.priority) = (priority, priority);
        }
        if let Some(run_at) = self.run_at {
            spec.run_at = run_at;
            (row.due_at, row.held) = (run_at.filter(|at| *at > tx.now).map(|at| at.0), None);
        }
        let when = spec.run_at.map_or_else(|| "at once".to_owned(), |at| at.to_string());
        let event = NewEvent::log(&format!("priority {}, to run {when}", spec.priority));
        row.last_event = tx.add_events(row.id, row.last_event, &[event])?;
        row.spec = serde_json::to_string(&spec).unwrap_or_default();
        let task::Model { id, priority, due_at, ref held, last_event, .. } = row;
        tx.execute(WRITE, params![id, row.spec, priority, due_at, held, last_event])?;
        tx.record(&Did::Amend { task: id, priority, due: due_at });
        Ok(Amended::Done(Box::new(task_with(row, spec)?)))
    }
}
