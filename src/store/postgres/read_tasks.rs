//! Reads of tasks, one or many.

use std::collections::HashMap;
use std::path::Path;
use std::sync::LazyLock;

use tokio_postgres::Row;

use super::connection::{Connection, unread};
use super::table::Table;
use super::tx::only;
use super::value::{Unread, Value, get, params};
use super::{dependencies, read_state, touches};
use crate::store::StoreError;
use crate::store::convert::{activity_of, ahead_of, attempt_of, by_status, lost_task, question_of, task_of};
use crate::store::rows::{AttemptRow, MessageRow, QuestionRow, TaskRow};
use crate::store::summary::{self, MAX_ACTIVITY, MAX_JSON, MAX_TEXT};
use crate::store::views::{
    ConversationState, Dependency, Explained, Filter, ListOrder, ListQuestions, ListTaskIds, ListTasks,
    MAX_DEPENDENCIES_SHOWN, OpenQuestion, Page, QuestionPage, ShareAhead,
};
use domain::{AttemptOutcome, EventKind, Hold, Named, Question, Scope, SessionId, Status, TaskId, Timestamp};
use wire::{Activity, Attempt, Conflict, Task};

static FIND: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM tasks WHERE id = $1", TaskRow::COLUMNS));

static ATTEMPTS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM attempts WHERE task_id = $1 ORDER BY number", AttemptRow::COLUMNS));

static QUESTIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = QuestionRow::COLUMNS;
    format!(
        "SELECT {columns} FROM questions WHERE task_id = $1 AND (NOT closed OR answer IS NOT NULL) ORDER BY asked_at"
    )
});

static OPEN_QUESTIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = QuestionRow::COLUMNS;
    format!(
        "SELECT {columns} FROM questions WHERE answer IS NULL AND NOT closed
            AND ($1::text IS NULL OR (SELECT key_name FROM tasks WHERE id = task_id) = $1)
            AND (asked_at, task_id, request_id) > ($2, $3, $4)
        ORDER BY asked_at, task_id, request_id LIMIT $5"
    )
});

const COUNT_OPEN_QUESTIONS: &str = "SELECT COUNT(*) FROM questions WHERE answer IS NULL AND NOT closed
        AND ($1::text IS NULL OR (SELECT key_name FROM tasks WHERE id = task_id) = $1)";

static MESSAGES: LazyLock<String> = LazyLock::new(|| {
    let columns = MessageRow::COLUMNS;
    format!("SELECT {columns} FROM messages WHERE task_id = $1 AND kind = 'message' AND done_at IS NULL ORDER BY id")
});

/// Ready tasks by their share: of a higher priority, of this one, and older ones of this one; then the weight of the share,
/// and whether it is the one of the task.
const AHEAD: &str = "SELECT COUNT(*) FILTER (WHERE t.priority > $1), COUNT(*) FILTER (WHERE t.priority = $1),
        COUNT(*) FILTER (WHERE t.priority = $1 AND t.id < $2),
        COALESCE((SELECT weight FROM shares WHERE name = t.share), 1), t.share = (SELECT share FROM tasks WHERE id = $2)
    FROM tasks t WHERE t.status = 'pending' AND t.due_at IS NULL GROUP BY t.share";

const AHEAD_HELD: &str = "SELECT COUNT(*) FROM tasks WHERE status = 'pending' AND held = $3
    AND (priority > $1 OR (priority = $1 AND id < $2))";

const LATEST: &str = "SELECT kind, at, CASE WHEN kind = 'retry' THEN data ELSE '' END FROM events
    WHERE task_id = $1 ORDER BY seq DESC LIMIT 20";

/// The newest of the events that say what a task does.
static ACTIVITY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT kind, at, CASE WHEN octet_length(data) <= {MAX_ACTIVITY} THEN data ELSE '' END FROM
            (SELECT * FROM events WHERE task_id = $1 ORDER BY seq DESC LIMIT 20) latest
        WHERE kind IN ('assistant', 'tool_use', 'permission', 'message', 'retry', 'status') ORDER BY seq DESC LIMIT 1"
    )
});

