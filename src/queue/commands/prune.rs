//! The end of what is old.

use super::{Change, Unit};
use crate::queue::Concern;
use crate::queue::messages::{Prune, TidyShares};
use crate::store::StoreError;
use audit::HistoryEvent;
use domain::TaskId;

/// Tasks of one transaction: others wait for its end.
const BATCH: i64 = 200;

impl Change for TidyShares {
    type Answer = ();

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.tx.tidy_shares().await
    }
}

impl Change for Prune {
    type Answer = Vec<TaskId>;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Vec<TaskId>, StoreError> {
        let tasks = unit.tx.old_tasks(self.before, BATCH).await?;
        for task in &tasks {
            unit.tx.remove_task(*task).await?;
        }
        if !tasks.is_empty() {
            unit.tx.trim_history().await?;
            unit.record(&HistoryEvent::Prune { tasks: tasks.clone() });
        }
        Ok(tasks)
    }
}
