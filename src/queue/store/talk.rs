//! Questions and their answers, messages and interrupts.

use entity::{message, question, task};
use sea_orm::ActiveValue::Set;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Value, json};

use super::row::sql;
use super::settle::{find, held};
use super::{Change, StoreError, Tx};
use crate::queue::messages::Stale;
use crate::queue::talk::{Answer, Answered, Ask, Asked, Progress, SaidTo, Say, Step};
use crate::task::{Decision, Did, EventKind, NewEvent, Question, Status, TaskId, Wall};

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
async fn tell(tx: &mut Tx, row: &task::Model, event: NewEvent, waiting_for: Option<Value>) -> Result<(), StoreError> {
    let last = tx.add_events(row.id, row.last_event, vec![event]);
    let columns = task::ActiveModel {
        last_event: Set(last),
        waiting_for: Set(waiting_for.map(|waiting| waiting.to_string())),
        ..Default::default()
    };
    task::Entity::update_many().set(columns).filter(task::Column::Id.eq(row.id)).exec(tx.db().await?).await?;
    Ok(())
}

async fn questions(tx: &mut Tx, task: TaskId) -> Result<Vec<Question>, StoreError> {
    let rows = question::Entity::find()
        .filter(question::Column::TaskId.eq(task))
        .filter(question::Column::Closed.eq(false))
        .order_by_asc(question::Column::AskedAt)
        .all(tx.db().await?)
        .await?;
    Ok(rows.into_iter().map(question_of).collect())
}

async fn close(tx: &mut Tx, task: TaskId, request_id: Option<&str>) -> Result<(), StoreError> {
    let mut all = question::Entity::update_many()
        .col_expr(question::Column::Closed, Expr::value(true))
        .filter(question::Column::TaskId.eq(task));
    if let Some(request_id) = request_id {
        all = all.filter(question::Column::RequestId.eq(request_id));
    }
    all.exec(tx.db().await?).await?;
    Ok(())
}

/// What an open question still waits for.
fn first_open(questions: &[Question]) -> Option<Value> {
    questions.iter().find(|question| question.answer.is_none()).map(Question::waiting_for)
}

/// When a task that waits for an answer goes on without one; `None`: it has one already.
pub async fn patience(tx: &mut Tx, task: TaskId) -> Result<Option<Wall>, StoreError> {
    let open = questions(tx, task).await?;
    if open.iter().any(|question| question.answer.is_some()) {
        return Ok(None);
    }
    Ok(open.iter().map(|question| question.deadline).min())
}

/// The task has ended: nobody asks any more.
pub async fn close_all(tx: &mut Tx, task: TaskId) -> Result<(), StoreError> {
    close(tx, task, None).await
}

impl Change for Ask {
    type Answer = Result<Asked, Stale>;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Answer, StoreError> {
        let Some(row) = held(tx, self.key).await? else { return Ok(Err(Stale)) };
        let mut open = questions(tx, row.id).await?;
        let is_same =
            |one: &Question| one.request_id == self.request_id || (one.tool == self.tool && one.input == self.input);
        if let Some(at) = open.iter().position(is_same) {
            let question = open.swap_remove(at);
            if question.answer.is_none() && question.deadline <= tx.now {
                return decide(tx, &row, question, Decision::too_late()).await.map(|question| Ok(asked(question)));
            }
            return Ok(Ok(asked(question)));
        }
        let question = Question {
            request_id: self.request_id.clone(),
            tool: self.tool.clone(),
            input: self.input.clone(),
            suggestions: self.suggestions.clone(),
            asked_at: tx.now,
            deadline: tx.now.plus_ms(i64::try_from(self.limit.as_millis()).unwrap_or(i64::MAX)),
            answer: None,
        };
        let columns = question::ActiveModel {
            task_id: Set(row.id),
            request_id: Set(question.request_id.clone()),
            tool: Set(question.tool.clone()),
            input: Set(question.input.to_string()),
            suggestions: Set(question.suggestions.to_string()),
            asked_at: Set(question.asked_at.0),
            deadline: Set(question.deadline.0),
            answer: Set(None),
            answered_at: Set(None),
            closed: Set(false),
        };
        question::Entity::insert(columns).exec_without_returning(tx.db().await?).await?;
        open.push(question.clone());
        tell(tx, &row, permission("asked", &question), first_open(&open)).await?;
        Ok(Ok(asked(question)))
    }
}

/// Writes a decision down, and lets a task go on that waits for it.
async fn decide(
    tx: &mut Tx,
    row: &task::Model,
    mut question: Question,
    decision: Decision,
) -> Result<Question, StoreError> {
    let columns = question::ActiveModel {
        answer: Set(serde_json::to_string(&decision).ok()),
        answered_at: Set(Some(tx.now.0)),
        ..Default::default()
    };
    question::Entity::update_many()
        .set(columns)
        .filter(question::Column::TaskId.eq(row.id))
        .filter(question::Column::RequestId.eq(&question.request_id))
        .exec(tx.db().await?)
        .await?;
    question.answer = Some(decision);
    let open = questions(tx, row.id).await?;
    tell(tx, row, permission("answered", &question), first_open(&open)).await?;
    if row.status == Status::Pending.name() && row.due_at.is_some() && row.waiting_for.is_some() {
        let go_on = "UPDATE tasks SET due_at = NULL, held = NULL WHERE id = ?1 AND status = 'pending'";
        tx.db().await?.execute_raw(sql(go_on, [row.id.into()])).await?;
        tx.record(&Did::Wake { tasks: vec![row.id] });
    }
    Ok(question)
}

