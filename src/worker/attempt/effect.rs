//! Events that the machine of an attempt is told, and the effects that it wants carried out.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::claude::{Ending, Frame};
use crate::queue::{Ask, Step};
use crate::worker::outbox::Filed;
use domain::{Decision, NewEvent, SessionId, TaskInput, Timestamp, VerificationRound};

/// The time of an event.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Time for limits.
    pub instant: Instant,
    /// Time for people, and for deadlines of the store.
    pub wall: Timestamp,
}

/// An event for the machine.
#[derive(Debug)]
pub enum Event {
    /// The CLI runs, and can be told what to do.
    Began {
        /// Instruction of the task.
        instruction: String,
        /// Files that come with it.
        files: Vec<String>,
        /// The message whose turn this is, where it is not the task's own.
        message: Option<i64>,
    },
    /// The CLI printed a frame.
    Frame(Frame),
    /// The CLI printed a line of this many bytes, too long to read.
    TooLong(usize),
    /// A question is stored.
    Stored(Filed),
    /// A message, an interrupt or an answer has come for the task.
    Input(TaskInput),
    /// The task belongs to another worker.
    Lost,
    /// The worker stops.
    Shutdown,
    /// The worker takes no more work: no question waits for its answer in a slot.
    Draining,
    /// The work was checked.
    Checked(VerificationRound),
    /// The attempt goes on: with this worker, or with another one.
    Resumed,
    /// The time of [`Machine::alarm`](super::machine::Machine::alarm) has come.
    Alarm,
    /// The process tree is gone.
    Ended,
}

/// An effect to be carried out, in order.
#[derive(Debug)]
pub enum Effect {
    /// The CLI is told something.
    Tell(ToCli),
    /// The CLI's input is closed: it ends after the turn.
    FinishInput,
    /// The process tree is ended: TERM now, KILL after this time.
    EndTree(Duration),
    /// The work is checked.
    Check(Box<Produced>),
    /// The check is ended, and says nothing.
    EndCheck,
    /// An event is stored.
    Add(NewEvent),
    /// The sign of a loop is stored.
    Looping(String),
    /// The task is told something, as by a client: a message, or `None` for an interrupt.
    Say(Option<String>),
    /// A question is stored.
    Ask(Box<Ask>),
    /// The step is to be stored.
    Note(Step),
    /// Text while it is written goes to whom follows.
    Partial(String),
    /// Store what the CLI has added to the transcript of a session.
    Transcript {
        /// The session.
        session: SessionId,
        /// Lines of JSON.
        entries: String,
    },
    /// A line of the log.
    Warn(&'static str, String),
}

/// What the model has answered, to be checked.
#[derive(Debug)]
pub struct Produced {
    /// The text of the result.
    pub result: Option<String>,
    /// The result as its schema wants it.
    pub structured_output: Option<Value>,
}

/// Message to the CLI.
#[derive(Debug)]
pub enum ToCli {
    /// Do what it does before the first turn.
    Initialize,
    /// Say how the MCP servers stand.
    McpStatus,
    /// A turn.
    Instruct {
        /// Word for word.
        text: String,
        /// Files that come with it.
        files: Vec<String>,
    },
    /// The answer to a question.
    Answer {
        /// The CLI's name for it.
        cli_id: String,
        /// The answer.
        decision: Decision,
        /// Input of the tool.
        input: Value,
        /// The same to the letter, where that had to be mended.
        exact_input: Option<Box<RawValue>>,
        /// Rules that a permission for the session adds.
        rules: Vec<String>,
    },
    /// A request that is not known is refused.
    Refuse(String),
    /// Stop the turn.
    Interrupt,
}

/// Reason for which the attempt is being ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum StopReason {
    /// The process ended by itself, or over a limit of its own.
    ItsOwn(Ending),
    /// The task belongs to another worker.
    Lost,
    /// The worker stops.
    Shutdown,
    /// The task waits for an answer, and others need the slot.
    Waiting,
}
