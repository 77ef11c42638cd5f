//! Statements on workers, credentials and the state of the queue.

use async_trait::async_trait;
use rusqlite::params;

use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::{CredentialRow, WorkerRow};
use crate::store::tx::Workers;
use domain::{Timestamp, WorkerInstanceId};

const PUT: &str = "INSERT INTO workers (holder, name, host, process, started_at, beat_at, running, concurrency,
        labels, version, drain)
    VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)
    ON CONFLICT (holder) DO UPDATE SET beat_at = excluded.beat_at, running = excluded.running,
        concurrency = excluded.concurrency";

const PARK: &str = "INSERT INTO credentials (id, parked_until, class, message) VALUES (?1, ?2, ?3, ?4)
    ON CONFLICT (id) DO UPDATE SET parked_until = excluded.parked_until, class = excluded.class,
        message = excluded.message";

#[async_trait(?Send)]
impl Workers for SqliteTx<'_> {
    async fn put_worker(&mut self, row: &WorkerRow) -> Result<(), StoreError> {
        let WorkerRow { holder, name, host, process, started_at, beat_at, running, concurrency, .. } = row;
        let WorkerRow { labels, version, drain, .. } = row;
        let holder = holder.as_bytes();
        let values =
            params![holder, name, host, process, started_at, beat_at, running, concurrency, labels, version, drain];
        self.db()?.execute(PUT, values)?;
        Ok(())
    }

    async fn drain_worker(&mut self, holder: WorkerInstanceId) -> Result<bool, StoreError> {
        Ok(self.db()?.execute("UPDATE workers SET drain = TRUE WHERE holder = ?1", [holder.as_bytes()])? > 0)
    }

    async fn remove_worker(&mut self, holder: WorkerInstanceId) -> Result<(), StoreError> {
        self.db()?.execute("DELETE FROM workers WHERE holder = ?1", [holder.as_bytes()])?;
        Ok(())
    }

    async fn park(&mut self, row: &CredentialRow) -> Result<(), StoreError> {
        self.db()?.execute(PARK, params![row.id, row.parked_until, row.class.name(), row.message])?;
        Ok(())
    }

    async fn unpark(&mut self, credential: &str, now: Timestamp) -> Result<bool, StoreError> {
        let text = "UPDATE credentials SET parked_until = ?2 WHERE id = ?1 AND parked_until > ?2";
        Ok(self.db()?.execute(text, params![credential, now.0])? > 0)
    }

    async fn set_paused(&mut self, paused: bool) -> Result<(), StoreError> {
        self.db()?.execute("UPDATE queue_state SET paused = ?1", [paused])?;
        Ok(())
    }

    async fn set_concurrency(&mut self, concurrency: u32) -> Result<(), StoreError> {
        self.db()?.execute("UPDATE queue_state SET concurrency = ?1", [concurrency])?;
        Ok(())
    }
}
