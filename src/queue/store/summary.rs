//! Tasks as lists have them: long texts are cut, and no list is longer than an answer should be.

use crate::task::{Task, Truncated, json};

/// Longest text of a summary, in bytes.
const MAX_TEXT: usize = 4 << 10;
/// Most bytes of a list; what is behind them is on the next page.
pub const PAGE_BYTES: usize = 4 << 20;

/// The columns of a summary: what may be megabytes long is cut or left out where it stands.
pub const COLUMNS: &str = "id, status, CASE WHEN octet_length(spec) <= 16384 THEN spec ELSE '' END AS spec,
    octet_length(spec) > 16384 AS spec_is_long, priority, created_at, due_at, started_at, completed_at, attempt, ended,
    crashes, max_attempts, epoch, holder, lease_ms, lease_boot, worker, substr(working_directory, 1, 4096) AS working_directory,
    retry_of, last_event, attempt_events, substr(session_id, 1, 4096) AS session_id, resumes, continued_from, key_name,
    max_budget_usd, own_directory, exclusive, concurrency_key, substr(held, 1, 4096) AS held,
    CASE WHEN octet_length(waiting_for) <= 16384 THEN waiting_for END AS waiting_for, said,
    substr(result, 1, 4096) AS result, octet_length(result) AS result_bytes,
    CASE WHEN octet_length(structured_output) <= 16384 THEN structured_output END AS structured_output,
    substr(error_class, 1, 4096) AS error_class, substr(error_code, 1, 4096) AS error_code,
    substr(error_message, 1, 4096) AS error_message, cost_usd,
    CASE WHEN octet_length(usage) <= 16384 THEN usage END AS usage, num_turns, duration_ms,
    CASE WHEN octet_length(permission_denials) <= 16384 THEN permission_denials END AS permission_denials,
    CASE WHEN octet_length(remarks) <= 16384 THEN remarks END AS remarks";

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

/// About how many bytes a task has in an answer.
pub fn bytes_of(task: &Task) -> usize {
    let options = serde_json::to_vec(&task.spec.options).map_or(0, |options| options.len());
    let context = serde_json::to_vec(&task.spec.context).map_or(0, |context| context.len());
    2_000 + options + context + task.spec.instruction.len() + task.attempted.result.as_ref().map_or(0, String::len)
}
