//! Statements on attempts that are handed over.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::PostgresTx;
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::tx::Handovers;
use crate::store::views::HeldTree;
use domain::{Lease, LeaseKey, WorkerInstanceId};

const PUT: &str = "INSERT INTO handovers (task_id, epoch, tree_holder) VALUES ($1, $2, $3)
    ON CONFLICT (task_id) DO UPDATE SET epoch = excluded.epoch, tree_holder = excluded.tree_holder
    WHERE handovers.epoch <> excluded.epoch";

const IS_HANDED_OVER: &str = "SELECT 1 FROM handovers h JOIN tasks t ON t.id = h.task_id AND t.epoch = h.epoch
    WHERE h.task_id = $1 AND h.epoch = $2 AND t.status = 'running'
    AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)";

const ADOPT: &str = "UPDATE tasks SET holder = $3, worker = $4, lease_ms = $5, lease_boot = $6
    WHERE id = $1 AND epoch = $2 AND status = 'running'";

const ADOPTED: &str = "SELECT t.id, t.holder, h.tree_holder, t.session_id,
        EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
    FROM tasks t JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
    WHERE t.status = 'running' AND t.holder = $1";

const HANDED_OVER: &str = "SELECT t.id, t.holder, h.tree_holder, t.session_id,
        EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
    FROM tasks t JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
    WHERE t.status = 'running' AND t.id = $1 AND t.epoch = $2";

#[async_trait(?Send)]
impl Handovers for PostgresTx<'_> {
    async fn put_handover(&mut self, key: LeaseKey, tree_holder: WorkerInstanceId) -> Result<(), StoreError> {
        self.defer(PUT, params![key.task, key.epoch, tree_holder]);
        Ok(())
    }

    async fn is_handed_over(&mut self, key: LeaseKey) -> Result<bool, StoreError> {
        self.any(IS_HANDED_OVER, params![key.task, key.epoch]).await
    }

    async fn adopt(&mut self, key: LeaseKey, lease: &Lease, worker: &str) -> Result<(), StoreError> {
        let (holder, ends) = (lease.holder, lease.expires);
        self.defer_of(key.task, ADOPT, params![key.task, key.epoch, holder, worker, ends.ms, ends.boot]);
        if let Some(row) = self.known_mut(key.task) {
            (row.holder, row.worker) = (Some(holder), Some(worker.to_owned()));
            (row.lease_ms, row.lease_boot) = (Some(ends.ms), Some(ends.boot));
        }
        Ok(())
    }
}

/// Reads the attempts of a worker that it has adopted.
pub async fn adopted(db: &Connection, holder: WorkerInstanceId) -> Result<Vec<HeldTree>, StoreError> {
    db.readable(ADOPTED, &params![holder], "task", held_tree).await
}

/// Reads an attempt that was handed over.
pub async fn handed_over(db: &Connection, key: LeaseKey) -> Result<Option<HeldTree>, StoreError> {
    db.one(HANDED_OVER, &params![key.task, key.epoch], held_tree).await
}

/// An attempt, from the columns task, holder, mark, session, and whether its worker is known.
pub fn held_tree(row: &Row) -> Result<HeldTree, Unread> {
    let session: Option<String> = get(row, 3)?;
    Ok(HeldTree {
        task: get(row, 0)?,
        holder: get(row, 1)?,
        tree_holder: get(row, 2)?,
        session: session.and_then(|id| id.parse().ok()),
        is_held: get(row, 4)?,
    })
}
