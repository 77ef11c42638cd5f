//! Between rows and the domain: the same for every engine. What is stored is read leniently.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use serde_json::value::RawValue;
use strum::VariantArray as _;

use super::error::StoreError;
use super::rows::{
    ApiKeyRow, AttemptRow, EventRow, HistoryRow, QuestionRow, ScheduleRow, TAG_BORDER, TaskRow, WebhookRow, WorkerRow,
};
use super::views::{Schedule, ShareAhead, StoredKey, Webhook, WorkerInfo};
use audit::{Entry, HistoryEvent};
use domain::{
    BootInstant, Event, EventKind, Failure, FailureClass, Labels, Lease, Missed, Name, Named as _, Overlap, Question,
    Record, SessionId, Spent, State, Status, TaskId, Timestamp, Tokens, json, line_of, turns_before,
};
use wire::stored::{self, StoredSpec};
use wire::{Activity, Attempt, Attempted, HookFormat, Remarks, Task, TaskError, TaskSpec, Truncated};

fn bad(row: &TaskRow, what: impl ToString) -> StoreError {
    StoreError::Row { table: "task", id: row.id.uuid(), what: what.to_string() }
}

/// Reads the request of the client, as far as it can be read.
pub fn spec_of(row: &TaskRow) -> StoredSpec {
    let read = stored::from_text(&row.spec);
    if let Some(why) = &read.unreadable {
        warn_once(row.id.uuid(), why);
    }
    read
}

/// Says once in the life of the process that a row can't be read, and not at each look at it.
pub fn warn_once(id: uuid::Uuid, why: &str) {
    /// Rows that are remembered. Beyond that each look may say so again, at the pace of the log.
    const MOST: usize = 10_000;
    static SAID: Mutex<BTreeSet<uuid::Uuid>> = Mutex::new(BTreeSet::new());
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.len() < MOST && !said.insert(id) {
        return;
    }
    drop(said);
    tracing::warn!(%id, why, "A stored row can't be read");
}

/// The status of a row, where it is one that we know.
pub fn status_of(row: &TaskRow) -> Result<Status, StoreError> {
    row.status.known().ok_or_else(|| bad(row, format!("status {}", row.status)))
}

/// The task, as it is read.
pub fn task_of(row: TaskRow) -> Task {
    let read = spec_of(&row);
    task_with(row, read)
}

/// Numbers of tasks by the name of their status, in the order of `Status::VARIANTS`.
pub fn by_status(rows: Vec<(String, i64)>) -> [i64; 5] {
    let counts: HashMap<String, i64> = rows.into_iter().collect();
    std::array::from_fn(|at| counts.get(Status::VARIANTS[at].name()).copied().unwrap_or(0))
}

/// What a task does, by an event; `None` for a kind that this version doesn't know.
pub fn activity_of((kind, at, data): (Name<EventKind>, Timestamp, String)) -> Option<Activity> {
    let kind = kind.known()?;
    Some(Activity { at, kind, line: line_of(kind, &data) })
}

/// Tasks with their sessions, of those whose session is one.
pub fn sessions_of(rows: Vec<(TaskId, String)>) -> impl Iterator<Item = (TaskId, SessionId)> {
    rows.into_iter().filter_map(|(task, session)| Some((task, session.parse().ok()?)))
}

/// The tasks of a conversation, oldest first: its newest, and those that were found beside it.
pub fn conversation_of(newest: TaskId, found: Vec<TaskId>) -> BTreeSet<TaskId> {
    found.into_iter().chain([newest]).collect()
}

/// The failure of a task whose row can't be read.
pub fn unreadable(why: &str) -> Failure {
    let message = format!(
        "the stored task can't be read by this version of the program ({why}). What helps: start the version that stored it, or submit it again"
    );
    Failure::new(FailureClass::Invalid, UNREADABLE, message)
}

/// The code of that failure.
const UNREADABLE: &str = "UNREADABLE";

