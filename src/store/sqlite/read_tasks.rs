//! Reads of tasks, one or many.

use std::path::Path;
use std::sync::LazyLock;

use entity::task::{Column, Entity};
use rusqlite::{Row, params};
use sea_orm::sea_query::{Expr, ExprTrait, Query, SimpleExpr};
use sea_orm::{ColumnTrait, Condition, EntityTrait, QueryFilter, QueryOrder, QuerySelect, QueryTrait};

use super::query::{Db, bound, name, time};
use super::table::Table;
use super::{dependencies, read_state, touches};
use crate::store::StoreError;
use crate::store::convert::{activity_of, ahead_of, attempt_of, by_status, lost_task, question_of, task_of};
use crate::store::rows::{AttemptRow, MessageRow, QuestionRow, TaskRow};
use crate::store::summary::{self, MAX_ACTIVITY, MAX_JSON, MAX_TEXT};
use crate::store::views::{
    ConversationState, Dependency, Explained, Filter, ListOrder, ListQuestions, ListTaskIds, ListTasks,
    MAX_DEPENDENCIES_SHOWN, OpenQuestion, Page, QuestionPage, ShareAhead,
};
use domain::{
    AttemptOutcome, EventKind, Hold, Named, Question, ScheduleId, Scope, SessionId, Status, TaskId, Timestamp,
};
use wire::{Activity, Attempt, Conflict, Task};

static FIND: LazyLock<String> = LazyLock::new(|| format!("SELECT {} FROM tasks WHERE id = ?1", TaskRow::COLUMNS));

static ATTEMPTS: LazyLock<String> =
    LazyLock::new(|| format!("SELECT {} FROM attempts WHERE task_id = ?1 ORDER BY number", AttemptRow::COLUMNS));

static QUESTIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = QuestionRow::COLUMNS;
    format!(
        "SELECT {columns} FROM questions WHERE task_id = ?1 AND (NOT closed OR answer IS NOT NULL) ORDER BY asked_at"
    )
});

static OPEN_QUESTIONS: LazyLock<String> = LazyLock::new(|| {
    let columns = QuestionRow::COLUMNS;
    format!(
        "SELECT {columns} FROM questions INDEXED BY questions_open WHERE answer IS NULL AND NOT closed
            AND (?1 IS NULL OR (SELECT key_name FROM tasks WHERE id = task_id) = ?1)
            AND (asked_at, task_id, request_id) > (?2, ?3, ?4)
        ORDER BY asked_at, task_id, request_id LIMIT ?5"
    )
});

const COUNT_OPEN_QUESTIONS: &str =
    "SELECT COUNT(*) FROM questions INDEXED BY questions_open WHERE answer IS NULL AND NOT closed
        AND (?1 IS NULL OR (SELECT key_name FROM tasks WHERE id = task_id) = ?1)";

static MESSAGES: LazyLock<String> = LazyLock::new(|| {
    let columns = MessageRow::COLUMNS;
    format!("SELECT {columns} FROM messages WHERE task_id = ?1 AND kind = 'message' AND done_at IS NULL ORDER BY id")
});

/// Ready tasks by their share: of a higher priority, of this one, and older ones of this one; then the weight of the share,
/// and whether it is the one of the task.
const AHEAD: &str = "SELECT SUM(t.priority > ?1), SUM(t.priority = ?1), SUM(t.priority = ?1 AND t.id < ?2),
        COALESCE((SELECT weight FROM shares WHERE name = t.share), 1), t.share = (SELECT share FROM tasks WHERE id = ?2)
    FROM tasks t INDEXED BY tasks_ready WHERE t.status = 'pending' AND t.due_at IS NULL GROUP BY t.share";

const AHEAD_HELD: &str = "SELECT COUNT(*) FROM tasks INDEXED BY tasks_held WHERE status = 'pending' AND held = ?3
    AND (priority > ?1 OR (priority = ?1 AND id < ?2))";

const LATEST: &str = "SELECT kind, at, CASE WHEN kind = 'retry' THEN data ELSE '' END FROM events
    WHERE task_id = ?1 ORDER BY seq DESC LIMIT 20";

/// The newest of the events that say what a task does.
static ACTIVITY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT kind, at, CASE WHEN octet_length(data) <= {MAX_ACTIVITY} THEN data ELSE '' END FROM
            (SELECT * FROM events WHERE task_id = ?1 ORDER BY seq DESC LIMIT 20)
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
            format!("substr({name}, 1, {MAX_TEXT})")
        }
        _ => name.to_owned(),
    };
    let columns: Vec<String> = TaskRow::COLUMNS.split(", ").map(column).collect();
    format!("{}, octet_length(spec) > {MAX_JSON}, octet_length(result)", columns.join(", "))
});

