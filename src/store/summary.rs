//! Tasks as lists have them: long texts are cut, and no list is longer than an answer should be. The same for every
//! engine; each cuts its columns where they stand.

use domain::json;
use wire::{Task, Truncated};

/// Longest text of a summary, in bytes.
pub const MAX_TEXT: usize = 4 << 10;
/// Longest JSON of a summary, in bytes; a longer one is left out.
pub const MAX_JSON: usize = 16 << 10;
/// Longest event of which it is said what it does, in bytes.
pub const MAX_ACTIVITY: usize = 64 << 10;
/// Maximum size of a list in bytes; what is behind them is on the next page.
pub const PAGE_BYTES: usize = 4 << 20;

/// A stored request with its texts cut.
pub fn shortened(spec: &str) -> String {
    let read = json::clean(spec).and_then(|clean| serde_json::from_str(&clean).ok());
    match read {
        Some(mut value) => {
            json::shorten(&mut value, MAX_TEXT);
            value.to_string()
        }
        None => spec[..spec.floor_char_boundary(MAX_TEXT)].to_owned(),
    }
}

/// The summary of a task whose columns were cut already.
pub fn of(mut task: Task, result_bytes: Option<i64>, request: bool) -> Task {
    if let Some(result) = &mut task.attempted.result
        && result.len() > MAX_TEXT
    {
        result.truncate(result.floor_char_boundary(MAX_TEXT));
    }
    let instruction = &mut task.spec.instruction;
    let cut = instruction.len() > MAX_TEXT;
    if cut {
        instruction.truncate(instruction.floor_char_boundary(MAX_TEXT));
    }
    let kept = task.attempted.result.as_ref().map_or(0, String::len);
    let result_bytes = result_bytes.filter(|bytes| usize::try_from(*bytes).is_ok_and(|bytes| bytes > kept));
    task.truncated = Truncated { result_bytes, request: request || cut };
    task
}

/// Returns the approximate size of a task in an answer, in bytes.
pub fn bytes_of(task: &Task) -> usize {
    let options = serde_json::to_vec(&task.spec.options).map_or(0, |options| options.len());
    let context = serde_json::to_vec(&task.spec.context).map_or(0, |context| context.len());
    2_000 + options + context + task.spec.instruction.len() + task.attempted.result.as_ref().map_or(0, String::len)
}