/// A task of whose row nothing but the id can be read.
pub fn lost_task(id: domain::TaskId, why: &str) -> Task {
    warn_once(id.uuid(), why);
    Task {
        id,
        spec: TaskSpec::of(String::new()),
        status: Status::Failed,
        created_at: Timestamp(0),
        due_at: None,
        started_at: None,
        completed_at: None,
        attempt: 0,
        crashes: 0,
        max_attempts: 0,
        worker: None,
        key: String::new(),
        working_directory: None,
        retry_of: None,
        dependencies: 0,
        resume_session_id: None,
        continued_from: None,
        held: None,
        waiting_for: None,
        attempted: Attempted { error: Some(TaskError::from(&unreadable(why))), ..Attempted::default() },
        remarks: Remarks::default(),
        truncated: Truncated::default(),
        changes: None,
        last_seq: 0,
        cost_so_far: None,
        looping: None,
        trace_parent: None,
        activity: None,
        depends_on: None,
        conflicts: Vec::new(),
        attempts: None,
    }
}

/// The task, where its request is at hand.
pub fn task_with(row: TaskRow, read: StoredSpec) -> Task {
    let json = |text: &Option<String>| {
        let text = text.as_ref()?;
        serde_json::from_str(&json::clean(text)?).ok()
    };
    let told = row.error_code.is_some();
    let unread = read.unreadable.as_deref().filter(|_| !told).map(|why| TaskError::from(&unreadable(why)));
    Task {
        spec: read.spec,
        // The table's own check lets no other in.
        status: status_of(&row).unwrap_or(Status::Failed),
        id: row.id,
        created_at: Timestamp(row.created_at),
        due_at: row.due_at.map(Timestamp),
        started_at: row.started_at.map(Timestamp),
        completed_at: row.completed_at.map(Timestamp),
        attempt: row.attempt,
        crashes: row.crashes,
        max_attempts: row.max_attempts,
        worker: row.worker,
        key: row.key_name,
        working_directory: row.working_directory,
        retry_of: row.retry_of,
        dependencies: row.dependencies,
        resume_session_id: session_of(row.resume_session_id.as_deref()),
        continued_from: row.continued_from,
        waiting_for: json(&row.waiting_for),
        held: row.held,
        truncated: Truncated::default(),
        changes: None,
        last_seq: row.last_event,
        cost_so_far: row.cost_so_far,
        looping: row.looping,
        trace_parent: row.trace_parent.and_then(|place| place.parse().ok()),
        activity: None,
        depends_on: None,
        conflicts: Vec::new(),
        attempts: None,
        attempted: Attempted {
            structured_output: json(&row.structured_output),
            usage: json(&row.usage),
            permission_denials: json(&row.permission_denials),
            error: unread.or_else(|| {
                row.error_code.map(|code| TaskError {
                    code,
                    class: row.error_class.unwrap_or_else(no_class),
                    message: row.error_message.unwrap_or_default(),
                })
            }),
            result: row.result,
            session_id: session_of(row.session_id.as_deref()),
            cost_usd: row.cost_usd,
            num_turns: row.num_turns,
            duration_ms: row.duration_ms,
        },
        remarks: row.remarks.and_then(|remarks| serde_json::from_str(&remarks).ok()).unwrap_or_default(),
    }
}

/// Reads the part of the row that decides the task's transitions.
pub fn record_of(row: &TaskRow) -> Result<Record, StoreError> {
    let state = match status_of(row)? {
        Status::Pending => State::Pending { due: row.due_at.map(Timestamp) },
        Status::Running => match (row.holder, row.lease_ms, row.lease_boot) {
            (Some(holder), Some(ms), Some(boot)) => State::Running(Lease { holder, expires: BootInstant { boot, ms } }),
            _ => return Err(bad(row, "it runs without a lease")),
        },
        Status::Completed => State::Completed,
        // What it failed of decides nothing any more.
        Status::Failed => State::Failed(Failure::new(FailureClass::Execution, "", "")),
        Status::Cancelled => State::Cancelled,
    };
    let options = spec_of(row).spec.options;
    Ok(Record {
        state,
        epoch: row.epoch,
        attempt: row.attempt,
        ended: row.finished_attempts,
        crashes: row.crashes,
        max_attempts: row.max_attempts,
        retry_timeouts: options.retries_timeouts(),
        retry: options.retry_policy(),
    })
}

