//! Reads of events.

use std::sync::LazyLock;

use tokio_postgres::Row;

use super::connection::Connection;
use super::tx::only;
use super::value::{Unread, Value, get, params};
use crate::store::StoreError;
use crate::store::convert::event_of;
use crate::store::rows::EventRow;
use crate::store::views::{EventPage, LatestEvents, PagePlace, ReadEventPage, ReadEvents, SequencedEvent};
use domain::{Event, EventKind, Named as _, Status, TaskId};

/// Events of a task in order, up to a number of them and of bytes; one in any case. They begin behind a number, or end
/// before it; where `kinds` is true they are of some kinds only.
fn page_of_task(place: PagePlace, kinds: bool) -> String {
    let (beyond, within, outermost, order) = match place {
        PagePlace::After(_) => ("seq > $2", "seq <=", "MAX(seq)", "seq"),
        PagePlace::Before(_) => ("seq < $2", "seq >=", "MIN(seq)", "seq DESC"),
    };
    let of_kinds = if kinds { "AND kind = ANY($5)" } else { "" };
    format!(
        "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = $1 AND {beyond} {of_kinds} AND {within}
            (SELECT {outermost} FROM (SELECT seq, SUM(size) OVER (ORDER BY {order}) - size AS before FROM
                (SELECT seq, octet_length(data) AS size FROM events WHERE task_id = $1 AND {beyond} {of_kinds}
                    ORDER BY {order} LIMIT $3) sized) summed
            WHERE before < $4)
        ORDER BY seq"
    )
}

static BEHIND_NUMBER: LazyLock<String> = LazyLock::new(|| page_of_task(PagePlace::After(0), false));

/// The same of all tasks.
const PAGE_OF_ALL: &str = "SELECT task_id, seq, at, kind, data, n FROM events WHERE n > $1 AND n <=
        (SELECT MAX(n) FROM (SELECT n, SUM(size) OVER (ORDER BY n) - size AS before FROM
            (SELECT n, octet_length(data) AS size FROM events WHERE n > $1 ORDER BY n LIMIT $2) sized) summed
        WHERE before < $3)
    ORDER BY n";

const MORE_OF_KINDS: &str = "SELECT 1 FROM events WHERE task_id = $1 AND seq BETWEEN $2 AND $3 AND kind = ANY($4)";

const BEHIND: &str = "SELECT task_id, seq, at, kind, data FROM events WHERE task_id = $1 AND seq > $2 ORDER BY seq";

/// Maximum number of events that are read in the thread of the queue.
const FEW: i64 = 32;

/// An event of a row: one whose data can't be read costs nothing but itself.
fn event_of_row(row: &Row) -> Result<Event, Unread> {
    let data = get(row, 4).unwrap_or_else(|error| format!("the event can't be read: {error}"));
    let kind = get(row, 3).unwrap_or(EventKind::Log.into());
    Ok(event_of(EventRow { task_id: get(row, 0)?, seq: get(row, 1)?, at: get(row, 2)?, kind, data }))
}

/// The status of a task, and the number of its last event.
async fn end_of(db: &Connection, task: TaskId) -> Result<Option<(Option<Status>, i64)>, StoreError> {
    let text = "SELECT status, last_event FROM tasks WHERE id = $1";
    let found: Option<(String, i64)> = db.one(text, &params![task], |row| Ok((get(row, 0)?, get(row, 1)?))).await?;
    Ok(found.map(|(status, last)| (Status::from_name(&status), last)))
}

const NO_TASK: EventPage = EventPage { events: Vec::new(), more: false, last_event: 0, status: None };

fn behind(events: Vec<Event>, last_event: i64, status: Option<Status>) -> EventPage {
    let more = events.last().is_some_and(|event| event.seq < last_event);
    EventPage { events, more, last_event, status }
}

/// Events of a task, in order.
pub async fn of_task(db: &Connection, read: &ReadEvents) -> Result<EventPage, StoreError> {
    let Some((status, last)) = end_of(db, read.task).await? else { return Ok(NO_TASK) };
    let values = params![read.task, read.after, stored(read.limit), stored(read.bytes)];
    Ok(behind(db.all(&BEHIND_NUMBER, &values, event_of_row).await?, last, status))
}

/// A page of the events of a task, in order.
pub async fn page(db: &Connection, read: &ReadEventPage) -> Result<EventPage, StoreError> {
    let ReadEventPage { task, place, kinds, limit, bytes } = read;
    let Some((status, last_event)) = end_of(db, *task).await? else { return Ok(NO_TASK) };
    let (PagePlace::After(number) | PagePlace::Before(number)) = *place;
    let names = Value::texts(kinds.iter().map(|kind| kind.name().to_owned()));
    let mut values = params![*task, number, stored(*limit), stored(*bytes)].to_vec();
    values.extend((!kinds.is_empty()).then(|| names.clone()));
    let events = db.all(&page_of_task(*place, !kinds.is_empty()), &values, event_of_row).await?;
    let next = match place {
        PagePlace::After(_) => events.last().map(|event| (event.seq + 1, last_event)),
        PagePlace::Before(_) => events.first().map(|event| (1, event.seq - 1)),
    };
    let more = match next {
        None => false,
        Some((from, to)) if kinds.is_empty() => from <= to,
        Some((from, to)) => db.any(MORE_OF_KINDS, &[(*task).into(), from.into(), to.into(), names]).await?,
    };
    Ok(EventPage { events, more, last_event, status })
}

/// The events of a task, where there are but a few behind the last that was seen.
pub async fn few(db: &Connection, read: &ReadEvents) -> Result<Option<EventPage>, StoreError> {
    let Some((status, last)) = end_of(db, read.task).await? else { return Ok(Some(NO_TASK)) };
    if last - read.after > FEW.min(stored(read.limit)) {
        return Ok(None);
    }
    let mut events = db.all(BEHIND, &params![read.task, read.after], event_of_row).await?;
    let mut size = 0;
    let fit = events.iter().take_while(|event| {
        let is_wanted = size < read.bytes;
        size += event.data.len() as u64;
        is_wanted
    });
    events.truncate(fit.count());
    Ok(Some(behind(events, last, status)))
}

/// The events of all tasks behind this one, in order.
pub async fn latest(db: &Connection, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, StoreError> {
    let values = params![after, stored(limit), stored(bytes)];
    let events =
        db.all(PAGE_OF_ALL, &values, |row| Ok(SequencedEvent { n: get(row, 5)?, event: event_of_row(row)? })).await?;
    let size: u64 = events.iter().map(|event| event.event.data.len() as u64).sum();
    Ok(LatestEvents { more: events.len() as u64 == limit || size >= bytes, events })
}

/// The number of the newest event of all.
pub async fn newest(db: &Connection) -> Result<i64, StoreError> {
    Ok(db.one("SELECT COALESCE(MAX(n), 0) FROM events", &[], only).await?.unwrap_or(0))
}

/// A number, as the server has it.
fn stored(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