/// The task of a row; one that can't be read costs nothing but itself.
fn task_of_row(row: &Row<'_>) -> rusqlite::Result<Task> {
    match TaskRow::read(row) {
        Ok(row) => Ok(task_of(row)),
        Err(error) => Ok(lost_task(TaskId::of(row.get(0)?), &error.to_string())),
    }
}

/// A task with its attempts and its changes.
pub fn find(db: Db<'_>, id: TaskId) -> Result<Option<Task>, StoreError> {
    let Some(task) = db.one(&FIND, [id.as_bytes()], task_of_row)? else { return Ok(None) };
    let summary = "SELECT summary FROM changes WHERE task_id = ?1";
    let summary: Option<String> = db.one(summary, [id.as_bytes()], |row| row.get(0))?;
    let changes = summary.and_then(|summary| serde_json::from_str(&summary).ok());
    let activity = activity(db, &task)?;
    let depends_on = match task.dependencies {
        0 => Vec::new(),
        _ => dependencies::of_task(db, id, MAX_DEPENDENCIES_SHOWN, false)?.into_iter().map(Dependency::shown).collect(),
    };
    let (attempts, depends_on) = (Some(attempts(db, id)?), Some(depends_on));
    let conflicts = match task.status {
        Status::Running => touches::others(db, id, None)?,
        _ => Vec::new(),
    };
    let conflicts = conflicts.into_iter().map(|(task_id, path)| Conflict { task_id, path }).collect();
    Ok(Some(Task { attempts, depends_on, changes, activity, conflicts, ..task }))
}

/// What a running task did last.
fn activity(db: Db<'_>, task: &Task) -> Result<Option<Activity>, StoreError> {
    if task.status != Status::Running {
        return Ok(None);
    }
    let read = |row: &Row<'_>| Ok((name(row, 0)?, time::at(row, 1)?, row.get::<_, String>(2)?));
    Ok(db.one(&ACTIVITY, [task.id.as_bytes()], read)?.and_then(activity_of))
}

fn attempts(db: Db<'_>, id: TaskId) -> Result<Vec<Attempt>, StoreError> {
    Ok(db.readable(&ATTEMPTS, [id.as_bytes()], "attempt", AttemptRow::read)?.into_iter().map(attempt_of).collect())
}

/// Reads the changes of a task, as a patch.
pub fn patch(db: Db<'_>, id: TaskId) -> Result<Option<Vec<u8>>, StoreError> {
    db.one("SELECT patch FROM changes WHERE task_id = ?1", [id.as_bytes()], |row| row.get(0))
}

/// A task, and how many start before it.
pub fn explain(db: Db<'_>, id: TaskId) -> Result<Option<Explained>, StoreError> {
    let Some(task) = find(db, id)? else { return Ok(None) };
    let priority = task.spec.priority;
    let ahead = match &task.held {
        // Their ends come in no order.
        Some(held) if held == Hold::DEPENDENCIES => None,
        Some(held) => db.one(AHEAD_HELD, params![priority, id.as_bytes(), held], |row| row.get(0))?,
        None => Some(ahead_of(&db.all(AHEAD, params![priority, id.as_bytes()], |row| {
            Ok(ShareAhead {
                higher: row.get(0)?,
                same: row.get(1)?,
                older: row.get(2)?,
                weight: row.get(3)?,
                own: row.get(4)?,
            })
        })?)),
    };
    let retry = if task.status == Status::Running { retry(db, id)? } else { None };
    Ok(Some(Explained { task, ahead: ahead.unwrap_or(0), retry }))
}

/// Reads the newest retry that the CLI has announced, unless it has heard from the API since.
fn retry(db: Db<'_>, id: TaskId) -> Result<Option<(Timestamp, String)>, StoreError> {
    let latest = db.readable(LATEST, [id.as_bytes()], "event", |row| {
        Ok((EventKind::from_name(&row.get::<_, String>(0)?), time::at(row, 1)?, row.get::<_, String>(2)?))
    })?;
    let decides = |kind: Option<EventKind>| {
        use EventKind::{Assistant, Init, Retry, Status, ToolUse};
        matches!(kind, Some(Retry | Assistant | ToolUse | Status | Init))
    };
    let newest = latest.into_iter().find(|(kind, ..)| decides(*kind));
    Ok(newest.filter(|(kind, ..)| *kind == Some(EventKind::Retry)).map(|(_, at, data)| (at, data)))
}

