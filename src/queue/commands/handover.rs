//! Attempts that run on while their worker leaves, and the worker that takes them over.

use super::transitions::Transition;
use super::{Change, Unit};
use crate::process::chance;
use crate::queue::messages::{Adopt, Assignment, HandOver, NotAdopted, TakeBackOrphan};
use crate::store::StoreError;
use crate::store::convert::{record_of, task_of};
use crate::store::rows::ProgressRow;
use audit::HistoryEvent;
use domain::{Lease, LeaseKey, LeaseTimes, NewEvent, TaskCommand, TaskId};

impl Change for HandOver {
    type Answer = Vec<LeaseKey>;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Vec<LeaseKey>, StoreError> {
        let held = unit.tx.leases_of(self.holder).await?;
        let (kept, lost): (Vec<_>, Vec<_>) = self.leases.iter().copied().partition(|key| held.contains(key));
        let expires = LeaseTimes::new(self.lease).expiry(unit.lease_now);
        for key in &kept {
            unit.tx.put_handover(*key, self.holder).await?;
        }
        unit.tx.renew(&kept, expires).await?;
        // From here on nobody takes its processes for those of a dead worker.
        unit.tx.remove_worker(self.holder).await?;
        unit.record(&HistoryEvent::HandOver { leases: kept, holder: self.holder, expires: expires.ms });
        Ok(lost)
    }
}

impl Change for Adopt {
    type Answer = Result<Assignment, NotAdopted>;

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.held(self.key).await? else { return Ok(Err(NotAdopted::Gone)) };
        if !unit.tx.is_handed_over(self.key).await? {
            return Ok(Err(NotAdopted::Held));
        }
        let expires = LeaseTimes::new(self.lease).expiry(unit.lease_now);
        let lease = Lease { holder: self.holder, expires };
        let command = TaskCommand::Adopt { epoch: self.key.epoch, lease };
        if record_of(&row)?.apply(command, unit.now, 0.0).is_err() {
            return Ok(Err(NotAdopted::Held));
        }
        unit.tx.adopt(self.key, &lease, &self.worker).await?;
        let event = NewEvent::log(&format!("{} has taken over the attempt as it runs", self.worker));
        let last_event = unit.add_events(row.id, &row.key_name, row.last_event, &[event]).await?;
        let progress = ProgressRow { last_event, attempt_events: row.attempt_events, ..ProgressRow::default() };
        unit.tx.set_progress(row.id, &progress).await?;
        unit.record(&HistoryEvent::Adopt { lease: self.key, holder: self.holder, expires: expires.ms });
        let mut task = task_of(row);
        task.worker = Some(self.worker.clone());
        Ok(Ok(Assignment { key: self.key, task, budget_usd: None }))
    }
}

impl Change for TakeBackOrphan {
    type Answer = bool;

    fn task(&self) -> Option<TaskId> {
        Some(self.0.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        let Some(row) = unit.held(self.0).await? else { return Ok(false) };
        let Some(holder) = row.holder else { return Ok(false) };
        if !unit.tx.is_handed_over(self.0).await? {
            return Ok(false);
        }
        let Ok(moved) = Transition::of(row, TaskCommand::HolderDied(holder), unit, chance())? else {
            return Ok(false);
        };
        moved.crash(unit, true, "the attempt ended before another worker had taken it over").await?;
        Ok(true)
    }
}
