//! Statements on tasks that others depend on.

use std::sync::LazyLock;

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::table::Table;
use super::tx::{PostgresTx, only};
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::rows::DependencyRow;
use crate::store::tx::{Dependencies, Tx as _};
use crate::store::views::{Dependency, GraphTask, TaskGraph};
use domain::{Hold, Name, Named as _, Status, TaskId, Timestamp};

const STATUSES: &str = "SELECT id, COALESCE(key_name, ''), status FROM tasks WHERE id = ANY($1)";

/// Ids grow with the time.
const NEWEST_RETRY: &str = "SELECT id FROM tasks WHERE retry_of = $1 ORDER BY id DESC LIMIT 1";

const REPOINT: &str = "UPDATE dependencies SET on_task = $2, state = 'open' WHERE on_task = $1 AND state = 'failed'
    AND EXISTS (SELECT 1 FROM waits WHERE waits.task_id = dependencies.task_id) RETURNING task_id";

const ADD_UNSETTLED: &str = "INSERT INTO unsettled (task_id) SELECT $1::uuid WHERE EXISTS
        (SELECT 1 FROM dependencies WHERE on_task = $1 AND state = 'open') ON CONFLICT DO NOTHING";

const NEXT_UNSETTLED: &str = "SELECT task_id, status FROM unsettled JOIN tasks ON id = task_id LIMIT 1";

static OPEN_ON: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM dependencies WHERE on_task = $1 AND state = 'open' LIMIT $2", DependencyRow::COLUMNS)
});

static OF_TASKS: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT {} FROM dependencies WHERE task_id = ANY($1) ORDER BY task_id, n", DependencyRow::COLUMNS)
});

const STATE: &str = "UPDATE dependencies SET state = new.state
    FROM unnest($1::uuid[], $2::int8[], $3::text[]) AS new(task, place, state) WHERE task_id = new.task AND n = new.place";

const MET: &str = "UPDATE waits SET open = open - met.times
    FROM (SELECT task, COUNT(*) AS times FROM unnest($1::uuid[]) AS task GROUP BY task) met
    WHERE task_id = met.task RETURNING task_id, open";

/// A time that has passed is none.
static START: LazyLock<String> = LazyLock::new(|| {
    format!(
        "UPDATE tasks SET held = NULL, due_at = (SELECT run_at FROM waits WHERE task_id = tasks.id AND run_at > $2)
        WHERE id = ANY($1) AND status = 'pending' AND held = '{}' RETURNING id, due_at",
        Hold::DEPENDENCIES
    )
});

/// Dependencies of a task with what became of them.
static SHOWN: LazyLock<String> = LazyLock::new(|| {
    let columns = DependencyRow::COLUMNS.split(", ").map(|column| format!("d.{column}")).collect::<Vec<_>>().join(", ");
    format!(
        "SELECT {columns}, t.status, CASE WHEN $3 THEN t.result END, CASE WHEN $3 THEN t.structured_output END
        FROM dependencies d LEFT JOIN tasks t ON t.id = d.on_task
        WHERE d.task_id = $1 AND (NOT $3 OR d.name IS NOT NULL) ORDER BY d.n LIMIT $2"
    )
});

/// Tasks that are reached from one along dependencies, in both directions, nearest first. No more of them are looked for
/// than are read.
const NEAR: &str = "WITH RECURSIVE near(id) AS (
        SELECT $1::uuid
        UNION
        SELECT beside.id FROM near CROSS JOIN LATERAL
            (SELECT on_task AS id FROM dependencies WHERE task_id = near.id
            UNION ALL SELECT task_id FROM dependencies WHERE on_task = near.id) beside)
    SELECT id FROM near LIMIT $2";

const NODES: &str = "SELECT id, key_name, status, spec FROM tasks WHERE id = ANY($1)";