impl Change for Answer {
    type Answer = Answered;

    async fn run(&self, tx: &mut Tx) -> Result<Answered, StoreError> {
        let Some(row) = find(tx, self.task).await? else { return Ok(Answered::NoTask) };
        let id = (self.task, self.request_id.clone());
        let Some(question) = question::Entity::find_by_id(id).one(tx.db().await?).await? else {
            return Ok(Answered::NoQuestion);
        };
        let closed = question.closed;
        let question = question_of(question);
        match question.answer {
            Some(before) => Ok(Answered::Before(before)),
            None if closed => Ok(Answered::NoQuestion),
            None => {
                decide(tx, &row, question, self.decision.clone()).await?;
                Ok(Answered::Done)
            }
        }
    }
}

impl Change for Progress {
    type Answer = Result<(), Stale>;

    async fn run(&self, tx: &mut Tx) -> Result<Self::Answer, StoreError> {
        let Some(row) = held(tx, self.key).await? else { return Ok(Err(Stale)) };
        match &self.step {
            Step::Closed(request_id) => {
                close(tx, row.id, Some(request_id)).await?;
                let waiting = first_open(&questions(tx, row.id).await?).map(|waiting| waiting.to_string());
                if waiting != row.waiting_for {
                    let columns = task::ActiveModel { waiting_for: Set(waiting), ..Default::default() };
                    let all = task::Entity::update_many().set(columns).filter(task::Column::Id.eq(row.id));
                    all.exec(tx.db().await?).await?;
                }
            }
            Step::TooLate(request_id) => {
                let open = questions(tx, row.id).await?;
                let late = open.into_iter().find(|one| one.request_id == *request_id && one.answer.is_none());
                if let Some(question) = late {
                    decide(tx, &row, question, Decision::too_late()).await?;
                }
            }
            Step::Begun(id) => begun(tx, &row, *id).await?,
            Step::Done(id) => done(tx, row.id, *id).await?,
            Step::Interrupted(until) => {
                let waiting = json!({ "type": "message", "since": tx.now, "until": until });
                tell(tx, &row, message_event("interrupted", None, ""), Some(waiting)).await?;
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
async fn begun(tx: &mut Tx, row: &task::Model, id: i64) -> Result<(), StoreError> {
    let Some(message) = message::Entity::find_by_id(id).one(tx.db().await?).await? else { return Ok(()) };
    if message.epoch == Some(row.epoch) {
        return Ok(());
    }
    message::Entity::update_many()
        .col_expr(message::Column::Epoch, Expr::value(row.epoch))
        .filter(message::Column::Id.eq(id))
        .exec(tx.db().await?)
        .await?;
    tell(tx, row, message_event("begun", Some(id), &message.text), None).await
}

async fn done(tx: &mut Tx, task: TaskId, id: i64) -> Result<(), StoreError> {
    let over = sql("UPDATE messages SET done_at = ?1 WHERE id = ?2 AND done_at IS NULL", [tx.now.0.into(), id.into()]);
    if tx.db().await?.execute_raw(over).await?.rows_affected() == 1 {
        count(tx, task).await?;
    }
    Ok(())
}

/// Keeps the number of messages with the task, so that nobody else must count them.
async fn count(tx: &mut Tx, task: TaskId) -> Result<(), StoreError> {
    let text = "UPDATE tasks SET said = (SELECT COUNT(*) FROM messages
        WHERE task_id = ?1 AND kind = 'message' AND done_at IS NULL) WHERE id = ?1";
    tx.db().await?.execute_raw(sql(text, [task.into()])).await?;
    Ok(())
}

impl Change for Say {
    type Answer = SaidTo;

    const ESSENTIAL: bool = false;

    async fn run(&self, tx: &mut Tx) -> Result<SaidTo, StoreError> {
        let Some(row) = find(tx, self.task).await? else { return Ok(SaidTo::NoTask) };
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
        let columns = message::ActiveModel {
            task_id: Set(row.id),
            kind: Set(if self.text.is_some() { "message" } else { "interrupt" }.to_owned()),
            text: Set(self.text.clone().unwrap_or_default()),
            at: Set(tx.now.0),
            epoch: Set(self.text.is_none().then_some(row.epoch)),
            done_at: Set(None),
            ..Default::default()
        };
        let id = message::Entity::insert(columns).exec(tx.db().await?).await?.last_insert_id;
        let state = if self.text.is_some() { "stored" } else { "interrupt" };
        let text = self.text.as_deref().unwrap_or_default();
        let waiting_for = row.waiting_for.as_ref().and_then(|waiting| serde_json::from_str(waiting).ok());
        tell(tx, &row, message_event(state, Some(id), text), waiting_for).await?;
        if self.text.is_some() {
            count(tx, row.id).await?;
        }
        Ok(SaidTo::Stored(id))
    }
}
