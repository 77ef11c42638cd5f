//! Reads of the queue's state, its workers, and what they should know.

use std::sync::LazyLock;
use std::time::Duration;

use rusqlite::params;

use super::children;
use super::claims::{lanes, leases_of};
use super::handovers::held_tree;
use super::query::{Db, name, time};
use super::table::Table;
use crate::process::{boot_now, wall_now};
use crate::store::StoreError;
use crate::store::convert::{by_status, worker_of};
use crate::store::rows::WorkerRow;
use crate::store::views::{Backlog, HeldTree, LaneBacklog, Parked, Poll, Polled, Stats, Work, WorkerInfo};
use domain::{Named as _, Status, TREE_END_MS, TaskId, TaskInput, Timestamp, WorkerInstanceId};

/// Ids sort by the time of their making.
const OLDEST: &str = "SELECT created_at FROM tasks WHERE status = 'pending' ORDER BY id LIMIT 1";

/// The same of one key.
const OLDEST_OF_KEY: &str = "SELECT created_at FROM tasks INDEXED BY tasks_status WHERE status = 'pending' AND key_name = ?1 ORDER BY id LIMIT 1";

const COUNTS: &str = "SELECT status, SUM(count) FROM task_counts WHERE ?1 IS NULL OR key_name = ?1 GROUP BY status";

const PARKED: &str = "SELECT id, parked_until, class, message FROM credentials WHERE parked_until > ?1 ORDER BY id";

static WORKERS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM workers ORDER BY name", WorkerRow::COLUMNS));

const HOLDERS: &str = "SELECT DISTINCT holder FROM tasks WHERE status = 'running' AND holder IS NOT NULL";

/// Reads the tasks whose lease is over by [`LeaseTimes::is_over`](domain::LeaseTimes::is_over).
const EXPIRED: &str = "SELECT t.id, t.holder, COALESCE(h.tree_holder, t.holder), t.session_id,
        EXISTS (SELECT 1 FROM workers w WHERE w.holder = t.holder)
    FROM tasks t
    LEFT JOIN handovers h ON h.task_id = t.id AND h.epoch = t.epoch
    WHERE t.status = 'running' AND t.holder IS NOT NULL AND (t.lease_boot <> ?1 OR t.lease_ms < ?2)";

/// The columns of [`Work`], but for the lanes.
const WORK: &str = "SELECT concurrency,
        NOT paused AND NOT EXISTS (SELECT 1 FROM credentials WHERE id = ?2 AND parked_until > ?1),
        EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL AND lane = '')
            OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at <= ?1),
        EXISTS (SELECT 1 FROM workers WHERE holder = ?3 AND drain),
        EXISTS (SELECT 1 FROM child_tasks),
        (SELECT MIN(at) FROM (
            SELECT * FROM (SELECT due_at AS at FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at > ?1
                ORDER BY due_at LIMIT 1)
            UNION ALL SELECT MIN(parked_until) FROM credentials WHERE parked_until > ?1))
    FROM queue_state";

/// Reads the input that a worker's tasks have not received, in order. An interrupt is meant for the attempt that ran
/// then; a message that an earlier attempt had in hand is the next one's. Each is told once, and a number at a time: it
/// may be long.
const SAID: &str = "SELECT t.id, m.id, m.kind, m.text FROM messages m JOIN tasks t ON t.id = m.task_id
    WHERE m.done_at IS NULL AND t.status = 'running' AND t.holder = ?1
    AND (m.epoch IS NULL OR (m.kind = 'message' AND m.epoch < t.epoch) OR (m.kind = 'interrupt' AND m.epoch = t.epoch))
    AND m.id NOT IN (SELECT value FROM json_each(?2)) ORDER BY m.id LIMIT 20";

/// Answers that a worker's tasks have not heard.
const ANSWERS: &str = "SELECT t.id, q.request_id, q.answer FROM questions q JOIN tasks t ON t.id = q.task_id
    WHERE q.answer IS NOT NULL AND NOT q.closed AND t.status = 'running' AND t.holder = ?1";

/// The counts of tasks, kept by each transaction, and the state of the queue.
pub fn stats(db: Db<'_>, key: Option<&str>) -> Result<Stats, StoreError> {
    let state = "SELECT paused, concurrency FROM queue_state";
    let (paused, concurrency) = db.one(state, [], |row| Ok((row.get(0)?, row.get(1)?)))?.unwrap_or_default();
    let parked = db.readable(PARKED, [wall_now().0], "credential", |row| {
        Ok(Parked { credential: row.get(0)?, until: time::at(row, 1)?, class: name(row, 2)?, message: row.get(3)? })
    })?;
    let oldest_pending = match key {
        Some(key) => db.one(OLDEST_OF_KEY, [key], |row| time::at(row, 0))?,
        None => db.one(OLDEST, [], |row| time::at(row, 0))?,
    };
    Ok(Stats { counts: counts(db, key)?, paused, concurrency, oldest_pending, parked })
}

/// Pending tasks by the cause of their wait. Those that are ready are what is left of all, which are counted: there may be many.
const WAITING: &str = "SELECT cause, SUM(tasks) FROM (
        SELECT CASE WHEN waiting_for IS NOT NULL THEN 'answer'
                WHEN held IS NOT NULL THEN substr(held, 1, instr(held || ':', ':') - 1)
                WHEN due_at <= ?1 THEN 'due' ELSE 'time' END AS cause, 1 AS tasks
            FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at IS NOT NULL
        UNION ALL
        SELECT 'due', (SELECT COALESCE(SUM(count), 0) FROM task_counts WHERE status = 'pending')
            - (SELECT COUNT(*) FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at IS NOT NULL))
    GROUP BY cause HAVING SUM(tasks) > 0 ORDER BY cause";

