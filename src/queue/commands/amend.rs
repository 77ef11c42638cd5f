//! Changes that a client may still make to a waiting task: how soon it starts.

use super::{Change, Unit, dependencies};
use crate::queue::messages::{Amend, Amended};
use crate::store::StoreError;
use crate::store::convert::{spec_of, task_with};
use audit::HistoryEvent;
use domain::{Hold, NewEvent, Status, TaskId};
use wire::stored;

impl Change for Amend {
    type Answer = Amended;

    const MAKES_WORK: bool = true;

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Amended, StoreError> {
        let Some(mut row) = unit.find(self.task).await? else { return Ok(Amended::Unknown) };
        let mut read = spec_of(&row);
        let is_pending = row.status == Status::Pending.into();
        // Between two attempts its time is not the client's: a back-off, or an answer that it waits for.
        if !is_pending || (self.run_at.is_some() && row.attempt > 0) {
            let task = Box::new(task_with(row, read));
            return Ok(if is_pending { Amended::Begun(task) } else { Amended::NotPending(task) });
        }
        if let Some(priority) = self.priority {
            (read.spec.priority, row.priority) = (priority, priority);
        }
        let waits = row.held.as_deref() == Some(Hold::DEPENDENCIES);
        if self.waive && waits {
            dependencies::waive(unit, &mut row, self.run_at.unwrap_or(read.spec.run_at)).await?;
        }
        if let Some(run_at) = self.run_at {
            read.spec.run_at = run_at;
        }
        if let Some(run_at) = self.run_at.filter(|_| waits && !self.waive) {
            unit.tx.put_wait(row.id, run_at).await?;
        } else if let Some(run_at) = self.run_at {
            (row.due_at, row.held) = (run_at.filter(|at| *at > unit.now).map(|at| at.0), None);
        }
        let when = read.spec.run_at.map_or_else(|| "at once".to_owned(), |at| at.to_string());
        let event = NewEvent::log(&format!("priority {}, to run {when}", row.priority));
        row.last_event = unit.add_events(row.id, &row.key_name, row.last_event, &[event]).await?;
        // What this version can't read it doesn't write either.
        if read.unreadable.is_none() {
            let text =
                stored::to_text(&read.spec).map_err(|error| StoreError::unwritable("task", row.id.uuid(), &error))?;
            unit.count_bytes(&row.key_name, text.len() as i64 - row.spec.len() as i64);
            row.spec = text;
        }
        unit.tx.reschedule_task(&row).await?;
        unit.record(&HistoryEvent::Amend { task: row.id, priority: row.priority, due: row.due_at });
        Ok(Amended::Done(Box::new(task_with(row, read))))
    }
}
