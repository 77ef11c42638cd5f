//! Schedules. A firing is one transaction: the task, the history and the next firing, so that each happens once,
//! however many processes look at the clock.

use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::messages::Submitted;
use crate::queue::schedules::{Fire, Fired, Firing, PutSchedule, RemoveSchedule, Replan, SchedulePut};
use crate::store::StoreError;
use crate::store::convert::{missed_name, overlap_name};
use crate::store::rows::{ScheduleRow, ScheduleRunRow};
use audit::{HistoryEvent, Source};
use domain::RunOutcome;
use wire::stored;

impl Change for PutSchedule {
    type Answer = SchedulePut;

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<SchedulePut, StoreError> {
        let one = &self.schedule;
        if !self.new && !unit.tx.has_schedule(one.id).await? {
            return Ok(SchedulePut::Gone);
        }
        if let Some(most) = self.most.filter(|_| self.new)
            && unit.tx.count_schedules(&one.key).await? >= i64::from(most)
        {
            return Ok(SchedulePut::Full);
        }
        let spec =
            stored::to_text(&one.spec).map_err(|error| StoreError::unwritable("schedule", one.id.uuid(), &error))?;
        let row = ScheduleRow {
            id: one.id,
            name: one.name.clone(),
            cron: one.cron.clone(),
            time_zone: one.time_zone.clone(),
            spec,
            key_name: one.key.clone(),
            missed: missed_name(one.missed).to_owned(),
            overlap: overlap_name(one.overlap).to_owned(),
            continue_session: one.continue_session,
            enabled: one.enabled,
            next_at: one.next_at,
            created_at: one.created_at,
        };
        unit.tx.put_schedule(&row).await?;
        unit.record(&HistoryEvent::PutSchedule { schedule: one.id, new: self.new });
        Ok(SchedulePut::Stored)
    }
}

impl Change for RemoveSchedule {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        let removed = unit.tx.remove_schedule(self.0).await?;
        if removed {
            unit.record(&HistoryEvent::RemoveSchedule { schedule: self.0 });
        }
        Ok(removed)
    }
}

impl Change for Fire {
    type Answer = Fired;

    const MAKES_WORK: bool = true;

    fn concern(&self) -> Concern {
        Concern::Idle(1)
    }

    fn is_essential(&self) -> bool {
        false
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Fired, StoreError> {
        let schedule = self.schedule;
        if !unit.tx.is_next_firing(schedule, self.due).await? {
            return Ok(Fired::Stale);
        }
        let (fired, outcome, task) = match &self.firing {
            Firing::Submit(submit) => match submit.store(unit, Source::Schedule).await? {
                Submitted::Created(task) => {
                    let id = task.id;
                    (Fired::Submitted(task), RunOutcome::Submitted, Some(id))
                }
                refused => return Ok(Fired::NotTaken(refused)),
            },
            Firing::Missed => (Fired::Noted, RunOutcome::Missed, None),
            Firing::Skipped => (Fired::Noted, RunOutcome::Skipped, None),
            Firing::Refused => (Fired::Noted, RunOutcome::Refused, None),
        };
        unit.record(&HistoryEvent::Fire { schedule, due: self.due.map(|due| due.0), made: task });
        let (due_at, fired_at, detail) = (self.due, unit.now, self.detail.as_deref());
        let run = ScheduleRunRow { schedule, due_at, fired_at, outcome, task, detail };
        unit.tx.insert_schedule_run(&run).await?;
        if self.due.is_some() {
            unit.tx.set_next_firing(schedule, None, self.next).await?;
        }
        Ok(fired)
    }
}

impl Change for Replan {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        let moved = unit.tx.set_next_firing(self.schedule, Some(self.was), Some(self.next)).await?;
        if moved {
            unit.record(&HistoryEvent::Replan { schedule: self.schedule, next: self.next.0 });
        }
        Ok(moved)
    }
}