/// Tasks, newest first.
pub fn list(db: Db<'_>, list: &ListTasks) -> Result<Page, StoreError> {
    let counts = counts(db, &list.filter)?;
    let total = list.filter.sum(counts);
    let mut query = Entity::find().filter(condition(&list.filter));
    if let Some(before) = list.before {
        query = query.filter(Column::Id.lt(before.uuid()));
    }
    let query = match list.order {
        ListOrder::Newest => query,
        ListOrder::Cost => query.filter(Column::CostUsd.gt(0)).order_by_desc(Column::CostUsd),
    };
    let query = query.select_only().expr(Expr::cust(SUMMARY.as_str()));
    let query = query.order_by_desc(Column::Id).offset(list.offset).limit(list.limit).into_query();
    let (text, values) = bound(&query);
    let mut statement = db.0.prepare_cached(&text)?;
    let mut rows = statement.query(values)?;
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        if bytes > summary::PAGE_BYTES {
            return Ok(Page { counts, tasks, more: true, total });
        }
        let task = summary_of(db, row)?;
        bytes += summary::bytes_of(&task);
        tasks.push(task);
    }
    Ok(Page { counts, tasks, more: false, total })
}

/// Ids of tasks, newest first.
pub fn ids(db: Db<'_>, list: &ListTaskIds) -> Result<Vec<TaskId>, StoreError> {
    let mut query = Entity::find().filter(condition(&list.filter));
    if let Some(before) = list.before {
        query = query.filter(Column::Id.lt(before.uuid()));
    }
    let query = query.select_only().column(Column::Id).order_by_desc(Column::Id).limit(list.limit).into_query();
    let (text, values) = bound(&query);
    db.all(&text, values, |row| row.get(0).map(TaskId::of))
}

/// A task as a summary.
pub fn summary(db: Db<'_>, id: TaskId) -> Result<Option<Task>, StoreError> {
    let text = format!("SELECT {} FROM tasks WHERE id = ?1", SUMMARY.as_str());
    let mut statement = db.0.prepare_cached(&text)?;
    let mut found = statement.query([id.as_bytes()])?;
    found.next()?.map(|row| summary_of(db, row)).transpose()
}

/// A row of a list. A request that is too long for the list is read by itself.
fn summary_of(db: Db<'_>, row: &Row<'_>) -> Result<Task, StoreError> {
    let id = TaskId::of(row.get(0)?);
    let mut task = match TaskRow::read(row) {
        Ok(row) => row,
        Err(error) => return Ok(lost_task(id, &error.to_string())),
    };
    let (is_long, result_bytes): (bool, Option<i64>) = (row.get(TaskRow::WIDTH)?, row.get(TaskRow::WIDTH + 1)?);
    if is_long {
        let whole: Option<String> =
            db.one("SELECT spec FROM tasks WHERE id = ?1", [id.as_bytes()], |row| row.get(0))?;
        task.spec = summary::shortened(&whole.unwrap_or_default());
    }
    let task = summary::of(task_of(task), result_bytes, is_long);
    Ok(Task { activity: activity(db, &task)?, ..task })
}

/// Numbers of tasks that the filter has in each status, whichever it names; without any other condition than that and a
/// key, nothing is counted.
fn counts(db: Db<'_>, filter: &Filter) -> Result<[i64; 5], StoreError> {
    if filter.is_of_statuses() {
        return read_state::counts(db, filter.key.as_deref());
    }
    let any = Filter { statuses: Vec::new(), ..filter.clone() };
    let query = Entity::find().filter(condition(&any)).select_only().expr(Expr::cust("status, COUNT(*)"));
    let query = query.group_by(Column::Status).into_query();
    let (text, values) = bound(&query);
    Ok(by_status(db.all(&text, values, |row| Ok((row.get(0)?, row.get(1)?)))?))
}

fn condition(filter: &Filter) -> Condition {
    let tagged = |tag: &str| {
        let tags = Query::select().column("task_id").from("task_tags").and_where(Expr::col("tag").eq(tag)).to_owned();
        Column::Id.in_subquery(tags)
    };
    Condition::all()
        .add_option(any_of(&filter.statuses).map(|names| Column::Status.is_in(names)))
        .add_option(any_of(&filter.error_classes).map(|names| Column::ErrorClass.is_in(names)))
        .add_option(filter.session.map(|session| Column::SessionId.eq(session.to_string())))
        .add_option(filter.schedule.map(fired))
        .add_option(filter.parent.map(made_by))
        .add_option(filter.since.map(|since| Column::Id.gte(TaskId::first_of(since).uuid())))
        .add_option(filter.until.map(|until| Column::Id.lt(TaskId::first_of(until).uuid())))
        .add_option(filter.tag.as_deref().map(tagged))
        .add_option(filter.working_directory.as_deref().map(in_folder))
        .add_option(filter.key.as_deref().map(|key| Column::KeyName.eq(key)))
        .add(filter.words.iter().fold(Condition::all(), |all, word| all.add(has_word(word))))
        .add_option(filter.id.as_deref().map(has_digits))
}

