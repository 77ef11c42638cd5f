//! Reads of events.

use rusqlite::{Row, params};

use super::query::{Db, name};
use crate::store::StoreError;
use crate::store::convert::event_of;
use crate::store::rows::EventRow;
use crate::store::views::{EventPage, LatestEvents, ReadEvents, SequencedEvent};
use domain::{Event, EventKind, Named as _, Status, TaskId};

/// Events of a task in order, up to a number of them and of bytes; one in any case.
const PAGE_OF_TASK: &str = "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = ?1 AND seq > ?2 AND seq <=
        (SELECT MAX(seq) FROM (SELECT seq, SUM(size) OVER (ORDER BY seq) - size AS before FROM
            (SELECT seq, octet_length(data) AS size FROM events WHERE task_id = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3))
        WHERE before < ?4)
    ORDER BY seq";

/// The same of all tasks.
const PAGE_OF_ALL: &str = "SELECT task_id, seq, at, kind, data, n FROM events WHERE n > ?1 AND n <=
        (SELECT MAX(n) FROM (SELECT n, SUM(size) OVER (ORDER BY n) - size AS before FROM
            (SELECT n, octet_length(data) AS size FROM events WHERE n > ?1 ORDER BY n LIMIT ?2))
        WHERE before < ?3)
    ORDER BY n";

const BEHIND: &str = "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = ?1 AND seq > ?2 ORDER BY seq";

/// Maximum number of events that are read in the thread of the queue.
const FEW: i64 = 32;

/// An event of a row: one whose data can't be read costs nothing but itself.
fn event_of_row(row: &Row<'_>) -> rusqlite::Result<Event> {
    let data = row.get(4).unwrap_or_else(|error| format!("the event can't be read: {error}"));
    let kind = name(row, 3).unwrap_or(EventKind::Log.into());
    Ok(event_of(EventRow { task_id: row.get(0).map(TaskId::of)?, seq: row.get(1)?, at: row.get(2)?, kind, data }))
}

/// The status of a task, and the number of its last event.
fn end_of(db: Db<'_>, read: &ReadEvents) -> Result<Option<(Option<Status>, i64)>, StoreError> {
    let text = "SELECT status, last_event FROM tasks WHERE id = ?1";
    let found: Option<(String, i64)> = db.one(text, [read.task.as_bytes()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.map(|(status, last)| (Status::from_name(&status), last)))
}

const NO_TASK: EventPage = EventPage { events: Vec::new(), more: false, status: None };

fn page(events: Vec<Event>, last: i64, status: Option<Status>) -> EventPage {
    let more = events.last().is_some_and(|event| event.seq < last);
    EventPage { events, more, status }
}

/// Events of a task, in order.
pub fn of_task(db: Db<'_>, read: &ReadEvents) -> Result<EventPage, StoreError> {
    let Some((status, last)) = end_of(db, read)? else { return Ok(NO_TASK) };
    let values = params![read.task.as_bytes(), read.after, stored(read.limit), stored(read.bytes)];
    Ok(page(db.all(PAGE_OF_TASK, values, event_of_row)?, last, status))
}

/// The events of a task, where there are but a few behind the last that was seen.
pub fn few(db: Db<'_>, read: &ReadEvents) -> Result<Option<EventPage>, StoreError> {
    let Some((status, last)) = end_of(db, read)? else { return Ok(Some(NO_TASK)) };
    if last - read.after > FEW.min(stored(read.limit)) {
        return Ok(None);
    }
    let mut size = 0;
    let events = db.some(BEHIND, params![read.task.as_bytes(), read.after], event_of_row, |event: &Event| {
        size += event.data.len() as u64;
        size < read.bytes
    })?;
    Ok(Some(page(events, last, status)))
}

/// The events of all tasks behind this one, in order.
pub fn latest(db: Db<'_>, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError> {
    let values = params![after, stored(limit), stored(bytes)];
    let events = db.all(PAGE_OF_ALL, values, |row| Ok(SequencedEvent { n: row.get(5)?, event: event_of_row(row)? }))?;
    let size: u64 = events.iter().map(|event| event.event.data.len() as u64).sum();
    Ok(LatestEvents { more: events.len() as u64 == limit || size >= bytes, events })
}

/// The number of the newest event of all.
pub fn newest(db: Db<'_>) -> Result<i64, StoreError> {
    Ok(db.one("SELECT COALESCE(MAX(n), 0) FROM events", [], |row| row.get(0))?.unwrap_or(0))
}

/// A number, as SQLite has it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
