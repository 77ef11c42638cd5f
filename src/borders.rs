//! Readers of foreign bytes, as fuzzers and tests call them: each takes anything, and checks the promises of its
//! answer.

use serde_json::Value;

use crate::claude::Frame;
use wire::{TaskSpec, stored};

/// Reads a line of the CLI.
///
/// # Panics
/// What would be stored can't be read again.
pub fn frame(line: &[u8]) {
    let frame = Frame::parse(String::from_utf8_lossy(line).into_owned());
    if frame.event_kind().is_some() {
        let data = frame.event_data();
        assert!(serde_json::from_str::<Value>(&data).is_ok(), "what is stored can be read: {data}");
    }
}

/// Reads a task as it stands in the database.
///
/// # Panics
/// What was read is not the same after it was stored again.
pub fn stored(row: &[u8]) {
    let read = stored::from_text(&String::from_utf8_lossy(row));
    let again = stored::to_text(&read.spec).map(|text| stored::from_text(&text));
    let same: Option<TaskSpec> = again.ok().filter(|again| again.unreadable.is_none()).map(|again| again.spec);
    assert_eq!(same.as_ref(), Some(&read.spec), "what was read is stored and read again");
}
