//! Rows of many tables in one transaction.

use super::super::rows::{EventRow, TaskRow};
use super::super::views::{Filter, ListTasks, ReadEvents};
use super::{begin, task};
use crate::store::{Store, Tx};
use domain::{EventKind, TaskId, Timestamp};

const KEYS: [&str; 2] = ["a", "b"];

/// What one transaction writes.
#[derive(Clone, Copy)]
struct Shape {
    tasks: usize,
    tags: usize,
    /// Events of each task.
    events: i64,
    /// Keys that store bytes.
    keys: usize,
    history: bool,
    /// True if it changes the tasks as well.
    changes: bool,
    /// True if it reads in between.
    reads: bool,
}

/// Every mixture of none, one and several.
fn shapes() -> impl Iterator<Item = Shape> {
    (0..3 * 3 * 3 * 3 * 8).map(|number| {
        let (counts, flags) = (number / 8, number % 8);
        let count = |place: u32| counts / 3_usize.pow(place) % 3;
        let events = i64::try_from(count(2)).expect("small");
        let [history, changes, reads] = [1, 2, 4].map(|flag| flags & flag != 0);
        Shape { tasks: count(0), tags: count(1), events, keys: count(3), history, changes, reads }
    })
}

/// Engines send what a transaction writes in different ways, by what and how much it is.
pub async fn what_a_transaction_writes_is_stored_however_much_it_is(store: &dyn Store) {
    let mut written: Vec<(Shape, Vec<TaskRow>)> = Vec::new();
    for (shape, number) in shapes().zip(1_u128..) {
        let mut tx = begin(store).await;
        let rows: Vec<TaskRow> = (0..shape.tasks).map(|at| row(number * 4 + at as u128, KEYS[at], shape)).collect();
        for row in &rows {
            write(&mut *tx, row, shape).await;
        }
        for key in &KEYS[..shape.keys] {
            tx.add_key_bytes(key, 3).await.expect("added");
        }
        if shape.history {
            tx.append_history(r#"[{"did":"pause","paused":true}]"#).await.expect("written");
        }
        tx.commit().await.expect("committed");
        if number.is_multiple_of(100) {
            store.keep_up().await.expect("kept up");
        }
        written.push((shape, rows));
    }
    for (shape, row) in written.iter().flat_map(|(shape, rows)| rows.iter().map(move |row| (shape, row))) {
        let read = ReadEvents { task: row.id, after: 0, limit: 9, bytes: 1 << 20 };
        let events = store.few_events(&read).await.expect("a read").expect("few").events;
        assert_eq!(events.len(), usize::try_from(shape.events).expect("small"));
    }
    let mut tx = begin(store).await;
    for row in written.iter().flat_map(|(_, rows)| rows) {
        assert_eq!(tx.task(row.id).await.expect("a read").expect("it").row, *row);
    }
    for (at, key) in KEYS.into_iter().enumerate() {
        let tasks = written.iter().filter(|(shape, _)| shape.tasks > at).count();
        let bytes = 3 * written.iter().filter(|(shape, _)| shape.keys > at).count();
        let used = tx.key_use(key, Timestamp(0), 9_999).await.expect("a read");
        assert_eq!(
            [used.pending, used.submitted, used.bytes],
            [tasks, tasks, bytes].map(|count| i64::try_from(count).expect("small"))
        );
    }
    drop(tx);
    for tag in 0..2 {
        let filter = Filter { tag: Some(tag.to_string()), ..Filter::default() };
        let page = store.reader().tasks(ListTasks { filter, limit: 1, ..ListTasks::default() }).await.expect("a list");
        let tagged = written.iter().filter(|(shape, _)| shape.tags > tag);
        assert_eq!(usize::try_from(page.total), Ok(tagged.map(|(shape, _)| shape.tasks).sum()));
    }
    let commits = written.iter().filter(|(shape, _)| shape.history).count();
    let (mut entries, mut last) = (0, 0);
    loop {
        let page = store.reader().history(last).await.expect("a read");
        let Some(entry) = page.last() else { break };
        (entries, last) = (entries + page.len(), entry.commit);
    }
    assert_eq!(entries, commits);
}

fn row(id: u128, key: &str, shape: Shape) -> TaskRow {
    let waiting_for = shape.changes.then(|| r#"{"type":"permission"}"#.to_owned());
    TaskRow { key_name: key.to_owned(), last_event: shape.events, waiting_for, ..task(id) }
}

async fn write(tx: &mut dyn Tx, row: &TaskRow, shape: Shape) {
    let tags: Vec<String> = (0..shape.tags).map(|tag| tag.to_string()).collect();
    tx.insert_task(&TaskRow { waiting_for: None, ..row.clone() }, &tags).await.expect("inserted");
    for seq in 1..=shape.events {
        let kind = EventKind::Log.into();
        tx.insert_event(&EventRow { task_id: row.id, seq, at: 1, kind, data: "{}".to_owned() })
            .await
            .expect("inserted");
    }
    if shape.reads {
        assert!(tx.pending().await.expect("a read") > 0);
        assert!(tx.task(TaskId::from_u128(1)).await.expect("a read").is_none());
    }
    if shape.changes {
        tx.set_waiting(row.id, row.last_event, row.waiting_for.as_deref()).await.expect("changed");
    }
}
