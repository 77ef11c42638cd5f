//! Statements on workers, credentials and the state of the queue.

use async_trait::async_trait;

use super::tx::PostgresTx;
use super::value::params;
use crate::store::StoreError;
use crate::store::rows::{CredentialRow, WorkerRow};
use crate::store::tx::Workers;
use domain::{Timestamp, WorkerInstanceId};

const PUT: &str = "INSERT INTO workers (holder, name, host, process, started_at, beat_at, running, concurrency,
        labels, version, drain)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
    ON CONFLICT (holder) DO UPDATE SET beat_at = excluded.beat_at, running = excluded.running,
        concurrency = excluded.concurrency";

const PARK: &str = "INSERT INTO credentials (id, parked_until, class, message) VALUES ($1, $2, $3, $4)
    ON CONFLICT (id) DO UPDATE SET parked_until = excluded.parked_until, class = excluded.class,
        message = excluded.message";

#[async_trait(?Send)]
impl Workers for PostgresTx<'_> {
    async fn put_worker(&mut self, row: &WorkerRow) -> Result<(), StoreError> {
        let WorkerRow { holder, name, host, process, started_at, beat_at, running, concurrency, .. } = row;
        let WorkerRow { labels, version, drain, .. } = row;
        let values = params![
            *holder,
            name,
            host,
            process,
            *started_at,
            *beat_at,
            *running,
            *concurrency,
            labels,
            version,
            *drain
        ];
        self.defer_quietly(PUT, values);
        Ok(())
    }

    async fn drain_worker(&mut self, holder: WorkerInstanceId) -> Result<bool, StoreError> {
        self.tell_workers();
        self.any("UPDATE workers SET drain = TRUE WHERE holder = $1 RETURNING 1", params![holder]).await
    }

    async fn remove_worker(&mut self, holder: WorkerInstanceId) -> Result<(), StoreError> {
        self.defer("DELETE FROM workers WHERE holder = $1", params![holder]);
        Ok(())
    }

    async fn park(&mut self, row: &CredentialRow) -> Result<(), StoreError> {
        self.tell_workers();
        self.defer(PARK, params![&row.id, row.parked_until, row.class.name(), &row.message]);
        Ok(())
    }

    async fn unpark(&mut self, credential: &str, now: Timestamp) -> Result<bool, StoreError> {
        let text = "UPDATE credentials SET parked_until = $2 WHERE id = $1 AND parked_until > $2 RETURNING 1";
        self.tell_workers();
        self.any(text, params![credential, now]).await
    }

    async fn set_paused(&mut self, paused: bool) -> Result<(), StoreError> {
        self.tell_workers();
        self.defer("UPDATE queue_state SET paused = $1", params![paused]);
        Ok(())
    }

    async fn set_concurrency(&mut self, concurrency: u32) -> Result<(), StoreError> {
        self.tell_workers();
        self.defer("UPDATE queue_state SET concurrency = $1", params![concurrency]);
        Ok(())
    }
}
