//! One run of the CLI: its shim, its streams, its end.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::net::UnixStream as Stream;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::frame::{Frame, FrameKind};
use super::input;
use super::limits::{DiskLimit, RunLimits};
use super::lines::Line;
use super::shim::{Begin, Limit, ToShim};
use super::spawn::Shim;
use super::streams::{self, FRAMES_AHEAD, Placed, RestOfOutput};
use super::way::{FromBelow, Order, Way, wait_for_exit};
use crate::config::Environment;
use crate::process::{self, EnvMarks, TreeMark};
use crate::sandbox::Walls;
use domain::{BootInstant, Decision, LeaseKey, WorkerInstanceId};

/// Exit of the CLI's process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Exit code.
    pub code: Option<i32>,
    /// The signal that it died of.
    pub signal: Option<i32>,
    /// True if the shim saw to it that nothing of the process tree is left.
    pub gone: bool,
    /// Error of the start.
    pub start_error: Option<String>,
    /// True if it was the task's own folders that were not as they should be.
    pub is_of_the_task: bool,
    /// True if a start may succeed later: the system has no process or memory to give right now.
    pub is_transient: bool,
    /// Limit for which it was ended.
    pub limit: Option<Limit>,
}

impl Exit {
    /// Exit of a CLI of which nothing more is known.
    pub const LOST: Self = Self {
        code: None,
        signal: None,
        gone: false,
        start_error: None,
        is_of_the_task: false,
        is_transient: false,
        limit: None,
    };
}

/// Item of a run.
#[derive(Debug)]
pub enum Item {
    /// The CLI printed a frame.
    Frame(Frame),
    /// The CLI printed a line of this many bytes, too long to read.
    TooLong(usize),
    /// The run has ended, and so has the process tree, unless [`Exit::gone`] says otherwise.
    Ended(Exit),
}

/// A running CLI. Dropping it ends the process tree.
pub struct Run {
    pub(super) frames: mpsc::Receiver<Placed>,
    pub(super) exit: oneshot::Receiver<Exit>,
    pub(super) way: Way,
    pub(super) input: Option<mpsc::Sender<String>>,
    pub(super) stderr: Arc<Mutex<Vec<u8>>>,
    pub(super) streams: Streams,
    pub(super) rules: RunRules,
}

/// The tasks that read and write the streams of a CLI.
pub(super) struct Streams {
    /// Stops the output and standard error.
    pub(super) stop: watch::Sender<bool>,
    /// Stops the input, later: what is read last may have an answer.
    pub(super) stop_input: watch::Sender<bool>,
    pub(super) output: JoinHandle<RestOfOutput>,
    pub(super) stderr: JoinHandle<Option<Stream>>,
    pub(super) input: JoinHandle<Option<(Stream, Vec<u8>)>>,
}

/// What is left of the streams of a run that was stopped.
pub(super) struct Left {
    pub(super) output: RestOfOutput,
    pub(super) stderr: Option<Stream>,
    /// With what is still to be written.
    pub(super) input: Option<(Stream, Vec<u8>)>,
}

impl Streams {
    /// Waits until all of them have stopped.
    pub(super) async fn left(self) -> io::Result<Left> {
        let Self { stop, stop_input, output, stderr, input } = self;
        stop_input.send_replace(true);
        let (output, stderr, input) = tokio::join!(output, stderr, input);
        drop((stop, stop_input));
        Ok(Left { output: output?, stderr: stderr?, input: input? })
    }
}

/// Limits of a run that the worker sees to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RunRules {
    /// Maximum number of bytes that it may print.
    pub(super) max_output_bytes: Option<u64>,
    /// Limit of what its folders may hold.
    pub(super) disk: Option<DiskLimit>,
}

/// What another worker has left of the streams.
#[derive(Default)]
pub(super) struct Before {
    /// Read of the output, and no whole line.
    pub(super) unread: Vec<u8>,
    /// Bytes of lines so far.
    pub(super) bytes: u64,
    /// Not written yet.
    pub(super) unwritten: Vec<u8>,
    /// End of standard error.
    pub(super) stderr: Vec<u8>,
}

