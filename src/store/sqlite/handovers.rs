//! Statements on attempts that are handed over.

use async_trait::async_trait;
use rusqlite::params;

use super::query::Db;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::tx::Handovers;
use crate::store::views::HeldTree;
use domain::{Lease, LeaseKey, TaskId, WorkerInstanceId};

const PUT: &str = "INSERT INTO handovers (task_id, epoch, tree_holder) VALUES (?1, ?2, ?3)
    ON CONFLICT (task_id) DO UPDATE SET epoch = excluded.epoch, tree_holder = excluded.tree_holder
    WHERE handovers.epoch <> excluded.epoch";

const IS_HANDED_OVER: &str = "SELECT 1 FROM handovers h JOIN tasks t ON t.id = h.task_id AND t.epoch = h.epoch
    WHERE h.task_id = ?1 AND h.epoch = ?2 AND t.status = 'running'
    AND NOT EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)";

const ADOPT: &str = "UPDATE tasks SET holder = ?3, worker = ?4, lease_ms = ?5, lease_boot = ?6
    WHERE id = ?1 AND epoch = ?2 AND status = 'running'";

const ADOPTED: &str = "SELECT t.id, t.holder, h.tree_holder, t.session_id,
        EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
    FROM tasks t INDEXED BY tasks_running JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
    WHERE t.status = 'running' AND t.holder = ?1";

const HANDED_OVER: &str = "SELECT t.id, t.holder, h.tree_holder, t.session_id,
        EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
    FROM tasks t JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
    WHERE t.status = 'running' AND t.id = ?1 AND t.epoch = ?2";

#[async_trait(?Send)]
impl Handovers for SqliteTx<'_> {
    async fn put_handover(&mut self, key: LeaseKey, tree_holder: WorkerInstanceId) -> Result<(), StoreError> {
        self.db()?.execute(PUT, params![key.task.as_bytes(), key.epoch.number(), tree_holder.as_bytes()])?;
        Ok(())
    }

    async fn is_handed_over(&mut self, key: LeaseKey) -> Result<bool, StoreError> {
        let values = params![key.task.as_bytes(), key.epoch.number()];
        Ok(self.db()?.one(IS_HANDED_OVER, values, |_| Ok(()))?.is_some())
    }

    async fn adopt(&mut self, key: LeaseKey, lease: &Lease, worker: &str) -> Result<(), StoreError> {
        let (holder, ends) = (lease.holder.as_bytes(), lease.expires);
        let (task, epoch) = (key.task.as_bytes(), key.epoch.number());
        self.db()?.execute(ADOPT, params![task, epoch, holder, worker, ends.ms, ends.boot.as_bytes()])?;
        Ok(())
    }
}

/// Reads the attempts of a worker that it has adopted.
pub fn adopted(db: Db<'_>, holder: WorkerInstanceId) -> Result<Vec<HeldTree>, StoreError> {
    db.readable(ADOPTED, [holder.as_bytes()], "task", held_tree)
}

/// Reads an attempt that was handed over.
pub fn handed_over(db: Db<'_>, key: LeaseKey) -> Result<Option<HeldTree>, StoreError> {
    db.one(HANDED_OVER, params![key.task.as_bytes(), key.epoch.number()], held_tree)
}

/// An attempt, from the columns task, holder, mark, session, and whether its worker is known.
pub fn held_tree(row: &rusqlite::Row<'_>) -> rusqlite::Result<HeldTree> {
    let session: Option<String> = row.get(3)?;
    Ok(HeldTree {
        task: TaskId::of(row.get(0)?),
        holder: WorkerInstanceId::of(row.get(1)?),
        tree_holder: WorkerInstanceId::of(row.get(2)?),
        session: session.and_then(|id| id.parse().ok()),
        is_held: row.get(4)?,
    })
}