/// Writes into a row where its record says that it stands.
pub fn put_record(row: &mut TaskRow, record: &Record) {
    let (due, lease) = match &record.state {
        State::Pending { due } => (*due, None),
        State::Running(lease) => (None, Some(*lease)),
        _ => (None, None),
    };
    row.status = record.state.status().into();
    row.due_at = due.map(|due| due.0);
    row.held = None;
    row.epoch = record.epoch;
    row.attempt = record.attempt;
    row.finished_attempts = record.ended;
    row.crashes = record.crashes;
    row.holder = lease.map(|lease| lease.holder);
    row.lease_ms = lease.map(|lease| lease.expires.ms);
    row.lease_boot = lease.map(|lease| lease.expires.boot);
}

/// The event, as it is read. A kind of a newer version reads as `log`; data that is no JSON object is text.
pub fn event_of(row: EventRow) -> Event {
    let data = match json::clean(&row.data) {
        Some(Cow::Borrowed(_)) if row.data.starts_with('{') => row.data,
        Some(Cow::Owned(data)) if data.starts_with('{') => data,
        _ => serde_json::json!({ "message": row.data }).to_string(),
    };
    Event {
        task: row.task_id,
        seq: row.seq,
        at: Timestamp(row.at),
        kind: row.kind.known().unwrap_or(EventKind::Log),
        data,
    }
}

/// The question, as it is read.
pub fn question_of(row: QuestionRow) -> Question {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    Question {
        tool: row.tool,
        input: json(&row.input),
        suggestions: json(&row.suggestions),
        asked_at: Timestamp(row.asked_at),
        deadline: Timestamp(row.deadline),
        answer: row.answer.and_then(|answer| serde_json::from_str(&answer).ok()),
        request_id: row.request_id,
    }
}

/// Number of tasks that start before one, about.
pub fn ahead_of(shares: &[ShareAhead]) -> i64 {
    let (own, others): (Vec<ShareAhead>, Vec<ShareAhead>) = shares.iter().partition(|share| share.own);
    let (older, weight) = own.first().map_or((0, 1), |share| (share.older, share.weight));
    let higher: i64 = shares.iter().map(|share| share.higher).sum();
    higher.saturating_add(turns_before(older, weight, others.iter().map(|share| (share.same, share.weight))))
}

/// The class of what is no failure.
pub const fn no_class() -> Name<FailureClass> {
    Name::Other(String::new())
}

/// The session of that name; `None` where it is no name of a session.
fn session_of(name: Option<&str>) -> Option<SessionId> {
    name?.parse().ok()
}

/// The attempt, as it is read.
pub fn attempt_of(row: AttemptRow) -> Attempt {
    Attempt {
        number: row.number,
        worker: row.worker,
        started_at: Timestamp(row.started_at),
        ended_at: row.ended_at.map(Timestamp),
        outcome: row.outcome,
        error: row.error_message.map(|message| TaskError {
            class: row.error_class.unwrap_or_else(no_class),
            code: row.error_code.unwrap_or_default(),
            message,
        }),
        session_id: session_of(row.session_id.as_deref()),
        spent: Spent {
            cost_usd: row.cost_usd,
            set_aside: row.cost_set_aside,
            tokens: Tokens {
                input: row.input_tokens,
                output: row.output_tokens,
                cache_read: row.cache_read_tokens,
                cache_write: row.cache_write_tokens,
            },
        },
    }
}

/// `None` for a row that a newer version wrote in another form: it is not ours to judge.
pub fn worker_of(row: WorkerRow) -> Option<WorkerInfo> {
    Some(WorkerInfo {
        holder: row.holder,
        name: row.name,
        host: row.host,
        process: serde_json::from_str(&row.process).ok()?,
        started_at: Timestamp(row.started_at),
        beat_at: Timestamp(row.beat_at),
        running: row.running,
        concurrency: row.concurrency,
        labels: Labels::from_text(&row.labels),
        version: row.version,
        drain: row.drain,
    })
}

/// True if the last result of a task is none of an error, and the model was asked for it. What can't be read
/// speaks against nothing.
pub fn is_well(event: &str, answered: bool) -> bool {
    let Some(event) = json::clean(event).and_then(|event| serde_json::from_str::<Value>(&event).ok()) else {
        return true;
    };
    let frame = &event["frame"];
    let is_error = matches!(&frame["is_error"], Value::Bool(true)) || frame["is_error"] == "true";
    let paid = |number: &Value| number.as_f64().or_else(|| number.as_str()?.parse().ok()).is_some_and(|n| n > 0.0);
    let was_asked = answered || paid(&frame["usage"]["output_tokens"]) || paid(&frame["total_cost_usd"]);
    !is_error && (was_asked || frame.is_null())
}

