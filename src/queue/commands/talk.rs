//! Questions and their answers, messages and interrupts.

use serde_json::{Value, json};

use super::{Change, Unit, hooks};
use crate::queue::messages::Stale;
use crate::queue::talk::{Answer, AnswerOutcome, Ask, Asked, MarkLooping, Progress, SaidTo, Say, Step};
use crate::store::StoreError;
use crate::store::convert::{question_of, status_of};
use crate::store::rows::{ProgressRow, QuestionRow, TaskRow};
use audit::HistoryEvent;
use domain::{Decision, EventKind, NewEvent, Question, Status, TaskId, Timestamp};
use wire::HookEvent;

/// Longest name of a question, in bytes.
const MAX_NAME_BYTES: usize = 128;
/// Maximum number of messages that wait for a task.
const MAX_WAITING: i32 = 100;

/// The CLI's name for a question, where it can be one in a path and no other question of the task has it.
async fn free_name(unit: &mut Unit<'_>, task: TaskId, name: &str) -> Result<String, StoreError> {
    let is_plain = !name.is_empty() && name.len() <= MAX_NAME_BYTES && name.chars().all(is_of_a_name);
    let is_free = is_plain && unit.tx.question(task, name).await?.is_none();
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
async fn tell(
    unit: &mut Unit<'_>,
    row: &TaskRow,
    event: NewEvent,
    waiting_for: Option<Value>,
) -> Result<(), StoreError> {
    let last = unit.add_events(row.id, &row.key_name, row.last_event, &[event]).await?;
    unit.tx.set_waiting(row.id, last, waiting_for.map(|waiting| waiting.to_string()).as_deref()).await
}

async fn questions(unit: &mut Unit<'_>, task: TaskId) -> Result<Vec<Question>, StoreError> {
    Ok(unit.tx.open_questions(task).await?.into_iter().map(question_of).collect())
}

/// Returns the view of the first open question.
fn first_open(questions: &[Question]) -> Option<Value> {
    questions.iter().find(|question| question.answer.is_none()).map(Question::waiting_for)
}

/// Returns the time at which a task that waits for an answer goes on without one; `None`: it has one already.
pub async fn patience(unit: &mut Unit<'_>, task: TaskId) -> Result<Option<Timestamp>, StoreError> {
    let open = questions(unit, task).await?;
    if open.iter().any(|question| question.answer.is_some()) {
        return Ok(None);
    }
    Ok(open.iter().map(|question| question.deadline).min())
}

impl Change for Ask {
    type Answer = Result<Asked, Stale>;

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.held(self.key).await? else { return Ok(Err(Stale)) };
        let mut open = questions(unit, row.id).await?;
        // Never by its name alone: a yes to one input is none to another.
        let is_same = |one: &Question| one.tool == self.tool && one.input == self.input;
        if let Some(at) = open.iter().position(is_same) {
            let question = open.swap_remove(at);
            if question.answer.is_none() && question.deadline <= unit.now {
                let question = decide(unit, &row, question, Decision::too_late()).await?;
                return Ok(Ok(asked(question)));
            }
            return Ok(Ok(asked(question)));
        }
        let question = Question {
            request_id: free_name(unit, row.id, &self.request_id).await?,
            tool: self.tool.clone(),
            input: self.input.clone(),
            suggestions: self.suggestions.clone(),
            asked_at: unit.now,
            deadline: unit.now.plus(self.limit),
            answer: None,
        };
        let stored = QuestionRow {
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
        };
        unit.tx.insert_question(&stored).await?;
        hooks::tell(unit, row.id, HookEvent::Waiting).await?;
        open.push(question.clone());
        tell(unit, &row, permission("asked", &question), first_open(&open)).await?;
        Ok(Ok(asked(question)))
    }
}

/// Writes a decision down, and lets a task go on that waits for it.
async fn decide(
    unit: &mut Unit<'_>,
    row: &TaskRow,
    mut question: Question,
    decision: Decision,
) -> Result<Question, StoreError> {
    let answer = serde_json::to_string(&decision)
        .map_err(|error| StoreError::unwritable("question of task", row.id.uuid(), &error))?;
    unit.tx.answer_question(row.id, &question.request_id, &answer, unit.now).await?;
    question.answer = Some(decision);
    let open = questions(unit, row.id).await?;
    tell(unit, row, permission("answered", &question), first_open(&open)).await?;
    if row.status == Status::Pending.into() && row.due_at.is_some() && row.waiting_for.is_some() {
        unit.tx.wake(row.id).await?;
        unit.record(&HistoryEvent::Wake { tasks: vec![row.id] });
    }
    Ok(question)
}

