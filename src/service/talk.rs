//! The talk with a task: its questions are answered, messages and interrupts are stored for it.

use domain::{Behavior, Decision, Question, Scope, TaskId};
use serde_json::json;
use wire::MAX_INSTRUCTION_BYTES;
use wire::response::TaskView;

use super::admission::ceiling;
use super::{Caller, Kind, Phase, Refusal, Service};
use crate::process::wall_now;
use crate::queue::{Answer, AnswerOutcome, Find, ReadQuestions, SaidTo, Say};
use crate::telemetry::meters;

/// The questions of a task, oldest first.
///
/// # Errors
/// There is no such task, or the store does not answer.
pub async fn questions(service: &Service, task: TaskId) -> Result<Vec<Question>, Refusal> {
    service.queue.ask(ReadQuestions(task)).await?.ok_or_else(|| Refusal::no_task(task))
}

/// Answers a question. The same answer given again, since the first reply was lost, counts as given.
///
/// # Errors
/// The answer breaks a rule or allows more than the server's ceiling, there is no such question, or it was answered in
/// another way.
pub async fn answer(
    service: &Service,
    caller: &Caller,
    task: TaskId,
    request_id: &str,
    decision: Decision,
) -> Result<(), Refusal> {
    decision.validate()?;
    let questions = questions(service, task).await?;
    let question = questions.iter().find(|question| question.request_id == request_id);
    if decision.scope == Scope::Session {
        check_ceiling(service, caller, question)?;
    }
    let answer = Answer { task, request_id: request_id.to_owned(), decision: decision.clone() };
    match service.queue.ask(answer).await? {
        AnswerOutcome::Done => {
            let waited = question.map_or(0, |question| wall_now().since_ms(question.asked_at));
            meters().answer(if decision.behavior == Behavior::Allow { "allow" } else { "deny" }, waited);
            Ok(())
        }
        AnswerOutcome::Before(before) if before == decision => Ok(()),
        AnswerOutcome::Before(before) => {
            let message = "this question was answered before, in another way";
            Err(Refusal::new(Kind::Conflict, "PERMISSION_ANSWERED", message).with(json!({ "answer": before })))
        }
        AnswerOutcome::NoQuestion => {
            let message = format!("task {task} doesn't ask {request_id}; see GET /api/tasks/{task}/permissions");
            Err(Refusal::new(Kind::Unknown, "PERMISSION_NOT_FOUND", message))
        }
        AnswerOutcome::NoTask => Err(Refusal::no_task(task)),
    }
}

/// A yes for the whole session is as much as the option that would allow it.
fn check_ceiling(service: &Service, caller: &Caller, question: Option<&Question>) -> Result<(), Refusal> {
    let ceiling = ceiling(service, caller);
    let rules = question.map(Question::session_rules).unwrap_or_default();
    match rules.iter().find(|rule| !ceiling.mode.covers(rule)) {
        Some(rule) => {
            let message = format!("allowing {rule} for the session is above {ceiling}; allow it once");
            Err(Refusal::forbidden("PERMISSION_CEILING", message))
        }
        None => Ok(()),
    }
}

/// Stores a further turn of a task. Returns the number of the message.
///
/// # Errors
/// The text breaks a rule, the task has ended, or too many messages wait for it.
pub async fn send(service: &Service, task: TaskId, text: String) -> Result<i64, Refusal> {
    if text.trim().is_empty() || text.len() > MAX_INSTRUCTION_BYTES {
        let rule = format!("must have 1 to {MAX_INSTRUCTION_BYTES} bytes, and more than spaces");
        return Err(Refusal::invalid("text", rule));
    }
    say(service, Say { task, text: Some(text) }).await
}

/// Stores that the turn of a task is to stop. Returns the number of the message.
///
/// # Errors
/// No turn of the task runs.
pub async fn interrupt(service: &Service, task: TaskId) -> Result<i64, Refusal> {
    say(service, Say { task, text: None }).await
}

async fn say(service: &Service, say: Say) -> Result<i64, Refusal> {
    if service.phase() != Phase::Serving {
        return Err(Refusal::draining());
    }
    let task = say.task;
    match service.queue.ask(say).await? {
        SaidTo::Stored(message) => Ok(message),
        SaidTo::NotAccepting(status) => Err(not_accepting(service, task, status.is_terminal()).await?),
        SaidTo::TooMany(most) => {
            let message = format!("{most} messages wait for this task already; try again later");
            Err(Refusal::new(Kind::Full, "TOO_MANY_MESSAGES", message))
        }
        SaidTo::NoTask => Err(Refusal::no_task(task)),
    }
}

/// Returns the reason for which a task takes no message, or no interrupt.
async fn not_accepting(service: &Service, id: TaskId, ended: bool) -> Result<Refusal, Refusal> {
    let task = service.queue.ask(Find(id)).await?.ok_or_else(|| Refusal::no_task(id))?;
    let (code, message) = if ended {
        let message = format!("the task is {}; a new one goes on with options.sdk.continueFromTaskId", task.status);
        ("TASK_ENDED", message)
    } else {
        ("TASK_NOT_RUNNING", format!("the task is {}: no turn runs that could be stopped", task.status))
    };
    Ok(Refusal::new(Kind::Conflict, code, message).with(json!({ "task": TaskView::of(&task) })))
}
