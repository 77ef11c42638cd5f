//! What the tasks that one depends on have left, put into its instruction and its files.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use super::set_up::NotReady;
use crate::queue::{Dependency, Queue, ReadDependencies, ReadPatch};
use domain::template::{Part, fill, places};
use domain::{Named as _, Status, TaskId};
use wire::{ContextFile, Task};

/// The task, with what those that it depends on have left in its instruction and its files.
pub async fn filled<'a>(queue: &Queue, task: &'a Task) -> Result<Cow<'a, Task>, NotReady> {
    if task.dependencies == 0 {
        return Ok(Cow::Borrowed(task));
    }
    let read = ReadDependencies { task: task.id, limit: i64::MAX, results: true };
    let found = queue.ask(read).await.map_err(|error| {
        NotReady::Release(format!("can't read what its dependencies have left: {error}"), Duration::from_secs(1))
    })?;
    let patches = patches(queue, task, &found).await?;
    let value = |name: &str, part: Part| {
        let one = found.iter().find(|one| one.row.name.as_deref() == Some(name))?;
        Some(match part {
            Part::Changes => patches.get(&one.row.on_task).cloned().unwrap_or_default(),
            Part::Result => one.result.clone().unwrap_or_default(),
            Part::StructuredOutput => one.structured_output.clone().unwrap_or_else(|| "null".to_owned()),
            Part::Status => one.status.map_or("", Status::name).to_owned(),
            Part::TaskId => one.row.on_task.to_string(),
        })
    };
    let mut task = task.clone();
    task.spec.instruction = fill(&task.spec.instruction, value);
    for file in &mut task.spec.context.files {
        if let ContextFile::Upload(upload) = file
            && let Some(text) = upload.text()
        {
            upload.content = fill(text, value);
        }
    }
    Ok(Cow::Owned(task))
}

/// Bytes of a patch that a text is filled with.
const MAX_PATCH_BYTES: usize = 64 << 10;

/// What those that it depends on have changed, where it asks for that.
async fn patches(queue: &Queue, task: &Task, found: &[Dependency]) -> Result<HashMap<TaskId, String>, NotReady> {
    let mut patches = HashMap::new();
    let uploads = task.spec.context.files.iter().filter_map(|file| match file {
        ContextFile::Upload(upload) => upload.text(),
        ContextFile::Path(_) | ContextFile::Sent(_) => None,
    });
    let texts: Vec<&str> = uploads.chain([task.spec.instruction.as_str()]).collect();
    let asks = |text: &str, name: &str| places(text).any(|at| at.part == Part::Changes && at.name == name);
    let is_named = |name: &str| texts.iter().any(|text| asks(text, name));
    for one in found.iter().filter(|one| one.row.name.as_deref().is_some_and(is_named)) {
        let read = queue.ask(ReadPatch(one.row.on_task)).await.map_err(|error| {
            NotReady::Release(format!("can't read what its dependencies have changed: {error}"), Duration::from_secs(1))
        })?;
        let mut patch = read.map(|patch| String::from_utf8_lossy(&patch).into_owned()).unwrap_or_default();
        if patch.len() > MAX_PATCH_BYTES {
            patch.truncate(patch.floor_char_boundary(MAX_PATCH_BYTES));
            patch.push_str("\n… (cut)");
        }
        patches.insert(one.row.on_task, patch);
    }
    Ok(patches)
}