impl Change for Answer {
    type Answer = AnswerOutcome;

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<AnswerOutcome, StoreError> {
        let Some(row) = unit.find(self.task).await? else { return Ok(AnswerOutcome::NoTask) };
        let Some(question) = unit.tx.question(self.task, &self.request_id).await? else {
            return Ok(AnswerOutcome::NoQuestion);
        };
        let closed = question.closed;
        let question = question_of(question);
        match question.answer {
            Some(before) => Ok(AnswerOutcome::Before(before)),
            None if closed => Ok(AnswerOutcome::NoQuestion),
            None => {
                decide(unit, &row, question, self.decision.clone()).await?;
                Ok(AnswerOutcome::Done)
            }
        }
    }
}

impl Change for Progress {
    type Answer = Result<(), Stale>;

    fn task(&self) -> Option<TaskId> {
        Some(self.key.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<Self::Answer, StoreError> {
        let Some(row) = unit.held(self.key).await? else { return Ok(Err(Stale)) };
        match &self.step {
            Step::Closed(request_id) => {
                unit.tx.close_questions(row.id, Some(request_id)).await?;
                let waiting = first_open(&questions(unit, row.id).await?).map(|waiting| waiting.to_string());
                if waiting != row.waiting_for {
                    unit.tx.set_waiting(row.id, row.last_event, waiting.as_deref()).await?;
                }
            }
            Step::TooLate(request_id) => {
                let open = questions(unit, row.id).await?;
                let late = open.into_iter().find(|one| one.request_id == *request_id && one.answer.is_none());
                if let Some(question) = late {
                    decide(unit, &row, question, Decision::too_late()).await?;
                }
            }
            Step::Begun(id) => begun(unit, &row, *id).await?,
            Step::Done(id) => done(unit, row.id, *id).await?,
            Step::Interrupted(until) => {
                let waiting = json!({ "type": "message", "since": unit.now, "until": until });
                tell(unit, &row, message_event("interrupted", None, ""), Some(waiting)).await?;
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
async fn begun(unit: &mut Unit<'_>, row: &TaskRow, id: i64) -> Result<(), StoreError> {
    match unit.tx.begin_message(id, row.epoch).await? {
        Some(text) => tell(unit, row, message_event("begun", Some(id), &text), None).await,
        None => Ok(()),
    }
}

async fn done(unit: &mut Unit<'_>, task: TaskId, id: i64) -> Result<(), StoreError> {
    if unit.tx.end_message(id, unit.now).await? {
        unit.tx.count_messages(task).await?;
    }
    Ok(())
}

impl Change for Say {
    type Answer = SaidTo;

    fn is_essential(&self) -> bool {
        false
    }

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<SaidTo, StoreError> {
        let Some(row) = unit.find(self.task).await? else { return Ok(SaidTo::NoTask) };
        let status = status_of(&row)?;
        let hears = match &self.text {
            Some(_) => !status.is_terminal(),
            None => status == Status::Running,
        };
        if !hears {
            return Ok(SaidTo::NotAccepting(status));
        }
        if self.text.is_some() && row.pending_messages >= MAX_WAITING {
            return Ok(SaidTo::TooMany(MAX_WAITING));
        }
        let id = unit.tx.insert_message(row.id, self.text.as_deref(), row.epoch, unit.now).await?;
        let (state, text) = match &self.text {
            Some(text) => ("stored", text.as_str()),
            None => ("interrupt", ""),
        };
        let waiting_for = row.waiting_for.as_ref().and_then(|waiting| serde_json::from_str(waiting).ok());
        tell(unit, &row, message_event(state, Some(id), text), waiting_for).await?;
        if self.text.is_some() {
            unit.tx.count_messages(row.id).await?;
        }
        Ok(SaidTo::Stored(id))
    }
}

impl Change for MarkLooping {
    type Answer = bool;

    fn is_essential(&self) -> bool {
        false
    }

    fn task(&self) -> Option<TaskId> {
        Some(self.task)
    }

    async fn run(&self, unit: &mut Unit<'_>) -> Result<bool, StoreError> {
        let is_meant = |row: &TaskRow| row.status == Status::Running.into() && row.attempt == self.attempt;
        let Some(row) = unit.find(self.task).await?.filter(is_meant).filter(|row| row.looping.is_none()) else {
            return Ok(false);
        };
        let message = format!("it may go round in circles: {}", self.sign);
        let event = NewEvent::new(EventKind::Log, &json!({ "message": message, "looping": self.sign }));
        let last_event = unit.add_events(row.id, &row.key_name, row.last_event, &[event]).await?;
        let looping = Some(self.sign.clone());
        let progress =
            ProgressRow { last_event, attempt_events: row.attempt_events, looping, ..ProgressRow::default() };
        unit.tx.set_progress(row.id, &progress).await?;
        hooks::tell(unit, row.id, HookEvent::Looping).await?;
        if self.message.is_some() {
            for text in [None, self.message.clone()] {
                Say { task: row.id, text }.run(unit).await?;
            }
        }
        Ok(true)
    }
}
