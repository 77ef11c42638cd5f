//! Workers, their credentials, and what an operator says about the queue.

use super::{Change, Unit};
use crate::process::{Identity, host_name};
use crate::queue::Concern;
use crate::queue::messages::{Beat, DrainWorker, Draining, SetConcurrency, SetPaused, Unpark, WorkerGone};
use crate::store::StoreError;
use crate::store::rows::{CredentialRow, WorkerRow};
use audit::HistoryEvent;
use domain::Failure;

impl Change for Beat {
    type Answer = ();

    const IS_SIGN_OF_LIFE: bool = true;

    fn concern(&self) -> Concern {
        Concern::Nobody
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        let identity = Identity::current();
        let process = serde_json::to_string(&identity)
            .map_err(|error| StoreError::unwritable("worker", self.holder.uuid(), &error))?;
        let worker = WorkerRow {
            holder: self.holder,
            name: self.name.clone(),
            host: host_name(),
            process,
            started_at: unit.now.0,
            beat_at: unit.now.0,
            running: i64::try_from(self.running).unwrap_or(i64::MAX),
            concurrency: self.concurrency.into(),
            labels: self.labels.text(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            drain: false,
        };
        unit.tx.put_worker(&worker).await
    }
}

impl Change for Draining {
    type Answer = ();

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.record(&HistoryEvent::Drain { holder: self.0 });
        Ok(())
    }
}

impl Change for DrainWorker {
    type Answer = bool;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        unit.tx.drain_worker(self.0).await
    }
}

impl Change for WorkerGone {
    type Answer = ();

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.tx.remove_worker(self.0).await
    }
}

/// Starts nothing more with this credential for a time, where the failure came of it.
pub async fn park(unit: &mut Unit<'_>, credential: &str, failure: &Failure) -> Result<(), StoreError> {
    let Some(until) = failure.parks_until(unit.now) else { return Ok(()) };
    unit.record(&HistoryEvent::Park { credential: credential.to_owned(), until: until.0 });
    let row = CredentialRow {
        id: credential.to_owned(),
        parked_until: until.0,
        class: failure.class.into(),
        message: failure.message.clone(),
    };
    unit.tx.park(&row).await
}

impl Change for SetPaused {
    type Answer = ();

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.record(&HistoryEvent::Pause { paused: self.0 });
        unit.tx.set_paused(self.0).await
    }
}

impl Change for Unpark {
    type Answer = bool;

    const MAKES_WORK: bool = true;

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        unit.record(&HistoryEvent::Unpark { credential: self.0.clone() });
        unit.tx.unpark(&self.0, unit.now).await
    }
}

impl Change for SetConcurrency {
    type Answer = ();

    async fn run(&self, unit: &mut Unit<'_>) -> Result<(), StoreError> {
        unit.record(&HistoryEvent::Limit { concurrency: self.0 });
        unit.tx.set_concurrency(self.0).await
    }
}