/// The columns of a task, what may be megabytes long cut or left out; then, whether the request is, and the size of
/// the result.
static SUMMARY: LazyLock<String> = LazyLock::new(|| {
    let column = |name: &str| match name {
        "spec" => format!("CASE WHEN octet_length(spec) <= {MAX_JSON} THEN spec ELSE '' END"),
        "waiting_for" | "structured_output" | "usage" | "permission_denials" | "remarks" => {
            format!("CASE WHEN octet_length({name}) <= {MAX_JSON} THEN {name} END")
        }
        "working_directory" | "session_id" | "held" | "result" | "error_class" | "error_code" | "error_message" => {
            format!("left({name}, {MAX_TEXT})")
        }
        _ => name.to_owned(),
    };
    let columns: Vec<String> = TaskRow::COLUMNS.split(", ").map(column).collect();
    format!("{}, octet_length(spec) > {MAX_JSON}, octet_length(result)::bigint", columns.join(", "))
});

/// The task of a row; one that can't be read costs nothing but itself.
fn task_of_row(row: &Row) -> Result<Task, Unread> {
    match TaskRow::read(row) {
        Ok(row) => Ok(task_of(row)),
        Err(error) => Ok(lost_task(get(row, 0)?, &error.to_string())),
    }
}

/// A task with its attempts and its changes.
pub async fn find(db: &Connection, id: TaskId) -> Result<Option<Task>, StoreError> {
    let Some(task) = db.one(&FIND, &params![id], task_of_row).await? else { return Ok(None) };
    let summary = "SELECT summary FROM changes WHERE task_id = $1";
    let summary: Option<String> = db.one(summary, &params![id], only).await?;
    let changes = summary.and_then(|summary| serde_json::from_str(&summary).ok());
    let activity = activity(db, &task).await?;
    let depends_on = match task.dependencies {
        0 => Vec::new(),
        _ => dependencies::of_task(db, id, MAX_DEPENDENCIES_SHOWN, false)
            .await?
            .into_iter()
            .map(Dependency::shown)
            .collect(),
    };
    let (attempts, depends_on) = (Some(attempts(db, id).await?), Some(depends_on));
    let conflicts = match task.status {
        Status::Running => touches::others(db, id).await?,
        _ => Vec::new(),
    };
    let conflicts = conflicts.into_iter().map(|(task_id, path)| Conflict { task_id, path }).collect();
    Ok(Some(Task { attempts, depends_on, changes, activity, conflicts, ..task }))
}

/// What a running task did last.
async fn activity(db: &Connection, task: &Task) -> Result<Option<Activity>, StoreError> {
    if task.status != Status::Running {
        return Ok(None);
    }
    let read = |row: &Row| Ok((get(row, 0)?, get(row, 1)?, get::<String>(row, 2)?));
    Ok(db.one(&ACTIVITY, &params![task.id], read).await?.and_then(activity_of))
}

async fn attempts(db: &Connection, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
    Ok(db.readable(&ATTEMPTS, &params![id], "attempt", AttemptRow::read).await?.into_iter().map(attempt_of).collect())
}

/// Reads the changes of a task, as a patch.
pub async fn patch(db: &Connection, id: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
    db.one("SELECT patch FROM changes WHERE task_id = $1", &params![id], only).await
}

