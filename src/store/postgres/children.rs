//! Statements on tasks that were made from inside a running task.

use std::sync::LazyLock;

use async_trait::async_trait;

use super::connection::Connection;
use super::tx::{PostgresTx, only};
use super::value::{get, params};
use crate::store::StoreError;
use crate::store::families::given;
use crate::store::rows::FamilyRow;
use crate::store::tx::Children;
use domain::{TaskId, Usd, WorkerInstanceId};

static FAMILY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT (SELECT depth FROM child_tasks WHERE task_id = $1),
            (SELECT parent_id FROM child_tasks WHERE task_id = $1),
            (SELECT COUNT(*) FROM child_tasks WHERE parent_id = $1), {}",
        given("$1")
    )
});

static SETTLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE attempts SET reserved_usd =
            (SELECT GREATEST(0, max_budget_usd - COALESCE(cost_usd, 0) - {}) FROM tasks WHERE id = $1)
        WHERE task_id = $1 AND ended_at IS NULL AND reserved_usd IS NOT NULL
            AND EXISTS (SELECT 1 FROM tasks WHERE id = $1 AND max_budget_usd IS NOT NULL)",
        given("$1")
    )
});

/// What is left to the running tasks of a worker that have a budget and children.
static LEFT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT p.id, GREATEST(0, p.max_budget_usd - COALESCE(p.cost_usd, 0) - {}) FROM tasks p
        WHERE p.status = 'running' AND p.holder = $1 AND p.max_budget_usd IS NOT NULL
            AND EXISTS (SELECT 1 FROM child_tasks WHERE parent_id = p.id)",
        given("p.id")
    )
});

const LIVE: &str = "SELECT t.id FROM child_tasks c JOIN tasks t ON t.id = c.task_id
    WHERE c.parent_id = $1 AND t.status IN ('pending', 'running') ORDER BY t.id";

#[async_trait(?Send)]
impl Children for PostgresTx<'_> {
    async fn insert_child(&mut self, task: TaskId, parent: TaskId, depth: i64) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO child_tasks (task_id, parent_id, depth) VALUES ($1, $2, $3)";
        self.defer(INSERT, params![task, parent, depth]);
        Ok(())
    }

    async fn family(&mut self, task: TaskId) -> Result<FamilyRow, StoreError> {
        let found = self.all(&FAMILY, params![task], |row| {
            let depth: Option<i64> = get(row, 0)?;
            let (depth, given) = (depth.unwrap_or_default(), Usd::of(get(row, 3)?));
            Ok(FamilyRow { depth, parent: get(row, 1)?, children: get(row, 2)?, given })
        });
        Ok(found.await?.into_iter().next().unwrap_or_default())
    }

    async fn live_children(&mut self, task: TaskId) -> Result<Vec<TaskId>, StoreError> {
        self.all(LIVE, params![task], only).await
    }

    async fn settle_reserve(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.defer(&SETTLE, params![task]);
        Ok(())
    }
}

/// Reads what is left to the running tasks of a worker whose children have some of their budget.
pub async fn left(db: &Connection, holder: WorkerInstanceId) -> Result<Vec<(TaskId, Usd)>, StoreError> {
    db.all(&LEFT, &params![holder], |row| Ok((get(row, 0)?, Usd::of(get(row, 1)?)))).await
}
