//! Reads of the queue's state, its workers, and what they should know.

use std::sync::LazyLock;

use super::children;
use super::claims::{LANES, LEASES, lease};
use super::connection::Connection;
use super::handovers::held_tree;
use super::table::Table;
use super::tx::{SERVER_CLOCK, only};
use super::value::{Value, get, params};
use crate::store::StoreError;
use crate::store::convert::{by_status, worker_of};
use crate::store::rows::WorkerRow;
use crate::store::views::{Backlog, HeldTree, LaneBacklog, Parked, Poll, Polled, Stats, Work, WorkerInfo};
use domain::{Named as _, Status, TREE_END_MS, TaskId, TaskInput, Timestamp, WorkerInstanceId};

/// Ids sort by the time of their making.
const OLDEST: &str = "SELECT created_at FROM tasks WHERE status = 'pending' ORDER BY id LIMIT 1";

/// The same of one key.
const OLDEST_OF_KEY: &str =
    "SELECT created_at FROM tasks WHERE status = 'pending' AND key_name = $1 ORDER BY id LIMIT 1";

const COUNTS: &str =
    "SELECT status, SUM(count)::bigint FROM task_counts WHERE $1::text IS NULL OR key_name = $1 GROUP BY status";

/// Milliseconds since the Unix epoch, by the clock of the server.
pub const NOW: &str = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint";

static PARKED: LazyLock<String> = LazyLock::new(|| {
    format!("SELECT id, parked_until, class, message FROM credentials WHERE parked_until > {NOW} ORDER BY id")
});

static WORKERS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM workers ORDER BY name", WorkerRow::COLUMNS));

const HOLDERS: &str = "SELECT DISTINCT holder FROM tasks WHERE status = 'running' AND holder IS NOT NULL";

/// Reads the tasks whose lease is over by [`LeaseTimes::is_over`](domain::LeaseTimes::is_over).
static EXPIRED: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT t.id, t.holder, COALESCE(h.tree_holder, t.holder), t.session_id,
            EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
        FROM tasks t
        LEFT JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
        WHERE t.status = 'running' AND t.holder IS NOT NULL AND (t.lease_boot <> $1 OR t.lease_ms < {NOW} - $2)"
    )
});

/// The columns of [`Work`].
static WORK: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT concurrency,
        NOT paused AND NOT EXISTS (SELECT 1 FROM credentials WHERE id = $1 AND parked_until > {NOW}),
        EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND due_at IS NULL AND lane = '')
            OR EXISTS (SELECT 1 FROM tasks WHERE status = 'pending' AND due_at <= {NOW}), {LANES},
        EXISTS (SELECT 1 FROM workers WHERE holder = $2 AND drain), EXISTS (SELECT 1 FROM child_tasks)
    FROM queue_state"
    )
});

/// Reads the input that a worker's tasks have not received, in order. An interrupt is meant for the attempt that ran
/// then; a message that an earlier attempt had in hand is the next one's. Each is told once, and a number at a time: it
/// may be long.
const SAID: &str = "SELECT t.id, m.id, m.kind, m.text FROM messages m JOIN tasks t ON t.id = m.task_id
    WHERE m.done_at IS NULL AND t.status = 'running' AND t.holder = $1
    AND (m.epoch IS NULL OR (m.kind = 'message' AND m.epoch < t.epoch) OR (m.kind = 'interrupt' AND m.epoch = t.epoch))
    AND m.id <> ALL($2) ORDER BY m.id LIMIT 20";

/// Answers that a worker's tasks have not heard.
const ANSWERS: &str = "SELECT t.id, q.request_id, q.answer FROM questions q JOIN tasks t ON t.id = q.task_id
    WHERE q.answer IS NOT NULL AND NOT q.closed AND t.status = 'running' AND t.holder = $1";

/// The counts of tasks, and the state of the queue.
pub async fn stats(db: &Connection, key: Option<&str>) -> Result<Stats, StoreError> {
    let state = "SELECT paused, concurrency FROM queue_state";
    let (paused, concurrency) = db.one(state, &[], |row| Ok((get(row, 0)?, get(row, 1)?))).await?.unwrap_or_default();
    let parked = db.readable(&PARKED, &[], "credential", |row| {
        Ok(Parked { credential: get(row, 0)?, until: get(row, 1)?, class: get(row, 2)?, message: get(row, 3)? })
    });
    let parked = parked.await?;
    let oldest_pending = match key {
        Some(key) => db.one(OLDEST_OF_KEY, &params![key], only).await?,
        None => db.one(OLDEST, &[], only).await?,
    };
    Ok(Stats { counts: counts(db, key).await?, paused, concurrency, oldest_pending, parked })
}

/// Pending tasks by the cause of their wait. Those that are ready are what is left of all, which are counted: there may be many.
static WAITING: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH later AS MATERIALIZED (SELECT CASE WHEN waiting_for IS NOT NULL THEN 'answer'
                WHEN held IS NOT NULL THEN split_part(held, ':', 1)
                WHEN due_at <= {NOW} THEN 'due' ELSE 'time' END AS cause
            FROM tasks WHERE status = 'pending' AND due_at IS NOT NULL)
        SELECT cause, SUM(tasks)::bigint FROM (
            SELECT cause, 1::bigint AS tasks FROM later
            UNION ALL
            SELECT 'due', (SELECT COALESCE(SUM(count), 0) FROM task_counts WHERE status = 'pending')::bigint
                - (SELECT COUNT(*) FROM later)) AS all_causes
        GROUP BY cause HAVING SUM(tasks) > 0 ORDER BY cause"
    )
});