fn has_digits(digits: &str) -> SimpleExpr {
    let likes = [format!("{digits}%"), format!("%{digits}")];
    Expr::cust_with_values("(hex(id) LIKE ? OR hex(id) LIKE ?)", likes)
}

/// See [`super::connection`] for the function.
fn has_word(word: &str) -> SimpleExpr {
    Expr::cust_with_values("has_word(spec, result, ?)", [word])
}

/// The names of these, should there be any.
fn any_of<T: Named + Copy>(all: &[T]) -> Option<Vec<&'static str>> {
    (!all.is_empty()).then(|| all.iter().map(|one| one.name()).collect())
}

/// The tasks that a schedule has submitted.
fn fired(schedule: ScheduleId) -> SimpleExpr {
    let runs = Query::select()
        .column("task_id")
        .from("schedule_runs")
        .and_where(Expr::col("schedule_id").eq(schedule.uuid()))
        .to_owned();
    Column::Id.in_subquery(runs)
}

/// The tasks that were made from inside another.
fn made_by(parent: TaskId) -> SimpleExpr {
    let children = Query::select()
        .column("task_id")
        .from("child_tasks")
        .and_where(Expr::col("parent_id").eq(parent.uuid()))
        .to_owned();
    Column::Id.in_subquery(children)
}

/// A folder of a task's own is found by the id in its name.
fn in_folder(folder: &str) -> Condition {
    let owner = Path::new(folder).file_name().and_then(|name| str::parse::<TaskId>(name.to_str()?).ok());
    let is_it = || Column::WorkingDirectory.eq(folder);
    // Written as the index has it.
    Condition::any()
        .add(Condition::all().add(is_it()).add(Expr::cust("NOT own_directory")))
        .add_option(owner.map(|id| Condition::all().add(Column::Id.eq(id.uuid())).add(is_it())))
}

/// The transcript of a session, line by line.
pub fn transcript(db: Db<'_>, session: SessionId) -> Result<String, StoreError> {
    let text = "SELECT entries FROM transcripts WHERE session_id = ?1 ORDER BY n";
    let parts: Vec<String> = db.readable(text, [session.as_bytes()], "part of a transcript", |row| row.get(0))?;
    Ok(parts.concat())
}

/// The questions of a task, oldest first; `None` where there is no such task.
pub fn questions(db: Db<'_>, id: TaskId) -> Result<Option<Vec<Question>>, StoreError> {
    if !db.any("SELECT 1 FROM tasks WHERE id = ?1", [id.as_bytes()])? {
        return Ok(None);
    }
    let rows = db.readable(&QUESTIONS, [id.as_bytes()], "question", QuestionRow::read)?;
    Ok(Some(rows.into_iter().map(question_of).collect()))
}

/// Open questions of all tasks, oldest first.
pub fn open_questions(db: Db<'_>, list: &ListQuestions) -> Result<QuestionPage, StoreError> {
    let ListQuestions { key, after, limit } = list;
    let (at, task, name) = match after {
        Some((at, task, name)) => (at.0, task.as_bytes().to_vec(), name.as_str()),
        None => (i64::MIN, Vec::new(), ""),
    };
    let limit = i64::try_from(*limit).unwrap_or(i64::MAX);
    let rows = db.readable(&OPEN_QUESTIONS, params![key, at, task, name, limit], "question", QuestionRow::read)?;
    let mut questions = Vec::with_capacity(rows.len());
    for row in rows {
        let Some(task) = summary(db, row.task_id)? else { continue };
        questions.push(OpenQuestion { question: question_of(row), task });
    }
    let total = db.one(COUNT_OPEN_QUESTIONS, [key], |row| row.get(0))?.unwrap_or(0);
    Ok(QuestionPage { questions, total })
}

/// Reads the state of a task's conversation.
pub fn talk(db: Db<'_>, id: TaskId) -> Result<ConversationState, StoreError> {
    let open = db.readable(&MESSAGES, [id.as_bytes()], "message", MessageRow::read)?;
    let is_begun = |row: &&MessageRow| row.epoch.is_some();
    let said = |row: &MessageRow| (row.id, row.text.clone());
    let last = attempts(db, id)?.into_iter().rfind(|attempt| attempt.ended_at.is_some());
    let questions = questions(db, id)?.unwrap_or_default();
    let is_allowed =
        |question: &&Question| question.answer.as_ref().is_some_and(|answer| answer.scope == Scope::Session);
    Ok(ConversationState {
        current: open.iter().find(is_begun).map(said),
        next: open.iter().find(|row| !is_begun(row)).map(said),
        idle: last.is_some_and(|attempt| attempt.outcome == Some(AttemptOutcome::Completed.into())),
        allowed: questions.iter().filter(is_allowed).flat_map(Question::session_rules).collect(),
    })
}
