//! Statements on tasks that others depend on.

use std::sync::LazyLock;

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::{Db, name};
use super::table::Table;
use super::tx::SqliteTx;
use crate::store::StoreError;
use crate::store::rows::DependencyRow;
use crate::store::tx::{Dependencies, Tx as _};
use crate::store::views::{Dependency, GraphTask, TaskGraph};
use domain::{Hold, Name, Named as _, Status, TaskId, Timestamp};

const STATUS: &str = "SELECT id, COALESCE(key_name, ''), status FROM tasks WHERE id = ?1";

/// Ids grow with the time.
const NEWEST_RETRY: &str =
    "SELECT id FROM tasks INDEXED BY tasks_retry_of WHERE retry_of = ?1 ORDER BY id DESC LIMIT 1";

const REPOINT: &str =
    "UPDATE dependencies INDEXED BY dependencies_on SET on_task = ?2, state = 'open' WHERE on_task = ?1
    AND state = 'failed' AND EXISTS (SELECT 1 FROM waits WHERE waits.task_id = dependencies.task_id) RETURNING task_id";

const ADD_UNSETTLED: &str = "INSERT INTO unsettled (task_id) SELECT ?1 WHERE EXISTS
        (SELECT 1 FROM dependencies INDEXED BY dependencies_on WHERE on_task = ?1 AND state = 'open')
    ON CONFLICT DO NOTHING";

const NEXT_UNSETTLED: &str = "SELECT task_id, status FROM unsettled JOIN tasks ON id = task_id LIMIT 1";

static OPEN_ON: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {} FROM dependencies INDEXED BY dependencies_on WHERE on_task = ?1 AND state = 'open' LIMIT ?2",
        DependencyRow::COLUMNS
    )
});

static OF_TASK: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM dependencies WHERE task_id = ?1 ORDER BY n", DependencyRow::COLUMNS));

const STATE: &str = "UPDATE dependencies SET state = ?3 WHERE task_id = ?1 AND n = ?2";

const MET: &str = "UPDATE waits SET open = open - 1 WHERE task_id = ?1 RETURNING open";

/// A time that has passed is none.
static START: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE tasks SET held = NULL, due_at = (SELECT run_at FROM waits WHERE task_id = tasks.id AND run_at > ?2)
        WHERE id = ?1 AND status = 'pending' AND held = '{}' RETURNING due_at",
        Hold::DEPENDENCIES
    )
});

/// Dependencies of a task with what became of them.
static SHOWN: LazyLock<String> = LazyLock::new(|| {
    let columns = DependencyRow::COLUMNS.split(", ").map(|column| format!("d.{column}")).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {columns}, t.status, CASE WHEN ?3 THEN t.result END, CASE WHEN ?3 THEN t.structured_output END
        FROM dependencies d LEFT JOIN tasks t ON t.id = d.on_task
        WHERE d.task_id = ?1 AND (NOT ?3 OR d.name IS NOT NULL) ORDER BY d.n LIMIT ?2"
    )
});

/// Tasks that are reached from one along dependencies, in both directions, nearest first.
const NEAR: &str = "WITH RECURSIVE near(id) AS (
        VALUES (?1)
        UNION SELECT on_task FROM near JOIN dependencies ON task_id = near.id
        UNION SELECT task_id FROM near JOIN dependencies INDEXED BY dependencies_on ON on_task = near.id
        LIMIT ?2)
    SELECT id FROM near";

const NODE: &str = "SELECT key_name, status, CASE WHEN json_valid(spec) THEN spec ->> '$.name' END,
        CASE WHEN json_valid(spec) THEN substr(spec ->> '$.instruction', 1, 400) END
    FROM tasks WHERE id = ?1";

/// A dependency. A text that is none is another word than any that is known: the rest of the row counts.
fn read(row: &Row<'_>) -> rusqlite::Result<DependencyRow> {
    let text = |at: usize| row.get_ref(at).ok().and_then(|value| value.as_bytes().ok()).map(String::from_utf8_lossy);
    let word = |at: usize| text(at).unwrap_or_default();
    Ok(DependencyRow {
        task_id: TaskId::of(row.get(0)?),
        n: row.get(1)?,
        on_task: TaskId::of(row.get(2)?),
        name: text(3).map(std::borrow::Cow::into_owned),
        condition: Name::read(&word(4)),
        on_failure: Name::read(&word(5)),
        state: Name::read(&word(6)),
    })
}