/// Everything that a run is started from.
pub struct Start {
    /// The CLI.
    pub program: PathBuf,
    /// Arguments of the CLI, without its name.
    pub args: Vec<String>,
    /// Whole environment.
    pub env: Environment,
    /// Folder in which it works.
    pub directory: PathBuf,
    /// Mark of its processes: the task, or, before there is one, the session.
    pub mark: TreeMark,
    /// The attempt, where there is one yet.
    pub lease: Option<LeaseKey>,
    /// File in which the shim notes the beginning and end of the tree.
    pub tree_log: PathBuf,
    /// The worker's life, for the marks.
    pub holder: WorkerInstanceId,
    /// Time at which the shim ends the tree, unless told otherwise.
    pub deadline: BootInstant,
    /// Walls round it; none where `None`.
    pub walls: Option<Walls>,
    /// True if it is not to run without Landlock.
    pub must_hold: bool,
    /// Maximum number of bytes that it may print.
    pub max_output_bytes: Option<u64>,
    /// Limit of what its folders may hold.
    pub disk: Option<DiskLimit>,
}

impl Run {
    /// Lets the shim start the CLI.
    ///
    /// # Errors
    /// The system's, or a path that is no text.
    pub fn start(shim: Shim, start: Start) -> io::Result<Self> {
        let mut env = start.env;
        env.extend(EnvMarks::attempt(start.mark, start.holder).variables());
        let begin = Begin {
            mark: start.mark,
            lease: start.lease,
            deadline_ms: start.deadline.ms,
            tree_log: start.tree_log,
            directory: start.directory,
            program: start.program,
            args: start.args,
            env,
            walls: start.walls,
            must_hold: start.must_hold,
            walls_fit: shim.walls_fit(),
            secret: process::secret()?,
        };
        let secret = begin.secret.clone();
        let Shim { child, streams, control, .. } = shim;
        let way = Way::over(control)?;
        // While the shim reads it, the rest is made here. From here on nothing fails: it would leave a process behind.
        way.0.begin(Order::of(&ToShim::Begin(Box::new(begin)))?)?;
        let rules = RunRules { max_output_bytes: start.max_output_bytes, disk: start.disk };
        let process::Streams { stdin, stdout, stderr } = streams;
        Ok(Self::over((Some(stdin), stdout, stderr), way, Some(child), secret, rules, Before::default()))
    }

    /// A run over these streams, with the shim at the end of this way.
    pub(super) fn over(
        (stdin, stdout, stderr): (Option<Stream>, Stream, Stream),
        (way, from_below): (Way, FromBelow),
        child: Option<Child>,
        secret: String,
        rules: RunRules,
        before: Before,
    ) -> Self {
        let (frame_sender, frames) = mpsc::channel(FRAMES_AHEAD);
        let (exit_sender, exit) = oneshot::channel();
        let (input_sender, input) = mpsc::channel(8);
        let (stop, stopped) = watch::channel(false);
        let (stop_input, input_stopped) = watch::channel(false);
        let kept = Arc::new(Mutex::new(before.stderr));
        let limits = RunLimits::new(rules.max_output_bytes, way.orders());
        tokio::spawn(limits.clone().watch_disk(rules.disk.clone()));
        let output = (before.unread, before.bytes);
        let output = tokio::spawn(streams::pump(output, stdout, frame_sender, limits.clone(), stopped.clone()));
        let stderr = tokio::spawn(streams::keep_end(stderr, Arc::clone(&kept), stopped));
        let is_open = stdin.is_some();
        let input = async move { streams::write(before.unwritten, stdin?, input, input_stopped).await };
        let input = tokio::spawn(input);
        tokio::spawn(wait_for_exit(child, from_below, secret, limits, exit_sender));
        Self {
            frames,
            exit,
            way,
            input: is_open.then_some(input_sender),
            stderr: kept,
            streams: Streams { stop, stop_input, output, stderr, input },
            rules,
        }
    }

