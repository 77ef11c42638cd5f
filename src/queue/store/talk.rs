//! Questions and their answers, messages and interrupts.

use entity::{question, task};
use rusqlite::params;
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use serde_json::{Value, json};

use super::settle::{find, held};
use super::table::Table;
use super::{Change, StoreError, Tx, hooks};
use crate::queue::messages::Stale;
use crate::queue::talk::{Answer, Answered, Ask, Asked, Progress, SaidTo, Say, Step};
use crate::task::{Decision, Did, EventKind, HookEvent, NewEvent, Question, Status, TaskId, Wall};

/// Longest name of a question.
const MAX_NAME_BYTES: usize = 128;
/// So many messages may wait for a task.
const MAX_WAITING: i32 = 100;

/// The question, as it is read.
pub fn question_of(row: question::Model) -> Question {
    let json = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    Question {
        tool: row.tool,
        input: json(&row.input),
        suggestions: json(&row.suggestions),
        asked_at: Wall(row.asked_at),
        deadline: Wall(row.deadline),
        answer: row.answer.and_then(|answer| serde_json::from_str(&answer).ok()),
        request_id: row.request_id,
    }
}

/// The CLI's name for a question, where it can be one in a path and no other question of the task has it.
fn free_name(tx: &Tx<'_>, task: TaskId, name: &str) -> Result<String, StoreError> {
    let is_plain = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(is_of_a_name);
    let text = "SELECT 1 FROM questions WHERE task_id = ?1 AND request_id = ?2";
    let is_free = is_plain && tx.one(text, params![task, name], |_| Ok(()))?.is_none();
    Ok(if is_free { name.to_owned() } else { uuid::Uuid::new_v4().to_string() })
}

fn is_of_a_name(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '-' | '_' | '.' | ':')
}

fn asked(question: Question) -> Asked {
    Asked { request_id: question.request_id, deadline: question.deadline, decision: question.answer }
}

fn permission(state: &str, question: &Question) -> NewEvent {
    let mut data = json!({ "state": state, "requestId": question.request_id, "toolName": question.tool });
    match &question.answer {
        Some(decision) => {
            data["behavior"] = json!(decision.behavior);
            data["scope"] = json!(decision.scope);
            data["message"] = json!(decision.message);
        }
        None => {
            data["input"] = question.input.clone();
            data["suggestions"] = question.suggestions.clone();
            data["deadline"] = json!(question.deadline);
        }
    }
    NewEvent::new(EventKind::Permission, &data)
}

/// Adds an event and says what the task waits for now.
fn tell(tx: &mut Tx<'_>, row: &task::Model, event: NewEvent, waiting_for: Option<Value>) -> Result<(), StoreError> {
    let last = tx.add_events(row.id, row.last_event, &[event])?;
    let columns = task::ActiveModel {
        last_event: Set(last),
        waiting_for: Set(waiting_for.map(|waiting| waiting.to_string())),
        ..Default::default()
    };
    tx.run(&task::Entity::update_many().set(columns).filter(task::Column::Id.eq(row.id)))?;
    Ok(())
}

fn questions(tx: &mut Tx<'_>, task: TaskId) -> Result<Vec<Question>, StoreError> {
    let columns = question::Model::COLUMNS;
    let text = format!("SELECT {columns} FROM questions WHERE task_id = ?1 AND NOT closed ORDER BY asked_at");
    let rows = tx.all(&text, [task], question::Model::read)?;
    Ok(rows.into_iter().map(question_of).collect())
}

fn close(tx: &mut Tx<'_>, task: TaskId, request_id: Option<&str>) -> Result<(), StoreError> {
    let mut all = question::Entity::update_many()
        .col_expr(question::Column::Closed, Expr::value(true))
        .filter(question::Column::TaskId.eq(task));
    if let Some(request_id) = request_id {
        all = all.filter(question::Column::RequestId.eq(request_id));
    }
    tx.run(&all)?;
    Ok(())
}

/// What an open question still waits for.
fn first_open(questions: &[Question]) -> Option<Value> {
    questions.iter().find(|question| question.answer.is_none()).map(Question::waiting_for)
}