#[async_trait(?Send)]
impl Dependencies for SqliteTx<'_> {
    async fn statuses(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, String, Name<Status>)>, StoreError> {
        let db = self.db()?;
        let mut found = Vec::with_capacity(tasks.len());
        for task in tasks {
            let read = |row: &Row<'_>| Ok((TaskId::of(row.get(0)?), row.get(1)?, name(row, 2)?));
            found.extend(db.one(STATUS, [task.as_bytes()], read)?);
        }
        Ok(found)
    }

    async fn insert_dependency(&mut self, row: &DependencyRow) -> Result<(), StoreError> {
        self.db()?.insert(row)
    }

    async fn insert_wait(&mut self, task: TaskId, open: i64, run_at: Option<Timestamp>) -> Result<(), StoreError> {
        let text = "INSERT INTO waits (task_id, open, run_at) VALUES (?1, ?2, ?3)";
        self.db()?.execute(text, params![task.as_bytes(), open, run_at.map(|at| at.0)])?;
        Ok(())
    }

    async fn put_wait(&mut self, task: TaskId, run_at: Option<Timestamp>) -> Result<bool, StoreError> {
        let text = "UPDATE waits SET run_at = ?2 WHERE task_id = ?1";
        Ok(self.db()?.execute(text, params![task.as_bytes(), run_at.map(|at| at.0)])? > 0)
    }

    async fn end_wait(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute("DELETE FROM waits WHERE task_id = ?1", [task.as_bytes()])?;
        Ok(())
    }

    async fn newest_retry(&mut self, task: TaskId) -> Result<Option<TaskId>, StoreError> {
        self.db()?.one(NEWEST_RETRY, [task.as_bytes()], |row| row.get(0).map(TaskId::of))
    }

    async fn repoint(&mut self, task: TaskId, retry: TaskId) -> Result<Vec<TaskId>, StoreError> {
        self.db()?.all(REPOINT, params![task.as_bytes(), retry.as_bytes()], |row| row.get(0).map(TaskId::of))
    }

    async fn add_unsettled(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute(ADD_UNSETTLED, [task.as_bytes()])?;
        Ok(())
    }

    async fn next_unsettled(&mut self) -> Result<Option<(TaskId, Name<Status>)>, StoreError> {
        self.db()?.one(NEXT_UNSETTLED, [], |row| Ok((TaskId::of(row.get(0)?), name(row, 1)?)))
    }

    async fn remove_unsettled(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute("DELETE FROM unsettled WHERE task_id = ?1", [task.as_bytes()])?;
        Ok(())
    }

    async fn open_dependencies_on(&mut self, task: TaskId, limit: i64) -> Result<Vec<DependencyRow>, StoreError> {
        self.db()?.all(&OPEN_ON, params![task.as_bytes(), limit], read)
    }

    async fn dependencies_of(&mut self, task: TaskId) -> Result<Vec<DependencyRow>, StoreError> {
        self.db()?.all(&OF_TASK, [task.as_bytes()], read)
    }

    async fn put_dependency_states(&mut self, rows: &[DependencyRow]) -> Result<(), StoreError> {
        let db = self.db()?;
        for row in rows {
            db.execute(STATE, params![row.task_id.as_bytes(), row.n, row.state.name()])?;
        }
        Ok(())
    }

    async fn count_met(&mut self, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        let db = self.db()?;
        let mut ready = Vec::new();
        for task in tasks {
            if db.one(MET, [task.as_bytes()], |row| row.get::<_, i64>(0))? == Some(0) {
                ready.push(*task);
            }
        }
        Ok(ready)
    }

    async fn end_waits(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Option<Timestamp>)>, StoreError> {
        let mut started = Vec::with_capacity(tasks.len());
        for task in tasks {
            let values = params![task.as_bytes(), self.clock().wall.0];
            let due = self.db()?.one(&START, values, |row| row.get::<_, Option<i64>>(0))?;
            started.extend(due.map(|due| (*task, due.map(Timestamp))));
            self.end_wait(*task).await?;
        }
        Ok(started)
    }
}

/// Dependencies of a task, in order; with `results` those that have a name, with what they left.
pub fn of_task(db: Db<'_>, task: TaskId, limit: i64, results: bool) -> Result<Vec<Dependency>, StoreError> {
    db.readable(&SHOWN, params![task.as_bytes(), limit, results], "dependency", |row| {
        let at = DependencyRow::WIDTH;
        let status = row.get::<_, Option<String>>(at)?.and_then(|status| Status::from_name(&status));
        Ok(Dependency { row: read(row)?, status, result: row.get(at + 1)?, structured_output: row.get(at + 2)? })
    })
}

/// Tasks round one, and the dependencies between them.
pub fn graph(db: Db<'_>, task: TaskId, limit: i64) -> Result<TaskGraph, StoreError> {
    let mut near = db.all(NEAR, params![task.as_bytes(), limit + 1], |row| row.get(0).map(TaskId::of))?;
    let more = i64::try_from(near.len()).unwrap_or(i64::MAX) > limit;
    near.truncate(usize::try_from(limit).unwrap_or_default());
    let mut graph = TaskGraph { more, ..TaskGraph::default() };
    for id in near {
        let node = db.one(NODE, [id.as_bytes()], |row| {
            let (name, instruction): (Option<String>, Option<String>) = (row.get(2)?, row.get(3)?);
            let key: Option<String> = row.get(0)?;
            let status: String = row.get(1)?;
            Ok(GraphTask::of(id, key.unwrap_or_default(), Status::from_name(&status), name, instruction))
        })?;
        graph.tasks.extend(node.flatten());
        graph.dependencies.extend(db.all(&OF_TASK, [id.as_bytes()], read)?);
    }
    graph.keep_known();
    Ok(graph)
}

/// True if dependents of a task that has ended have not all been told.
pub fn any_unsettled(db: Db<'_>) -> Result<bool, StoreError> {
    Ok(db.one("SELECT EXISTS (SELECT 1 FROM unsettled)", [], |row| row.get(0))?.unwrap_or_default())
}