    /// Returns the next item. May be dropped and called again; after `Ended` it is not to be called any more.
    pub async fn next(&mut self) -> Item {
        match self.frames.recv().await {
            Some((line, _)) => item(line),
            None => Item::Ended(self.exit().await),
        }
    }

    /// Returns the next line that the process has printed, whatever it is; `None` at the end of its output. May be dropped
    /// and called again.
    pub async fn next_line(&mut self) -> Option<Line> {
        self.frames.recv().await.map(|(line, _)| line)
    }

    /// Returns the exit of a process whose [output has ended](Self::next_line).
    pub async fn exit(&mut self) -> Exit {
        (&mut self.exit).await.unwrap_or(Exit::LOST)
    }

    /// Lets the CLI do all that it does before the first turn.
    pub fn initialize(&mut self) {
        self.say(input::initialize());
    }

    /// The process that waits is this attempt's from now on.
    pub fn adopt(&self, lease: LeaseKey) {
        self.tell(&ToShim::Adopt { task: lease.task, epoch: lease.epoch });
    }

    /// True if it prints nothing any more.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.frames.is_closed() && self.frames.is_empty()
    }

    /// Hands the instruction over, or a further message when the turn before is over: frames that
    /// come during a turn are taken together.
    pub fn instruct(&mut self, text: &str, files: &[String]) {
        self.say(input::instruction(text, files));
    }

    /// Asks how the MCP servers stand; a frame answers.
    pub fn ask_mcp_status(&mut self) {
        self.say(input::mcp_status());
    }

    /// Answers a question of the CLI. `input` is what it asked to call the tool with, `exact` the same to the letter.
    pub fn answer(
        &mut self,
        request_id: &str,
        decision: &Decision,
        input: &Value,
        exact: Option<&RawValue>,
        rules: &[String],
    ) {
        self.say(input::answer(request_id, decision, input, exact, rules));
    }

    /// Refuses a request that we don't know.
    pub fn refuse(&mut self, request_id: &str) {
        self.say(input::refuse(request_id));
    }

    /// Stops the turn; the CLI then prints a result and waits for more.
    pub fn interrupt(&mut self) {
        self.say(input::interrupt());
    }

    /// Closes the CLI's input: it ends after the turn.
    pub fn finish_input(&mut self) {
        self.input = None;
    }

    /// True if the CLI may be told something.
    pub(super) const fn takes_input(&self) -> bool {
        self.input.is_some()
    }

    /// Ends the process tree: TERM now, KILL after the grace.
    pub fn end(&self, grace: std::time::Duration) {
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.tell(&ToShim::End { grace_ms });
    }

    /// Moves the time at which the shim ends the tree by itself.
    pub fn extend(&self, deadline: BootInstant) {
        self.tell(&ToShim::Deadline { at_ms: deadline.ms });
    }

    /// The end of what the CLI said on standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        let kept = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept).trim().to_owned()
    }

    fn say(&mut self, line: String) {
        // Full means that the CLI reads nothing; closed, that it has ended. Either way the
        // end of the run tells it, or the time limit does.
        let sent = self.input.as_ref().map(|input| input.try_send(line));
        if let Some(Err(error)) = sent {
            tracing::debug!(%error, "the CLI takes no input");
        }
    }

    fn tell(&self, message: &ToShim) {
        self.way.tell(message);
    }
}

/// Reads a line that the CLI has printed.
pub(super) fn item(line: Line) -> Item {
    match line {
        Line::Whole(line) => match Frame::parse(line) {
            // The end of a turn counts, also where it was cut.
            Frame { kind: FrameKind::Other, raw } => {
                let kept = Frame::salvage(raw.len(), &raw, &raw);
                Item::Frame(kept.unwrap_or(Frame { kind: FrameKind::Other, raw }))
            }
            frame => Item::Frame(frame),
        },
        Line::TooLong { bytes, head, tail } => match Frame::salvage(bytes, &head, &tail) {
            Some(result) => Item::Frame(result),
            None => Item::TooLong(bytes),
        },
    }
}
