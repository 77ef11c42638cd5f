//! The workers' rows, their credentials, and what an operator says about the queue.

use entity::{credential, worker};
use rusqlite::params;
use sea_orm::ActiveValue::Set;
use sea_orm::EntityTrait;
use sea_orm::sea_query::OnConflict;

use super::{Change, StoreError, Tx};
use crate::process::{Identity, host_name};
use crate::queue::messages::{Beat, Draining, SetConcurrency, SetPaused, Unpark, WorkerGone};
use crate::task::{Did, Failure, HolderId};

impl Change for Beat {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        let row = worker::ActiveModel {
            holder: Set(self.holder),
            name: Set(self.name.clone()),
            host: Set(host_name()),
            process: Set(serde_json::to_string(&Identity::current()).unwrap_or_default()),
            started_at: Set(tx.now.0),
            beat_at: Set(tx.now.0),
            running: Set(i64::try_from(self.running).unwrap_or(i64::MAX)),
            concurrency: Set(self.concurrency.into()),
        };
        let moves = [worker::Column::BeatAt, worker::Column::Running, worker::Column::Concurrency];
        let known = OnConflict::column(worker::Column::Holder).update_columns(moves).to_owned();
        tx.run(&worker::Entity::insert(row).on_conflict(known))?;
        Ok(())
    }
}

impl Change for Draining {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.record(&Did::Drain { holder: self.0 });
        Ok(())
    }
}

impl Change for WorkerGone {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        forget(tx, self.0)
    }
}

/// Starts nothing more with this credential for a time, where the failure came of it.
pub fn park(tx: &mut Tx<'_>, credential: &str, failure: &Failure) -> Result<(), StoreError> {
    let Some(until) = failure.parks_until(tx.now) else { return Ok(()) };
    tx.record(&Did::Park { credential: credential.to_owned(), until: until.0 });
    let row = credential::ActiveModel {
        id: Set(credential.to_owned()),
        parked_until: Set(until.0),
        class: Set(failure.class.name().to_owned()),
        message: Set(failure.message.clone()),
    };
    let columns = [credential::Column::ParkedUntil, credential::Column::Class, credential::Column::Message];
    let known = OnConflict::column(credential::Column::Id).update_columns(columns).to_owned();
    tx.run(&credential::Entity::insert(row).on_conflict(known))?;
    Ok(())
}

/// Removes the row of a worker that lives no more.
pub fn forget(tx: &Tx<'_>, holder: HolderId) -> Result<(), StoreError> {
    tx.execute("DELETE FROM workers WHERE holder = ?1", [holder])?;
    Ok(())
}

impl Change for SetPaused {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.record(&Did::Pause { paused: self.0 });
        tx.execute("UPDATE queue_state SET paused = ?1", [self.0])?;
        Ok(())
    }
}

impl Change for Unpark {
    type Answer = bool;

    const MAKES_WORK: bool = true;

    fn run(&self, tx: &mut Tx<'_>) -> Result<bool, StoreError> {
        tx.record(&Did::Unpark { credential: self.0.clone() });
        let text = "UPDATE credentials SET parked_until = ?2 WHERE id = ?1 AND parked_until > ?2";
        Ok(tx.execute(text, params![self.0, tx.now.0])? > 0)
    }
}

impl Change for SetConcurrency {
    type Answer = ();

    fn run(&self, tx: &mut Tx<'_>) -> Result<(), StoreError> {
        tx.record(&Did::Limit { concurrency: self.0 });
        tx.execute("UPDATE queue_state SET concurrency = ?1", [self.0])?;
        Ok(())
    }
}
