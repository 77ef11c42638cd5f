//! Readers of foreign bytes, as fuzzers and tests call them: each takes anything, and checks the promises of its
//! answer.

use serde_json::Value;

use crate::claude::Frame;
use crate::ipc::{ToSupervisor, ToWorker, frames};
use crate::proxy;
use wire::request::{Batch, Bulk, NewKey, NewLimit, NewSchedule, ScheduleChanges, TaskChanges, WebhookChanges};
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

/// Reads what comes over a link, whole frames and broken ones.
///
/// # Panics
/// A frame that was read is another one when it is sent on.
pub fn link(bytes: &[u8]) {
    for frame in frames(bytes) {
        if let Ok(read) = serde_json::from_slice::<ToWorker>(&frame) {
            let again = serde_json::to_vec(&read).expect("what was read can be written");
            assert_eq!(
                serde_json::from_slice::<ToWorker>(&again).ok(),
                Some(read),
                "what was read is sent and read again"
            );
        }
        // With a secret in it, which can't be compared.
        if let Ok(read) = serde_json::from_slice::<ToSupervisor>(&frame) {
            let again = serde_json::to_vec(&read).expect("what was read can be written");
            assert!(serde_json::from_slice::<ToSupervisor>(&again).is_ok(), "what was read is sent and read again");
        }
    }
}

/// Reads the body of a request, as each of those that there are.
///
/// # Panics
/// A task that is accepted is another one when it was stored.
pub fn body(bytes: &[u8]) {
    if let Ok(spec) = serde_json::from_slice::<TaskSpec>(bytes)
        && spec.validate().is_ok()
    {
        let text = stored::to_text(&spec).expect("what is accepted can be stored");
        let again = stored::from_text(&text);
        assert!(again.unreadable.is_none(), "what is accepted can be read: {text}");
        assert_eq!(again.spec, spec, "what is accepted is stored and read again");
    }
    drop(serde_json::from_slice::<Batch>(bytes));
    drop(serde_json::from_slice::<Bulk>(bytes));
    drop(serde_json::from_slice::<TaskChanges>(bytes));
    drop(serde_json::from_slice::<NewKey>(bytes));
    drop(serde_json::from_slice::<NewLimit>(bytes));
    drop(serde_json::from_slice::<NewSchedule>(bytes));
    drop(serde_json::from_slice::<ScheduleChanges>(bytes));
    drop(serde_json::from_slice::<WebhookChanges>(bytes));
}

/// Reads an answer of the API as the credential proxy does, in parts of the length that its first byte says.
///
/// # Panics
/// The count depends on where the answer was cut.
pub fn answer(bytes: &[u8]) {
    let Some((length, answer)) = bytes.split_first() else { return };
    let (cut, whole) =
        (proxy::counted(answer, usize::from(*length).max(1)), proxy::counted(answer, answer.len().max(1)));
    assert_eq!(cut, whole, "the count is that of the answer");
}