#[async_trait(?Send)]
impl Dependencies for PostgresTx<'_> {
    async fn statuses(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, String, Name<Status>)>, StoreError> {
        let ids = Value::ids(tasks.iter().map(|task| task.uuid()));
        self.all(STATUSES, vec![ids], |row| Ok((get(row, 0)?, get(row, 1)?, get(row, 2)?))).await
    }

    async fn insert_dependency(&mut self, row: &DependencyRow) -> Result<(), StoreError> {
        self.insert(row);
        Ok(())
    }

    async fn insert_wait(&mut self, task: TaskId, open: i64, run_at: Option<Timestamp>) -> Result<(), StoreError> {
        self.any_waits = Some(true);
        self.insert_values("waits", "task_id, open, run_at", params![task, open, run_at].into());
        Ok(())
    }

    async fn put_wait(&mut self, task: TaskId, run_at: Option<Timestamp>) -> Result<bool, StoreError> {
        self.any("UPDATE waits SET run_at = $2 WHERE task_id = $1 RETURNING 1", params![task, run_at]).await
    }

    async fn end_wait(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.defer_of(task, "DELETE FROM waits WHERE task_id = $1", params![task]);
        Ok(())
    }

    async fn newest_retry(&mut self, task: TaskId) -> Result<Option<TaskId>, StoreError> {
        self.one(NEWEST_RETRY, params![task], only).await
    }

    async fn repoint(&mut self, task: TaskId, retry: TaskId) -> Result<Vec<TaskId>, StoreError> {
        self.all(REPOINT, params![task, retry], only).await
    }

    async fn add_unsettled(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.defer_of(task, ADD_UNSETTLED, params![task]);
        Ok(())
    }

    async fn next_unsettled(&mut self) -> Result<Option<(TaskId, Name<Status>)>, StoreError> {
        self.one(NEXT_UNSETTLED, [], |row| Ok((get(row, 0)?, get(row, 1)?))).await
    }

    async fn remove_unsettled(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.defer_of(task, "DELETE FROM unsettled WHERE task_id = $1", params![task]);
        Ok(())
    }

    async fn open_dependencies_on(&mut self, task: TaskId, limit: i64) -> Result<Vec<DependencyRow>, StoreError> {
        self.all(&OPEN_ON, params![task, limit], DependencyRow::read).await
    }

    async fn dependencies_of(&mut self, task: TaskId) -> Result<Vec<DependencyRow>, StoreError> {
        self.all(&OF_TASKS, vec![Value::ids([task.uuid()])], DependencyRow::read).await
    }

    async fn put_dependency_states(&mut self, rows: &[DependencyRow]) -> Result<(), StoreError> {
        let tasks = Value::ids(rows.iter().map(|row| row.task_id.uuid()));
        let places = Value::numbers(rows.iter().map(|row| row.n));
        let states = Value::texts(rows.iter().map(|row| row.state.name().to_owned()));
        self.defer(STATE, vec![tasks, places, states]);
        Ok(())
    }

    async fn count_met(&mut self, tasks: &[TaskId]) -> Result<Vec<TaskId>, StoreError> {
        let ids = Value::ids(tasks.iter().map(|task| task.uuid()));
        let left: Vec<(TaskId, i64)> = self.all(MET, vec![ids], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
        Ok(left.into_iter().filter(|(_, open)| *open == 0).map(|(task, _)| task).collect())
    }

    async fn end_waits(&mut self, tasks: &[TaskId]) -> Result<Vec<(TaskId, Option<Timestamp>)>, StoreError> {
        let ids = || Value::ids(tasks.iter().map(|task| task.uuid()));
        let now = self.clock().wall;
        let started = self.all(&START, params![ids(), now], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
        self.forget(tasks);
        self.tell_workers();
        self.defer("DELETE FROM waits WHERE task_id = ANY($1)", vec![ids()]);
        Ok(started)
    }
}

/// Dependencies of a task, in order; with `results` those that have a name, with what they left.
pub async fn of_task(db: &Connection, task: TaskId, limit: i64, results: bool) -> Result<Vec<Dependency>, StoreError> {
    let read = |row: &Row| -> Result<Dependency, Unread> {
        let at = DependencyRow::WIDTH;
        let status: Option<String> = get(row, at)?;
        Ok(Dependency {
            row: DependencyRow::read(row)?,
            status: status.and_then(|status| Status::from_name(&status)),
            result: get(row, at + 1)?,
            structured_output: get(row, at + 2)?,
        })
    };
    db.readable(&SHOWN, &params![task, limit, results], "dependency", read).await
}

/// Tasks round one, and the dependencies between them.
pub async fn graph(db: &Connection, task: TaskId, limit: i64) -> Result<TaskGraph, StoreError> {
    let mut near: Vec<TaskId> = db.all(NEAR, &params![task, limit + 1], only).await?;
    let more = i64::try_from(near.len()).unwrap_or(i64::MAX) > limit;
    near.truncate(usize::try_from(limit).unwrap_or_default());
    let ids = [Value::ids(near.iter().map(|task| task.uuid()))];
    let nodes = db.readable(NODES, &ids, "task", |row| {
        let (status, spec): (String, String) = (get(row, 2)?, get(row, 3)?);
        let key: Option<String> = get(row, 1)?;
        let spec = wire::stored::from_text(&spec).spec;
        let (name, instruction) = (spec.name, Some(spec.instruction));
        Ok(GraphTask::of(get(row, 0)?, key.unwrap_or_default(), Status::from_name(&status), name, instruction))
    });
    let mut nodes: Vec<GraphTask> = nodes.await?.into_iter().flatten().collect();
    nodes.sort_by_key(|node| near.iter().position(|id| *id == node.id));
    let dependencies = db.all(&OF_TASKS, &ids, DependencyRow::read).await?;
    let mut graph = TaskGraph { tasks: nodes, dependencies, more };
    graph.keep_known();
    Ok(graph)
}

/// True if dependents of a task that has ended have not all been told.
pub async fn any_unsettled(db: &Connection) -> Result<bool, StoreError> {
    Ok(db.one("SELECT EXISTS (SELECT 1 FROM unsettled)", &[], only).await?.unwrap_or_default())
}