/// A task, and how many start before it.
pub async fn explain(db: &Connection, id: TaskId) -> Result<Option<Explained>, StoreError> {
    let Some(task) = find(db, id).await? else { return Ok(None) };
    let priority = task.spec.priority;
    let ahead = match &task.held {
        // Their ends come in no order.
        Some(held) if held == Hold::DEPENDENCIES => None,
        Some(held) => db.one(AHEAD_HELD, &params![priority, id, held], only).await?,
        None => {
            let read = |row: &Row| {
                let (higher, same, older) = (get(row, 0)?, get(row, 1)?, get(row, 2)?);
                Ok(ShareAhead { higher, same, older, weight: get(row, 3)?, own: get(row, 4)? })
            };
            Some(ahead_of(&db.all(AHEAD, &params![priority, id], read).await?))
        }
    };
    let retry = if task.status == Status::Running { retry(db, id).await? } else { None };
    Ok(Some(Explained { task, ahead: ahead.unwrap_or(0), retry }))
}

/// Reads the newest retry that the CLI has announced, unless it has heard from the API since.
async fn retry(db: &Connection, id: TaskId) -> Result<Option<(Timestamp, String)>, StoreError> {
    let asked = params![id];
    let latest = db.readable(LATEST, &asked, "event", |row| {
        Ok((EventKind::from_name(&get::<String>(row, 0)?), get(row, 1)?, get::<String>(row, 2)?))
    });
    let latest = latest.await?;
    let decides = |kind: Option<EventKind>| {
        use EventKind::{Assistant, Init, Retry, Status, ToolUse};
        matches!(kind, Some(Retry | Assistant | ToolUse | Status | Init))
    };
    let newest = latest.into_iter().find(|(kind, ..)| decides(*kind));
    Ok(newest.filter(|(kind, ..)| *kind == Some(EventKind::Retry)).map(|(_, at, data)| (at, data)))
}

/// Conditions of a query, and their values.
#[derive(Default)]
struct Conditions {
    all: Vec<String>,
    values: Vec<Value>,
}

impl Conditions {
    /// Adds a condition; `?` stands for the value.
    fn add(&mut self, condition: &str, value: impl Into<Value>) {
        self.values.push(value.into());
        self.all.push(condition.replace('?', &format!("${}", self.values.len())));
    }

    fn of(filter: &Filter) -> Self {
        let mut conditions = Self::default();
        conditions.any_of("status", &filter.statuses);
        conditions.any_of("error_class", &filter.error_classes);
        if let Some(session) = filter.session {
            conditions.add("session_id = ?", session.to_string());
        }
        if let Some(schedule) = filter.schedule {
            conditions.add("id IN (SELECT task_id FROM schedule_runs WHERE schedule_id = ?)", schedule);
        }
        if let Some(parent) = filter.parent {
            conditions.add("id IN (SELECT task_id FROM child_tasks WHERE parent_id = ?)", parent);
        }
        if let Some(since) = filter.since {
            conditions.add("id >= ?", TaskId::first_of(since));
        }
        if let Some(until) = filter.until {
            conditions.add("id < ?", TaskId::first_of(until));
        }
        if let Some(tag) = &filter.tag {
            conditions.add("id IN (SELECT task_id FROM task_tags WHERE tag = ?)", tag);
        }
        if let Some(key) = &filter.key {
            conditions.add("key_name = ?", key);
        }
        if let Some(folder) = &filter.working_directory {
            conditions.in_folder(folder);
        }
        for word in &filter.words {
            let word = word.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
            let likes = Value::texts(cases(&word).map(|word| format!("%{word}%")));
            conditions.add("(instruction_of(spec) ILIKE ANY(?) OR result ILIKE ANY(?))", likes);
        }
        if let Some(digits) = &filter.id {
            let likes = Value::texts([format!("{digits}%"), format!("%{digits}")]);
            conditions.add("replace(id::text, '-', '') LIKE ANY(?)", likes);
        }
        conditions
    }

    fn any_of<T: Named>(&mut self, column: &str, all: &[T]) {
        if !all.is_empty() {
            self.add(&format!("{column} = ANY(?)"), Value::texts(all.iter().map(|one| one.name().to_owned())));
        }
    }

