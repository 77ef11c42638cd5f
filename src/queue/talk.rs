//! Messages to [`QueueActor`](super::QueueActor) about questions and messages of tasks.

use std::time::Duration;

use serde_json::Value;

use super::messages::{Stale, answers};
use crate::store::views::{ConversationState, ListQuestions, QuestionPage};
use domain::{Decision, LeaseKey, Question, Status, TaskId, Timestamp};

answers! {
    Ask => Result<Asked, Stale>;
    Progress => Result<(), Stale>;
    Answer => AnswerOutcome;
    Say => SaidTo;
    MarkLooping => bool;
    ReadQuestions => Option<Vec<Question>>;
    ListQuestions => QuestionPage;
    ReadTalk => ConversationState;
}

/// A running task asks. Asked again (by the same attempt, or by one that resumed its session),
/// it is the same question.
#[derive(Clone, Debug)]
pub struct Ask {
    /// The right to ask.
    pub key: LeaseKey,
    /// The CLI's name for it.
    pub request_id: String,
    pub tool: String,
    /// Input of the tool.
    pub input: Value,
    /// Rules that the CLI suggests to allow.
    pub suggestions: Value,
    /// Time for an answer.
    pub limit: Duration,
}

/// A question that is stored.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Name, by which it is answered.
    pub request_id: String,
    /// Time at which it is denied automatically.
    pub deadline: Timestamp,
    /// Answer, where there is one.
    pub decision: Option<Decision>,
}

/// A running task has come to this.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The right to say so.
    pub key: LeaseKey,
    /// The step.
    pub step: Step,
}

/// Step in the life of a question or message.
#[derive(Clone, Debug)]
pub enum Step {
    /// The answer to this question was heard, or none is needed any more.
    Closed(String),
    /// The time for an answer has passed.
    TooLate(String),
    /// The turn of this message has begun.
    Begun(i64),
    /// The turn of this message is over, or the interrupt was passed on.
    Done(i64),
    /// The turn was interrupted; the task waits for a message until then.
    Interrupted(Timestamp),
}

/// Answers a question.
#[derive(Clone, Debug)]
pub struct Answer {
    pub task: TaskId,
    /// The question.
    pub request_id: String,
    /// Answer.
    pub decision: Decision,
}

/// Result of an answer.
#[derive(Clone, Debug)]
pub enum AnswerOutcome {
    /// The answer counts.
    Done,
    /// Another answer was first.
    Before(Decision),
    /// There is no such question, or it is not open any more.
    NoQuestion,
    /// There is no such task.
    NoTask,
}

/// Stores a message or an interrupt for a task.
#[derive(Clone, Debug)]
pub struct Say {
    pub task: TaskId,
    /// Text of a further turn, word for word; `None` interrupts the turn.
    pub text: Option<String>,
}

/// Marks a running task whose model goes round in circles, unless it is marked. True if it is done.
#[derive(Clone, Debug)]
pub struct MarkLooping {
    pub task: TaskId,
    /// The attempt in which it was seen.
    pub attempt: i32,
    /// What was seen, in words.
    pub sign: String,
    /// What it is told behind an interrupt; `None`: its turn goes on.
    pub message: Option<String>,
}

/// Result of a message.
#[derive(Clone, Copy, Debug)]
pub enum SaidTo {
    /// Stored, under this number.
    Stored(i64),
    /// The task is in this status, in which it hears nothing of that kind.
    NotAccepting(Status),
    /// The maximum number of messages waits already.
    TooMany(i32),
    /// There is no such task.
    NoTask,
}

/// Reads the questions of a task, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadQuestions(pub TaskId);

/// Reads where the conversation of a task stands, before an attempt goes on with it.
#[derive(Clone, Copy, Debug)]
pub struct ReadTalk(pub TaskId);