const QUESTIONS: &str =
    "SELECT COUNT(*), MIN(asked_at) FROM questions INDEXED BY questions_open WHERE answer IS NULL AND NOT closed";

const DELIVERIES: &str = "SELECT COUNT(*) FROM deliveries WHERE state = 'pending'";

/// Ready tasks that require labels.
const READY_LANES: &str = "SELECT lane, COUNT(*), MIN(created_at) FROM tasks INDEXED BY tasks_ready
    WHERE status = 'pending' AND due_at IS NULL AND lane > '' GROUP BY lane";

/// Counts what waits.
pub fn backlog(db: Db<'_>) -> Result<Backlog, StoreError> {
    let waiting = db.all(WAITING, [wall_now().0], |row| Ok((name(row, 0)?, row.get(1)?)))?;
    let questions = db.one(QUESTIONS, [], |row| Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?.map(Timestamp))))?;
    let (questions, oldest_question) = questions.unwrap_or_default();
    let deliveries = db.one(DELIVERIES, [], |row| row.get(0))?.unwrap_or_default();
    let lanes = db.readable(READY_LANES, [], "task", |row| {
        Ok(LaneBacklog { lane: row.get(0)?, tasks: row.get(1)?, oldest: time::at(row, 2)? })
    })?;
    Ok(Backlog { lanes, waiting, questions, oldest_question, deliveries, bytes: bytes_in_use(db)? })
}

/// The bytes of the database that hold something: pages that were freed are filled again.
pub fn bytes_in_use(db: Db<'_>) -> Result<u64, StoreError> {
    let text = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    Ok(db.one(text, [], |row| row.get::<_, i64>(0))?.map_or(0, i64::unsigned_abs))
}

/// The number of tasks in each status, of all keys or of one.
pub fn counts(db: Db<'_>, key: Option<&str>) -> Result<[i64; 5], StoreError> {
    Ok(by_status(db.all(COUNTS, [key], |row| Ok((row.get(0)?, row.get(1)?)))?))
}

/// The workers that are known.
pub fn workers(db: Db<'_>) -> Result<Vec<WorkerInfo>, StoreError> {
    Ok(db.readable(&WORKERS, [], "worker", WorkerRow::read)?.into_iter().filter_map(worker_of).collect())
}

/// The workers that hold tasks.
pub fn holders(db: Db<'_>) -> Result<Vec<WorkerInstanceId>, StoreError> {
    db.readable(HOLDERS, [], "task", |row| row.get(0).map(WorkerInstanceId::of))
}

/// The running tasks whose leases are over.
pub fn expired(db: Db<'_>) -> Result<Vec<HeldTree>, StoreError> {
    let now = boot_now();
    db.readable(EXPIRED, params![now.boot.as_bytes(), now.ms - TREE_END_MS], "task", held_tree)
}

/// Reads the answer to a worker's poll.
pub fn poll(db: Db<'_>, poll: &Poll<'_>) -> Result<Polled, StoreError> {
    let leases = leases_of(db, poll.holder)?;
    let now = wall_now();
    let values = params![now.0, poll.credential, poll.holder.as_bytes()];
    let work = db.one(WORK, values, |row| {
        let (concurrency, is_open, any, drain) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
        Ok(Work {
            concurrency,
            is_open,
            any,
            lanes: Vec::new(),
            drain,
            any_children: row.get(4)?,
            next: time::maybe(row, 5)?,
        })
    })?;
    let work = Work { lanes: lanes(db)?, ..work.unwrap_or_default() };
    // Most workers that ask run nothing.
    let said = if leases.is_empty() { Vec::new() } else { said(db, poll)? };
    let has_families = work.any_children && !leases.is_empty();
    let budgets = if has_families { children::left(db, poll.holder)? } else { Vec::new() };
    let (is_for_it, concurrency, drain) = (work.is_for(poll.labels), work.concurrency, work.drain);
    // Who holds leases looks whether it has lost them.
    let stays = leases
        .is_empty()
        .then(|| work.next.map_or(Duration::MAX, |next| Duration::from_millis(next.since_ms(now).unsigned_abs())));
    Ok(Polled { leases, work: is_for_it, concurrency, said, budgets, drain, stays })
}

fn said(db: Db<'_>, poll: &Poll<'_>) -> Result<Vec<(TaskId, TaskInput)>, StoreError> {
    let answers = db.readable(ANSWERS, [poll.holder.as_bytes()], "answer", |row| {
        Ok((row.get(0).map(TaskId::of)?, row.get::<_, String>(1)?, row.get::<_, String>(2)?))
    })?;
    let answers = answers.into_iter().filter_map(|(task, request_id, answer)| {
        Some((task, TaskInput::Answer { request_id, decision: serde_json::from_str(&answer).ok()? }))
    });
    let heard = serde_json::json!(poll.heard).to_string();
    let messages = db.readable(SAID, params![poll.holder.as_bytes(), heard], "message", |row| {
        let (id, text) = (row.get(1)?, row.get(3)?);
        let is_message = row.get::<_, String>(2)? == "message";
        Ok((
            row.get(0).map(TaskId::of)?,
            if is_message { TaskInput::Message { id, text } } else { TaskInput::Interrupt { id } },
        ))
    })?;
    Ok(answers.chain(messages).collect())
}

/// True if a task has ended, or is not there.
pub fn has_ended(db: Db<'_>, task: TaskId) -> Result<bool, StoreError> {
    let status: Option<String> =
        db.one("SELECT status FROM tasks WHERE id = ?1", [task.as_bytes()], |row| row.get(0))?;
    Ok(status.and_then(|status| Status::from_name(&status)).is_none_or(Status::is_terminal))
}