const QUESTIONS: &str = "SELECT COUNT(*), MIN(asked_at) FROM questions WHERE answer IS NULL AND NOT closed";

const DELIVERIES: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'pending'";

/// Ready tasks that require labels.
const READY_LANES: &str = "SELECT lane, COUNT(*), MIN(created_at) FROM tasks
    WHERE status = 'pending' AND due_at IS NULL AND lane > '' GROUP BY lane";

/// Counts what waits.
pub async fn backlog(db: &Connection) -> Result<Backlog, StoreError> {
    let waiting = db.all(&WAITING, &[], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
    let questions = db.one(QUESTIONS, &[], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
    let (questions, oldest_question) = questions.unwrap_or_default();
    let deliveries = db.one(DELIVERIES, &[], only::<i64>).await?.unwrap_or_default();
    let lanes = db.readable(READY_LANES, &[], "task", |row| {
        Ok(LaneBacklog { lane: get(row, 0)?, tasks: get(row, 1)?, oldest: get(row, 2)? })
    });
    let lanes = lanes.await?;
    Ok(Backlog { lanes, waiting, questions, oldest_question, deliveries, bytes: bytes_in_use(db).await? })
}

/// The bytes of the database.
pub async fn bytes_in_use(db: &Connection) -> Result<u64, StoreError> {
    let text = "SELECT pg_database_size(current_database())";
    Ok(db.one(text, &[], only::<i64>).await?.map_or(0, i64::unsigned_abs))
}

/// The number of tasks in each status, of all keys or of one.
pub async fn counts(db: &Connection, key: Option<&str>) -> Result<[i64; 5], StoreError> {
    Ok(by_status(db.all(COUNTS, &params![key], |row| Ok((get(row, 0)?, get(row, 1)?))).await?))
}

/// The workers that are known.
pub async fn workers(db: &Connection) -> Result<Vec<WorkerInfo>, StoreError> {
    Ok(db.readable(&WORKERS, &[], "worker", WorkerRow::read).await?.into_iter().filter_map(worker_of).collect())
}

/// The workers that hold tasks.
pub async fn holders(db: &Connection) -> Result<Vec<WorkerInstanceId>, StoreError> {
    db.readable(HOLDERS, &[], "task", only).await
}

/// The running tasks whose leases are over.
pub async fn expired(db: &Connection) -> Result<Vec<HeldTree>, StoreError> {
    db.readable(&EXPIRED, &params![SERVER_CLOCK, TREE_END_MS], "task", held_tree).await
}

/// The time of the server.
pub async fn now(db: &Connection) -> Result<Timestamp, StoreError> {
    static TEXT: LazyLock<String> = LazyLock::new(|| format!("SELECT {NOW}"));
    Ok(db.one(&TEXT, &[], only).await?.unwrap_or_default())
}

/// Reads the answer to a worker's poll.
pub async fn poll(db: &Connection, poll: &Poll<'_>) -> Result<Polled, StoreError> {
    let (held, asked) = (params![poll.holder], params![poll.credential, poll.holder]);
    let work = db.one(&WORK, &asked, |row| {
        let (concurrency, is_open, any) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
        Ok(Work {
            concurrency,
            is_open,
            any,
            lanes: get(row, 3)?,
            drain: get(row, 4)?,
            any_children: get(row, 5)?,
            next: None,
        })
    });
    let (leases, work) = futures_util::try_join!(db.all(LEASES, &held, lease), work)?;
    let work = work.unwrap_or_default();
    // Most workers that ask run nothing.
    let (said, budgets) = match (leases.is_empty(), work.any_children) {
        (true, _) => Default::default(),
        (false, false) => (said(db, poll).await?, Vec::new()),
        (false, true) => futures_util::try_join!(said(db, poll), children::left(db, poll.holder))?,
    };
    let (is_for_it, concurrency, drain) = (work.is_for(poll.labels), work.concurrency, work.drain);
    // A commit may be missed.
    Ok(Polled { leases, work: is_for_it, concurrency, said, budgets, drain, stays: None })
}

async fn said(db: &Connection, poll: &Poll<'_>) -> Result<Vec<(TaskId, TaskInput)>, StoreError> {
    let (held, heard) = (params![poll.holder], [poll.holder.into(), Value::numbers(poll.heard.iter().copied())]);
    let answers =
        db.readable(ANSWERS, &held, "answer", |row| Ok((get(row, 0)?, get::<String>(row, 1)?, get::<String>(row, 2)?)));
    let messages = db.readable(SAID, &heard, "message", |row| {
        let (id, text) = (get(row, 1)?, get(row, 3)?);
        let is_message = get::<String>(row, 2)? == "message";
        Ok((get(row, 0)?, if is_message { TaskInput::Message { id, text } } else { TaskInput::Interrupt { id } }))
    });
    let (answers, messages) = futures_util::try_join!(answers, messages)?;
    let answers = answers.into_iter().filter_map(|(task, request_id, answer)| {
        Some((task, TaskInput::Answer { request_id, decision: serde_json::from_str(&answer).ok()? }))
    });
    Ok(answers.chain(messages).collect())
}

/// True if a task has ended, or is not there.
pub async fn has_ended(db: &Connection, task: TaskId) -> Result<bool, StoreError> {
    let status: Option<String> = db.one("SELECT status FROM tasks WHERE id = $1", &params![task], only).await?;
    Ok(status.and_then(|status| Status::from_name(&status)).is_none_or(Status::is_terminal))
}