    /// A folder of a task's own is found by the id in its name.
    fn in_folder(&mut self, folder: &str) {
        let owner = Path::new(folder).file_name().and_then(|name| str::parse::<TaskId>(name.to_str()?).ok());
        self.add("working_directory = ?", folder);
        match owner {
            None => self.all.push("NOT own_directory".to_owned()),
            Some(id) => self.add("(NOT own_directory OR id = ?)", id),
        }
    }

    /// The conditions, as they stand in a statement.
    fn text(&self) -> String {
        if self.all.is_empty() { String::new() } else { format!("WHERE {}", self.all.join(" AND ")) }
    }
}

/// A word in lower case, in upper case, and with a capital: a database may know of ASCII only which letters are the same.
fn cases(word: &str) -> [String; 3] {
    let lower = word.to_lowercase();
    let mut rest = lower.chars();
    let capital = rest.next().map(|first| first.to_uppercase().chain(rest).collect());
    [word.to_uppercase(), capital.unwrap_or_default(), lower]
}

/// Tasks, newest first.
pub async fn list(db: &Connection, list: &ListTasks) -> Result<Page, StoreError> {
    let counts = counts(db, &list.filter).await?;
    let total = list.filter.sum(counts);
    let mut conditions = Conditions::of(&list.filter);
    if let Some(before) = list.before {
        conditions.add("id < ?", before);
    }
    let order = match list.order {
        ListOrder::Newest => "id DESC",
        ListOrder::Cost => {
            conditions.all.push("cost_usd > 0".to_owned());
            "cost_usd DESC, id DESC"
        }
    };
    let (where_, mut values) = (conditions.text(), conditions.values);
    let number = |number: u64| Value::from(i64::try_from(number).unwrap_or(i64::MAX));
    values.extend([number(list.limit), number(list.offset)]);
    let (limit, offset) = (values.len() - 1, values.len());
    let text =
        format!("SELECT {} FROM tasks {where_} ORDER BY {order} LIMIT ${limit} OFFSET ${offset}", SUMMARY.as_str());
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for row in db.rows(&text, &values).await? {
        if bytes > summary::PAGE_BYTES {
            return Ok(Page { counts, tasks, more: true, total });
        }
        let task = summary_of(db, &row).await?;
        bytes += summary::bytes_of(&task);
        tasks.push(task);
    }
    Ok(Page { counts, tasks, more: false, total })
}

/// Ids of tasks, newest first.
pub async fn ids(db: &Connection, list: &ListTaskIds) -> Result<Vec<TaskId>, StoreError> {
    let mut conditions = Conditions::of(&list.filter);
    if let Some(before) = list.before {
        conditions.add("id < ?", before);
    }
    let (where_, mut values) = (conditions.text(), conditions.values);
    values.push(i64::try_from(list.limit).unwrap_or(i64::MAX).into());
    let text = format!("SELECT id FROM tasks {where_} ORDER BY id DESC LIMIT ${}", values.len());
    db.all(&text, &values, only).await
}

/// Tasks as summaries, by their ids.
pub async fn summaries(
    db: &Connection,
    ids: impl IntoIterator<Item = TaskId>,
) -> Result<HashMap<TaskId, Task>, StoreError> {
    let text = format!("SELECT {} FROM tasks WHERE id = ANY($1)", SUMMARY.as_str());
    let mut tasks = HashMap::new();
    for row in db.rows(&text, &[Value::ids(ids.into_iter().map(TaskId::uuid))]).await? {
        let task = summary_of(db, &row).await?;
        tasks.insert(task.id, task);
    }
    Ok(tasks)
}

/// A row of a list. A request that is too long for the list is read by itself.
async fn summary_of(db: &Connection, row: &Row) -> Result<Task, StoreError> {
    let id = get(row, 0).map_err(unread)?;
    let mut task = match TaskRow::read(row) {
        Ok(row) => row,
        Err(error) => return Ok(lost_task(id, &error.to_string())),
    };
    let is_long: bool = get(row, TaskRow::WIDTH).map_err(unread)?;
    let result_bytes: Option<i64> = get(row, TaskRow::WIDTH + 1).map_err(unread)?;
    if is_long {
        let whole: Option<String> = db.one("SELECT spec FROM tasks WHERE id = $1", &params![id], only).await?;
        task.spec = summary::shortened(&whole.unwrap_or_default());
    }
    let task = summary::of(task_of(task), result_bytes, is_long);
    Ok(Task { activity: activity(db, &task).await?, ..task })
}