/// When a task that waits for an answer goes on without one; `None`: it has one already.
pub fn patience(tx: &mut Tx<'_>, task: TaskId) -> Result<Option<Wall>, StoreError> {
    let open = questions(tx, task)?;
    if open.iter().any(|question| question.answer.is_some()) {
        return Ok(None);
    }
    Ok(open.iter().map(|question| question.deadline).min())
}

/// The task has ended: nobody asks any more.
pub fn close_all(tx: &mut Tx<'_>, task: TaskId) -> Result<(), StoreError> {
    close(tx, task, None)
}

impl Change for Ask {
    type Answer = Result<Asked, Stale>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = held(tx, self.key)? else { return Ok(Err(Stale)) };
        let mut open = questions(tx, row.id)?;
        // Never by its name alone: a yes to one input is none to another.
        let is_same = |one: &Question| one.tool == self.tool && one.input == self.input;
        if let Some(at) = open.iter().position(is_same) {
            let question = open.swap_remove(at);
            if question.answer.is_none() && question.deadline <= tx.now {
                return decide(tx, &row, question, Decision::too_late()).map(|question| Ok(asked(question)));
            }
            return Ok(Ok(asked(question)));
        }
        let question = Question {
            request_id: free_name(tx, row.id, &self.request_id)?,
            tool: self.tool.clone(),
            input: self.input.clone(),
            suggestions: self.suggestions.clone(),
            asked_at: tx.now,
            deadline: tx.now.plus_ms(i64::try_from(self.limit.as_millis()).unwrap_or(i64::MAX)),
            answer: None,
        };
        tx.insert(&question::Model {
            task_id: row.id,
            request_id: question.request_id.clone(),
            tool: question.tool.clone(),
            input: question.input.to_string(),
            suggestions: question.suggestions.to_string(),
            asked_at: question.asked_at.0,
            deadline: question.deadline.0,
            answer: None,
            answered_at: None,
            closed: false,
        })?;
        hooks::tell(tx, row.id, HookEvent::Waiting)?;
        open.push(question.clone());
        tell(tx, &row, permission("asked", &question), first_open(&open))?;
        Ok(Ok(asked(question)))
    }
}

/// Writes a decision down, and lets a task go on that waits for it.
fn decide(
    tx: &mut Tx<'_>,
    row: &task::Model,
    mut question: Question,
    decision: Decision,
) -> Result<Question, StoreError> {
    let columns = question::ActiveModel {
        answer: Set(serde_json::to_string(&decision).ok()),
        answered_at: Set(Some(tx.now.0)),
        ..Default::default()
    };
    let update = question::Entity::update_many()
        .set(columns)
        .filter(question::Column::TaskId.eq(row.id))
        .filter(question::Column::RequestId.eq(&question.request_id));
    tx.run(&update)?;
    question.answer = Some(decision);
    let open = questions(tx, row.id)?;
    tell(tx, row, permission("answered", &question), first_open(&open))?;
    if row.status == Status::Pending.name() && row.due_at.is_some() && row.waiting_for.is_some() {
        let go_on = "UPDATE tasks SET due_at = NULL, held = NULL WHERE id = ?1 AND status = 'pending'";
        tx.execute(go_on, [row.id])?;
        tx.record(&Did::Wake { tasks: vec![row.id] });
    }
    Ok(question)
}

impl Change for Answer {
    type Answer = Answered;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Answered, StoreError> {
        let Some(row) = find(tx, self.task)? else { return Ok(Answered::NoTask) };
        let columns = question::Model::COLUMNS;
        let text = format!("SELECT {columns} FROM questions WHERE task_id = ?1 AND request_id = ?2");
        let Some(question) = tx.one(&text, params![self.task, self.request_id], question::Model::read)? else {
            return Ok(Answered::NoQuestion);
        };
        let closed = question.closed;
        let question = question_of(question);
        match question.answer {
            Some(before) => Ok(Answered::Before(before)),
            None if closed => Ok(Answered::NoQuestion),
            None => {
                decide(tx, &row, question, self.decision.clone())?;
                Ok(Answered::Done)
            }
        }
    }
}

impl Change for Progress {
    type Answer = Result<(), Stale>;

