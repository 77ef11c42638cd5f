//! Statements on tasks that were made from inside a running task.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::params;

use super::query::Db;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::families::given;
use crate::store::rows::FamilyRow;
use crate::store::tx::Children;
use domain::{TaskId, Usd, WorkerInstanceId};

const FAMILY: &str = "SELECT (SELECT depth FROM child_tasks WHERE task_id = ?1),
        (SELECT parent_id FROM child_tasks WHERE task_id = ?1),
        (SELECT COUNT(*) FROM child_tasks WHERE parent_id = ?1)";

static GIVEN: LazyLock<String> = LazyLock::new(|| format!("SELECT {}", given("?1")));

static SETTLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE attempts SET reserved_usd =
            (SELECT MAX(0, max_budget_usd - COALESCE(cost_usd, 0) - {}) FROM tasks WHERE id = ?1)
        WHERE task_id = ?1 AND ended_at IS NULL AND reserved_usd IS NOT NULL
            AND EXISTS (SELECT 1 FROM tasks WHERE id = ?1 AND max_budget_usd IS NOT NULL)",
        given("?1")
    )
});

/// What is left to the running tasks of a worker that have a budget and children.
static LEFT: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT p.id, MAX(0, p.max_budget_usd - COALESCE(p.cost_usd, 0) - {}) FROM tasks p
        WHERE p.status = 'running' AND p.holder = ?1 AND p.max_budget_usd IS NOT NULL
            AND EXISTS (SELECT 1 FROM child_tasks WHERE parent_id = p.id)",
        given("p.id")
    )
});

const LIVE: &str = "SELECT t.id FROM child_tasks c JOIN tasks t ON t.id = c.task_id
    WHERE c.parent_id = ?1 AND t.status IN ('pending', 'running') ORDER BY t.id";

#[async_trait(?Send)]
impl Children for SqliteTx<'_> {
    async fn insert_child(&mut self, task: TaskId, parent: TaskId, depth: i64) -> Result<(), StoreError> {
        const INSERT: &str = "INSERT INTO child_tasks (task_id, parent_id, depth) VALUES (?1, ?2, ?3)";
        self.db()?.execute(INSERT, params![task.as_bytes(), parent.as_bytes(), depth])?;
        Ok(())
    }

    async fn family(&mut self, task: TaskId) -> Result<FamilyRow, StoreError> {
        let db = self.db()?;
        let found = db.one(FAMILY, [task.as_bytes()], |row| {
            let (depth, parent): (Option<i64>, Option<_>) = (row.get(0)?, row.get(1)?);
            let (depth, parent) = (depth.unwrap_or_default(), parent.map(TaskId::of));
            Ok(FamilyRow { depth, parent, children: row.get(2)?, given: Usd::ZERO })
        })?;
        let family = found.unwrap_or_default();
        if family.children == 0 {
            return Ok(family);
        }
        let given: Option<f64> = db.one(&GIVEN, [task.as_bytes()], |row| row.get(0))?;
        Ok(FamilyRow { given: Usd::of(given.unwrap_or_default()), ..family })
    }

    async fn live_children(&mut self, task: TaskId) -> Result<Vec<TaskId>, StoreError> {
        self.db()?.all(LIVE, [task.as_bytes()], |row| row.get(0).map(TaskId::of))
    }

    async fn settle_reserve(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute(&SETTLE, [task.as_bytes()])?;
        Ok(())
    }
}

/// Reads what is left to the running tasks of a worker whose children have some of their budget.
pub fn left(db: Db<'_>, holder: WorkerInstanceId) -> Result<Vec<(TaskId, Usd)>, StoreError> {
    db.all(&LEFT, [holder.as_bytes()], |row| Ok((TaskId::of(row.get(0)?), Usd::of(row.get(1)?))))
}
