//! Small reads in the queue's own thread, on the connection that writes: what it has just written is at hand
//! there, and an answer that takes microseconds is not worth a hop to another thread.

use entity::event;
use rusqlite::params;

use super::row::event_of;
use super::{StoreError, Tx, Writer};
use crate::queue::messages::{Look, Looked};
use crate::queue::reads::{EventPage, ReadEvents};
use crate::task::{Event, LeaseKey, Said, Status, TaskId};

const HELD: &str = "SELECT id, epoch FROM tasks INDEXED BY tasks_running WHERE status = 'running' AND holder = ?1";

/// Whether there is something to claim, now or due by now, and how many tasks a worker may run.
const WORK: &str = "SELECT concurrency,
        NOT paused
        AND (EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_ready WHERE status = 'pending' AND due_at IS NULL)
            OR EXISTS (SELECT 1 FROM tasks INDEXED BY tasks_due WHERE status = 'pending' AND due_at <= ?1))
        AND NOT EXISTS (SELECT 1 FROM credentials WHERE id = ?2 AND parked_until > ?1)
    FROM queue_state";

/// What a worker's tasks have not heard, in the order of its coming. An interrupt is meant for the
/// attempt that ran then; a message that an earlier attempt had in hand is the next one's. Each is told
/// once, and some at a time: it may be long.
const SAID: &str = "SELECT t.id, m.id, m.kind, m.text FROM messages m JOIN tasks t ON t.id = m.task_id
    WHERE m.done_at IS NULL AND t.status = 'running' AND t.holder = ?1
    AND (m.epoch IS NULL OR (m.kind = 'message' AND m.epoch < t.epoch) OR (m.kind = 'interrupt' AND m.epoch = t.epoch))
    AND m.id NOT IN (SELECT value FROM json_each(?2)) ORDER BY m.id LIMIT 20";

/// Answers that a worker's tasks have not heard.
const ANSWERS: &str = "SELECT t.id, q.request_id, q.answer FROM questions q JOIN tasks t ON t.id = q.task_id
    WHERE q.answer IS NOT NULL AND NOT q.closed AND t.status = 'running' AND t.holder = ?1";

const STANDS: &str = "SELECT status, last_event FROM tasks WHERE id = ?1";
const EVENTS: &str = "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = ?1 AND seq > ?2 ORDER BY seq";
/// So many events keep nobody waiting.
const FEW: i64 = 32;

impl Writer {
    /// What a worker should know. Claims nothing.
    pub fn look(&self, look: &Look) -> Result<Looked, StoreError> {
        self.read(|tx| {
            let held: Vec<LeaseKey> =
                tx.all(HELD, [look.holder], |row| Ok(LeaseKey { task: row.get(0)?, epoch: row.get(1)? }))?;
            // Most looks are those of a worker that runs nothing.
            let said = if held.is_empty() { Vec::new() } else { said(tx, look)? };
            let work = tx.one(WORK, params![tx.now.0, look.credential], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let (concurrency, work) = work.unwrap_or_default();
            Ok(Looked {
                lost: look.leases.iter().copied().filter(|key| !held.contains(key)).collect(),
                forgotten: held.into_iter().filter(|key| !look.leases.contains(key)).collect(),
                work,
                concurrency,
                said,
                claimed: Ok(Vec::new()),
            })
        })
    }

    /// Whether a task has ended, or is not there.
    pub fn has_ended(&self, task: TaskId) -> Result<bool, StoreError> {
        let status: Option<String> =
            self.read(|tx| tx.one("SELECT status FROM tasks WHERE id = ?1", [task], |row| row.get(0)))?;
        Ok(status.and_then(|status| Status::from_name(&status)).is_none_or(Status::is_terminal))
    }

    /// The events of a task, where there are but a few behind the last that was seen: what a follower reads
    /// after each commit. `None`: there are many, which somebody else should read.
    pub fn few_events(&self, read: &ReadEvents) -> Result<Option<EventPage>, StoreError> {
        self.read(|tx| {
            let task: Option<(String, i64)> = tx.one(STANDS, [read.task], |row| Ok((row.get(0)?, row.get(1)?)))?;
            let Some((status, last)) = task else {
                return Ok(Some(EventPage { events: Vec::new(), more: false, status: None }));
            };
            if last - read.after > FEW.min(i64::try_from(read.limit).unwrap_or(FEW)) {
                return Ok(None);
            }
            let mut size = 0;
            let events = tx.some(EVENTS, params![read.task, read.after], event_of_row, |event: &Event| {
                size += event.data.len() as u64;
                size < read.bytes
            })?;
            let more = events.last().is_some_and(|event| event.seq < last);
            Ok(Some(EventPage { events, more, status: Status::from_name(&status) }))
        })
    }

    /// A number that changes when another process commits. Reads shared memory only. `None` while a commit is
    /// under way: this is asked in other threads, which wait for no disk.
    pub fn others_version(&self) -> Result<Option<i64>, StoreError> {
        self.try_read(|tx| tx.one("PRAGMA data_version", [], |row| row.get(0))).map(Option::flatten)
    }
}

/// An event of a row: one whose data can't be read costs nothing but itself.
fn event_of_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Event> {
    let data = row.get(4).unwrap_or_else(|error| format!("the event can't be read: {error}"));
    let kind = row.get(3).unwrap_or_default();
    Ok(event_of(event::Model { task_id: row.get(0)?, seq: row.get(1)?, at: row.get(2)?, kind, data }))
}

fn said(tx: &Tx<'_>, look: &Look) -> Result<Vec<(TaskId, Said)>, StoreError> {
    let answers: Vec<(TaskId, String, String)> =
        tx.all(ANSWERS, [look.holder], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let answers = answers.into_iter().filter_map(|(task, request_id, answer)| {
        Some((task, Said::Answer { request_id, decision: serde_json::from_str(&answer).ok()? }))
    });
    let heard = serde_json::to_string(&look.heard).unwrap_or_default();
    let messages = tx.all(SAID, params![look.holder, heard], |row| {
        let (id, text) = (row.get(1)?, row.get(3)?);
        let is_message = row.get::<_, String>(2)? == "message";
        Ok((row.get(0)?, if is_message { Said::Message { id, text } } else { Said::Interrupt { id } }))
    })?;
    Ok(answers.chain(messages).collect())
}