    fn run(&self, tx: &mut Tx<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = held(tx, self.key)? else { return Ok(Err(Stale)) };
        match &self.step {
            Step::Closed(request_id) => {
                close(tx, row.id, Some(request_id))?;
                let waiting = first_open(&questions(tx, row.id)?).map(|waiting| waiting.to_string());
                if waiting != row.waiting_for {
                    let columns = task::ActiveModel { waiting_for: Set(waiting), ..Default::default() };
                    let all = task::Entity::update_many().set(columns).filter(task::Column::Id.eq(row.id));
                    tx.run(&all)?;
                }
            }
            Step::TooLate(request_id) => {
                let open = questions(tx, row.id)?;
                let late = open.into_iter().find(|one| one.request_id == *request_id && one.answer.is_none());
                if let Some(question) = late {
                    decide(tx, &row, question, Decision::too_late())?;
                }
            }
            Step::Begun(id) => begun(tx, &row, *id)?,
            Step::Done(id) => done(tx, row.id, *id)?,
            Step::Interrupted(until) => {
                let waiting = json!({ "type": "message", "since": tx.now, "until": until });
                tell(tx, &row, message_event("interrupted", None, ""), Some(waiting))?;
            }
        }
        Ok(Ok(()))
    }
}

fn message_event(state: &str, id: Option<i64>, text: &str) -> NewEvent {
    let mut data = json!({ "state": state });
    if let Some(id) = id {
        data["messageId"] = json!(id);
        data["text"] = json!(text);
    }
    NewEvent::new(EventKind::Message, &data)
}

/// The attempt has this message in hand. Told twice, it is one event.
fn begun(tx: &mut Tx<'_>, row: &task::Model, id: i64) -> Result<(), StoreError> {
    let new = "UPDATE messages SET epoch = ?2 WHERE id = ?1 AND epoch IS NOT ?2 RETURNING text";
    let text: Option<String> = tx.one(new, [id, row.epoch], |row| row.get(0))?;
    match text {
        Some(text) => tell(tx, row, message_event("begun", Some(id), &text), None),
        None => Ok(()),
    }
}

fn done(tx: &mut Tx<'_>, task: TaskId, id: i64) -> Result<(), StoreError> {
    let over = "UPDATE messages SET done_at = ?1 WHERE id = ?2 AND done_at IS NULL";
    if tx.execute(over, [tx.now.0, id])? == 1 {
        count(tx, task)?;
    }
    Ok(())
}

/// Keeps the number of messages with the task, so that nobody else must count them.
fn count(tx: &mut Tx<'_>, task: TaskId) -> Result<(), StoreError> {
    let text = "UPDATE tasks SET said = (SELECT COUNT(*) FROM messages
        WHERE task_id = ?1 AND kind = 'message' AND done_at IS NULL) WHERE id = ?1";
    tx.execute(text, [task])?;
    Ok(())
}

impl Change for Say {
    type Answer = SaidTo;

    fn is_essential(&self) -> bool {
        false
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<SaidTo, StoreError> {
        let Some(row) = find(tx, self.task)? else { return Ok(SaidTo::NoTask) };
        let status = Status::from_name(&row.status).unwrap_or(Status::Failed);
        let hears = match &self.text {
            Some(_) => !status.is_terminal(),
            None => status == Status::Running,
        };
        if !hears {
            return Ok(SaidTo::Deaf(status));
        }
        if self.text.is_some() && row.said >= MAX_WAITING {
            return Ok(SaidTo::TooMany(MAX_WAITING));
        }
        let (kind, state) = if self.text.is_some() { ("message", "stored") } else { ("interrupt", "interrupt") };
        let text = self.text.as_deref().unwrap_or_default();
        let epoch = self.text.is_none().then_some(row.epoch);
        let insert = "INSERT INTO messages (task_id, kind, text, at, epoch) VALUES (?1, ?2, ?3, ?4, ?5)";
        tx.execute(insert, params![row.id, kind, text, tx.now.0, epoch])?;
        let id = tx.last_inserted();
        let waiting_for = row.waiting_for.as_ref().and_then(|waiting| serde_json::from_str(waiting).ok());
        tell(tx, &row, message_event(state, Some(id), text), waiting_for)?;
        if self.text.is_some() {
            count(tx, row.id)?;
        }
        Ok(SaidTo::Stored(id))
    }
}
