//! What [`QueueActor`](super::QueueActor) is asked about the talk between a task and people.

use std::time::Duration;

use serde_json::Value;

use super::messages::{Stale, answers};
use crate::store::views::Talk;
use domain::{Decision, LeaseKey, Question, Status, TaskId, Timestamp};

answers! {
    Ask => Result<Asked, Stale>;
    Progress => Result<(), Stale>;
    Answer => Answered;
    Say => SaidTo;
    ReadQuestions => Option<Vec<Question>>;
    ReadTalk => Talk;
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
    /// What it is to be called with.
    pub input: Value,
    /// What the CLI suggests to allow.
    pub suggestions: Value,
    /// How long there is time for an answer.
    pub limit: Duration,
}

/// A question that is stored.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Name, by which it is answered.
    pub request_id: String,
    /// When the question is answered with no by itself.
    pub deadline: Timestamp,
    /// What was decided, where it was.
    pub decision: Option<Decision>,
}

/// A running task has come to this.
#[derive(Clone, Debug)]
pub struct Progress {
    /// The right to say so.
    pub key: LeaseKey,
    /// To what.
    pub step: Step,
}

/// What happened to what was asked or said.
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
    /// What was decided.
    pub decision: Decision,
}

/// What became of an answer.
#[derive(Clone, Debug)]
pub enum Answered {
    /// It counts.
    Done,
    /// Another one was first.
    Before(Decision),
    /// There is no such question, or it is not asked any more.
    NoQuestion,
    /// There is no such task.
    NoTask,
}

/// Stores a message or an interrupt for a task.
#[derive(Clone, Debug)]
pub struct Say {
    pub task: TaskId,
    /// What: a further turn, word for word; `None` stops the turn.
    pub text: Option<String>,
}

/// What became of it.
#[derive(Clone, Copy, Debug)]
pub enum SaidTo {
    /// Stored, under this number.
    Stored(i64),
    /// The task is in this status, in which it hears nothing of that kind.
    NotAccepting(Status),
    /// This many messages wait already.
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
