//! Conflict radar: two running tasks that change the same file are told of each other.

use serde_json::{Value, json};

use super::Unit;
use crate::store::StoreError;
use crate::store::convert::spec_of;
use crate::store::rows::{ProgressRow, TaskRow};
use domain::{EventKind, NewEvent, Status, TaskId, changed_files, place_of};

/// The longest event that is looked at, in bytes.
const MAX_EVENT_BYTES: usize = 1 << 20;

/// Looks through new events of a task for files that it changes. Returns the events that tell of others which change them
/// too; the others are told here.
pub async fn look(unit: &mut Unit<'_>, row: &TaskRow, events: &[NewEvent]) -> Result<Vec<NewEvent>, StoreError> {
    let changes = |event: &&NewEvent| {
        event.kind == EventKind::ToolUse
            && event.data.len() <= MAX_EVENT_BYTES
            && (event.data.contains("\"file_path\"") || event.data.contains("\"notebook_path\""))
    };
    let mut told = Vec::new();
    for event in events.iter().filter(changes) {
        let Some(data) = serde_json::from_str::<Value>(&event.data).ok() else { continue };
        let files = changed_files(&data["frame"]);
        if files.is_empty() {
            continue;
        }
        let Some((directory, base)) = base_of(row) else { return Ok(told) };
        for place in files.into_iter().filter_map(|file| place_of(file, &directory, &base)) {
            for other in unit.tx.touch(row.id, &place).await? {
                told.push(conflict(other, &place));
                tell(unit, other, conflict(row.id, &place)).await?;
            }
        }
    }
    Ok(told)
}

/// The folder of a task, and what it is a copy of; `None` for one whose folder is its own.
fn base_of(row: &TaskRow) -> Option<(String, String)> {
    let directory = row.working_directory.clone().filter(|_| !row.own_directory)?;
    let spec = spec_of(row).spec;
    let base = spec.context.base().unwrap_or(&directory).to_owned();
    Some((directory, base))
}

fn conflict(with: TaskId, place: &str) -> NewEvent {
    let message = format!("task {with} changes {place} too");
    NewEvent::new(EventKind::Log, &json!({ "message": message, "conflict": { "taskId": with, "path": place } }))
}

async fn tell(unit: &mut Unit<'_>, task: TaskId, event: NewEvent) -> Result<(), StoreError> {
    let Some(row) = unit.find(task).await?.filter(|row| row.status == Status::Running.into()) else { return Ok(()) };
    let last_event = unit.add_events(row.id, &row.key_name, row.last_event, &[event]).await?;
    let progress = ProgressRow { last_event, attempt_events: row.attempt_events, ..ProgressRow::default() };
    unit.tx.set_progress(row.id, &progress).await
}