/// Numbers of tasks that the filter has in each status, whichever it names; without any other condition than that and a
/// key, nothing is counted.
async fn counts(db: &Connection, filter: &Filter) -> Result<[i64; 5], StoreError> {
    if filter.is_of_statuses() {
        return read_state::counts(db, filter.key.as_deref()).await;
    }
    let conditions = Conditions::of(&Filter { statuses: Vec::new(), ..filter.clone() });
    let text = format!("SELECT status, COUNT(*) FROM tasks {} GROUP BY status", conditions.text());
    Ok(by_status(db.all(&text, &conditions.values, |row| Ok((get(row, 0)?, get(row, 1)?))).await?))
}

/// The transcript of a session, line by line.
pub async fn transcript(db: &Connection, session: SessionId) -> Result<String, StoreError> {
    let text = "SELECT entries FROM transcripts WHERE session_id = $1 ORDER BY n";
    let parts: Vec<String> = db.readable(text, &params![session], "part of a transcript", only).await?;
    Ok(parts.concat())
}

/// The questions of a task, oldest first; `None` where there is no such task.
pub async fn questions(db: &Connection, id: TaskId) -> Result<Option<Vec<Question>>, StoreError> {
    if !db.any("SELECT 1 FROM tasks WHERE id = $1", &params![id]).await? {
        return Ok(None);
    }
    let rows = db.readable(&QUESTIONS, &params![id], "question", QuestionRow::read).await?;
    Ok(Some(rows.into_iter().map(question_of).collect()))
}

/// Open questions of all tasks, oldest first.
pub async fn open_questions(db: &Connection, list: &ListQuestions) -> Result<QuestionPage, StoreError> {
    let ListQuestions { key, after, limit } = list;
    let (at, task, name) = match after {
        Some((at, task, name)) => (at.0, *task, name.as_str()),
        None => (i64::MIN, TaskId::from_u128(0), ""),
    };
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let values = params![key, at, task, name, limit];
    let rows = db.readable(&OPEN_QUESTIONS, &values, "question", QuestionRow::read).await?;
    let tasks = summaries(db, rows.iter().map(|row| row.task_id)).await?;
    let questions = rows.into_iter().filter_map(|row| {
        let task = tasks.get(&row.task_id)?.clone();
        Some(OpenQuestion { question: question_of(row), task })
    });
    let total = db.one(COUNT_OPEN_QUESTIONS, &params![key], only).await?.unwrap_or(0);
    Ok(QuestionPage { questions: questions.collect(), total })
}

/// Reads the state of a task's conversation.
pub async fn talk(db: &Connection, id: TaskId) -> Result<ConversationState, StoreError> {
    let open = db.readable(&MESSAGES, &params![id], "message", MessageRow::read).await?;
    let is_begun = |row: &&MessageRow| row.epoch.is_some();
    let said = |row: &MessageRow| (row.id, row.text.clone());
    let last = attempts(db, id).await?.into_iter().rfind(|attempt| attempt.ended_at.is_some());
    let questions = questions(db, id).await?.unwrap_or_default();
    let is_allowed =
        |question: &&Question| question.answer.as_ref().is_some_and(|answer| answer.scope == Scope::Session);
    Ok(ConversationState {
        current: open.iter().find(is_begun).map(said),
        next: open.iter().find(|row| !is_begun(row)).map(said),
        idle: last.is_some_and(|attempt| attempt.outcome == Some(AttemptOutcome::Completed.into())),
        allowed: questions.iter().filter(is_allowed).flat_map(Question::session_rules).collect(),
    })
}
