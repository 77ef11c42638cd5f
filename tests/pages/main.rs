//! How much a page of ten thousand events may cost a browser. A program of its own: nothing runs beside it.

#[path = "../support/mod.rs"]
#[expect(dead_code, reason = "the other tests use the rest")]
mod support;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use support::World;
use support::browser::browse;

/// Adds events to a task in the database of this folder.
fn add_events(folder: &Path, id: &str, numbers: std::ops::RangeInclusive<i64>) {
    let mut db = Connection::open(folder.join("data/cc.db")).expect("a database");
    db.busy_timeout(Duration::from_secs(10)).expect("a limit");
    let id = uuid::Uuid::parse_str(id).expect("an id");
    let changes = db.transaction().expect("a transaction");
    for seq in numbers.clone() {
        let (kind, data) = match seq % 4 {
            0 => (
                "assistant",
                says(&format!("Event **{seq}**: the lease is renewed in `store/lease.rs`, and this is why.")),
            ),
            1 => ("tool_use", calls(seq, &format!("cargo test --lib lease::{seq}"))),
            2 => ("tool_result", answers(seq - 1, &"test lease::renewed ... ok\n".repeat(12))),
            _ => ("log", json!({ "message": format!("event {seq}") })),
        };
        let text = "INSERT INTO events (task_id, seq, at, kind, data) VALUES (?1, ?2, 1795000000000, ?3, ?4)";
        changes.execute(text, rusqlite::params![id.as_bytes(), seq, kind, data.to_string()]).expect("an event");
    }
    let last = "UPDATE tasks SET last_event = ?2 WHERE id = ?1";
    changes.execute(last, rusqlite::params![id.as_bytes(), numbers.end()]).expect("a task");
    changes.commit().expect("committed");
}

fn says(text: &str) -> Value {
    json!({ "frame": { "message": { "content": [{ "type": "text", "text": text }] } } })
}

fn calls(seq: i64, command: &str) -> Value {
    let call = json!({ "type": "tool_use", "id": format!("t{seq}"), "name": "Bash", "input": { "command": command } });
    json!({ "frame": { "message": { "content": [call] } } })
}

fn answers(seq: i64, text: &str) -> Value {
    let result = json!({ "type": "tool_result", "tool_use_id": format!("t{seq}"), "content": text });
    json!({ "frame": { "message": { "content": [result] } } })
}

/// The program of the tests is not optimized: its times are held against the bounds times this.
const SLACK: &str = "3";

#[test]
fn slow_ten_thousand_events_stay_within_their_bounds() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let id = server.submit(json!({ "instruction": "Ten thousand", "runAt": "2125-01-01T00:00:00Z" }));
    add_events(&world.dir, &id, 2..=10_000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        browse(&world, &server.http, "long", &[("TASK", &id), ("SLACK", SLACK)], |_| {
            // Fifty a second, beside the browser.
            scope.spawn(|| {
                for from in (10_001..10_301).step_by(5).take_while(|_| !done.load(Ordering::Relaxed)) {
                    add_events(&world.dir, &id, from..=from + 4);
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
        });
        done.store(true, Ordering::Relaxed);
    });
}
