//! Tasks of workers that died, or whose leases ran out, are taken back.

use super::transitions::{Transition, set_apart_unread};
use super::{Change, Unit};
use crate::process::chance;
use crate::queue::messages::{Expire, HolderDied};
use crate::store::StoreError;
use domain::{TaskCommand, TaskId};

impl Change for HolderDied {
    type Answer = usize;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<usize, StoreError> {
        let rows = unit.tx.tasks_of(self.0).await?;
        // Not asked with the rows, since it happens seldom: what waits for what they leave is looked for.
        if !rows.is_empty() {
            unit.expect_held();
            unit.expect_waits();
        }
        let mut freed = 0;
        for row in rows {
            let row = match row {
                Ok(row) => row,
                Err(unread) => {
                    set_apart_unread(unit, unread.id, &unread.why).await?;
                    continue;
                }
            };
            if let Ok(moved) = Transition::of(row, TaskCommand::HolderDied(self.0), unit, chance())? {
                moved.crash(unit, true, "the worker died").await?;
                freed += 1;
            }
        }
        unit.tx.remove_worker(self.0).await?;
        Ok(freed)
    }
}

impl Change for Expire {
    type Answer = bool;

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        let row = unit.find(self.task).await?;
        let Some(row) = row.filter(|row| row.holder == Some(self.holder)) else { return Ok(false) };
        let command = TaskCommand::Expire { now: unit.lease_now };
        let Ok(moved) = Transition::of(row, command, unit, chance())? else { return Ok(false) };
        moved.crash(unit, false, "the worker's lease ran out").await?;
        Ok(true)
    }
}