/// Reads the changes of a commit. A line that can't be read costs nothing but itself.
pub fn entries_of(row: HistoryRow) -> Vec<Entry> {
    let unread = |error: &serde_json::Error| HistoryEvent::Unread { why: error.to_string() };
    let read = |line: &RawValue| serde_json::from_str(line.get()).unwrap_or_else(|error| unread(&error));
    let done: Vec<HistoryEvent> = match serde_json::from_str::<Vec<&RawValue>>(&row.done) {
        Ok(lines) => lines.into_iter().map(read).collect(),
        Err(error) => vec![unread(&error)],
    };
    let entry = |did| Entry { commit: row.seq, at: row.at, boot_ms: row.boot_ms, did };
    done.into_iter().map(entry).collect()
}

/// The API key, as it is read. One whose rights can't be read has none.
pub fn key_of(row: ApiKeyRow) -> StoredKey {
    StoredKey {
        rights: serde_json::from_str(&row.rights).map(Arc::new).map_err(|error| error.to_string()),
        previous: row.previous_hash.zip(row.previous_until.map(Timestamp)),
        created_at: Timestamp(row.created_at),
        expires_at: row.expires_at.map(Timestamp),
        revoked_at: row.revoked_at.map(Timestamp),
        last_used_at: row.last_used_at.map(Timestamp),
        name: row.name,
        hash: row.hash,
    }
}

/// The webhook, as it is read.
pub fn webhook_of(row: WebhookRow) -> Webhook {
    Webhook {
        id: row.id,
        key: row.key_name,
        url: row.url,
        events: row.events.split(',').filter(|name| !name.is_empty()).map(Name::read).collect(),
        format: row.format.map_or_else(|| HookFormat::default().into(), |name| Name::read(&name)),
        tags: tags_of(row.tags.as_deref()),
        quiet: row.quiet,
        created_at: row.created_at,
        failing_since: row.failing_since,
        disabled: row.disabled_at.map(|at| (at, row.disabled_reason.unwrap_or_default())),
    }
}

/// Tags of a webhook, as they are stored.
pub fn text_of_tags(tags: &[String]) -> Option<String> {
    let all = tags.iter().fold(String::from(TAG_BORDER), |all, tag| all + tag + &TAG_BORDER.to_string());
    (!tags.is_empty()).then_some(all)
}

fn tags_of(text: Option<&str>) -> Vec<String> {
    text.into_iter().flat_map(|text| text.split(TAG_BORDER)).filter(|tag| !tag.is_empty()).map(str::to_owned).collect()
}

/// The shape of a message; one that is not known is that for programs.
pub fn format_of(name: Option<&str>) -> HookFormat {
    name.and_then(HookFormat::from_name).unwrap_or_default()
}

/// The schedule, as it is read.
pub fn schedule_of(row: ScheduleRow) -> Schedule {
    let StoredSpec { spec, unreadable } = stored::from_text(&row.spec);
    if let Some(why) = &unreadable {
        warn_once(row.id.uuid(), why);
    }
    Schedule {
        id: row.id,
        name: row.name,
        cron: row.cron,
        time_zone: row.time_zone,
        spec,
        unreadable,
        key: row.key_name,
        missed: if row.missed == missed_name(Missed::Skip) { Missed::Skip } else { Missed::Once },
        overlap: if row.overlap == overlap_name(Overlap::Skip) { Overlap::Skip } else { Overlap::Allow },
        continue_session: row.continue_session,
        enabled: row.enabled,
        next_at: row.next_at,
        created_at: row.created_at,
    }
}

/// Returns the stored name of a policy for missed firings.
pub const fn missed_name(missed: Missed) -> &'static str {
    match missed {
        Missed::Skip => "skip",
        Missed::Once => "once",
    }
}

/// Returns the stored name of a policy for overlapping firings.
pub const fn overlap_name(overlap: Overlap) -> &'static str {
    match overlap {
        Overlap::Allow => "allow",
        Overlap::Skip => "skip",
    }
}
