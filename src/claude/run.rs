//! One run of the CLI: its shim, its streams, its end.

use std::io;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, Interest};
use tokio::net::UnixStream as Stream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use super::frame::{Frame, FrameKind};
use super::input;
use super::limits::{DiskLimit, RunLimits};
use super::lines::Line;
use super::shim::{Begin, FromShim, Limit, Signed, ToShim};
use super::spawn::Shim;
use super::streams::{self, FRAMES_AHEAD, Placed, RestOfOutput};
use crate::config::Environment;
use crate::process::{self, EnvMarks, TreeMark};
use crate::sandbox::{Held, Walls};
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
    pub(super) const LOST: Self = Self {
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

/// The way to a shim. Dropped, the shim sees the end of its control socket, and ends the tree.
pub(super) struct Way {
    /// Orders, in sequence.
    orders: mpsc::UnboundedSender<Order>,
    /// The same socket, to be closed.
    control: UnixStream,
    /// What it confirms.
    pub(super) acks: mpsc::Receiver<Ack>,
}

/// Confirmation of a shim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    Holds,
    LetGo,
}

/// A message for the shim, with what goes with it.
pub(super) struct Order {
    line: String,
    passed: Vec<OwnedFd>,
}

impl Order {
    /// A message alone.
    pub(super) fn of(message: &ToShim) -> io::Result<Self> {
        Self::with(message, Vec::new())
    }

    /// A message with descriptors.
    pub(super) fn with(message: &ToShim, passed: Vec<OwnedFd>) -> io::Result<Self> {
        Ok(Self { line: serde_json::to_string(message)? + "\n", passed })
    }
}

/// The tasks that read and write the streams of a CLI.
pub(super) struct Streams {
    pub(super) stop: watch::Sender<bool>,
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
        let Self { stop, output, stderr, input } = self;
        let (output, stderr, input) = tokio::join!(output, stderr, input);
        drop(stop);
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
            secret: process::secret()?,
        };
        let secret = begin.secret.clone();
        let Shim { child, streams, control } = shim;
        let rules = RunRules { max_output_bytes: start.max_output_bytes, disk: start.disk };
        let process::Streams { stdin, stdout, stderr } = streams;
        let run = Self::over((Some(stdin), stdout, stderr), control, Some(child), secret, rules, Before::default())?;
        run.way.send(Order::of(&ToShim::Begin(Box::new(begin)))?)?;
        Ok(run)
    }

    /// A run over these streams, with the shim behind `control`.
    pub(super) fn over(
        (stdin, stdout, stderr): (Option<Stream>, Stream, Stream),
        control: UnixStream,
        child: Option<Child>,
        secret: String,
        rules: RunRules,
        before: Before,
    ) -> io::Result<Self> {
        let (frame_sender, frames) = mpsc::channel(FRAMES_AHEAD);
        let (exit_sender, exit) = oneshot::channel();
        let (input_sender, input) = mpsc::channel(8);
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let (ack_sender, acks) = mpsc::channel(2);
        let (stop, stopped) = watch::channel(false);
        let kept = Arc::new(Mutex::new(before.stderr));
        let (reader, writer) = tokio::net::UnixStream::from_std(control.try_clone()?)?.into_split();
        tokio::spawn(give_orders(writer, order_receiver));
        let limits = RunLimits::new(rules.max_output_bytes, &orders);
        tokio::spawn(limits.clone().watch_disk(rules.disk.clone()));
        let output = (before.unread, before.bytes);
        let output = tokio::spawn(streams::pump(output, stdout, frame_sender, limits.clone(), stopped.clone()));
        let stderr = tokio::spawn(streams::keep_end(stderr, Arc::clone(&kept), stopped.clone()));
        let is_open = stdin.is_some();
        let input = async move { streams::write(before.unwritten, stdin?, input, stopped).await };
        let input = tokio::spawn(input);
        tokio::spawn(wait_for_exit(child, reader, secret, limits, (exit_sender, ack_sender)));
        Ok(Self {
            frames,
            exit,
            way: Way { orders, control, acks },
            input: is_open.then_some(input_sender),
            stderr: kept,
            streams: Streams { stop, output, stderr, input },
            rules,
        })
    }

    /// Returns the next item. May be dropped and called again; after `Ended` it is not to be called any more.
    pub async fn next(&mut self) -> Item {
        match self.frames.recv().await {
            Some((line, _)) => item(line),
            None => Item::Ended((&mut self.exit).await.unwrap_or(Exit::LOST)),
        }
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

impl Way {
    /// Sends an order.
    ///
    /// # Errors
    /// The shim is gone.
    pub(super) fn send(&self, order: Order) -> io::Result<()> {
        self.orders.send(order).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    pub(super) fn tell(&self, message: &ToShim) {
        // Closed: the shim is gone, or frozen; then the deadline decides.
        if Order::of(message).and_then(|order| self.send(order)).is_err() {
            tracing::debug!("the shim takes no message");
        }
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.control.shutdown(std::net::Shutdown::Write).unwrap_or_default();
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

async fn give_orders(control: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<Order>) {
    while let Some(order) = orders.recv().await {
        if let Err(error) = give(control.as_ref(), &order).await {
            tracing::debug!(%error, "the shim takes no message");
            return;
        }
    }
}

async fn give(control: &Stream, order: &Order) -> io::Result<()> {
    let (bytes, passed) = (order.line.as_bytes(), order.passed.iter().map(OwnedFd::as_fd).collect::<Vec<_>>());
    let mut sent = 0;
    while sent < bytes.len() {
        control.writable().await?;
        let with: &[_] = if sent == 0 { &passed } else { &[] };
        match control.try_io(Interest::WRITABLE, || process::send_with(control, &bytes[sent..], with)) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads what the shim says until it says how the CLI ended, then collects the shim itself.
async fn wait_for_exit(
    shim: Option<Child>,
    control: OwnedReadHalf,
    secret: String,
    limits: RunLimits,
    (to, acks): (oneshot::Sender<Exit>, mpsc::Sender<Ack>),
) {
    let mut exit = Exit::LOST;
    let mut lines = tokio::io::BufReader::new(control).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        match serde_json::from_str::<Signed>(&line) {
            Ok(signed) if signed.secret != secret => tracing::error!("a message in the name of a shim was not its own"),
            Ok(Signed { says: FromShim::Started { isolation, held }, .. }) => {
                tracing::debug!(?isolation, held = ?held.unwrap_or(Held::default()), "the CLI runs");
            }
            Ok(Signed { says: FromShim::StartFailed { message, is_transient, is_of_the_task }, .. }) => {
                let start_error = Some(message);
                exit = Exit { start_error, is_of_the_task, gone: true, is_transient, ..Exit::LOST };
            }
            // Each is asked for once.
            Ok(Signed { says: FromShim::Holds, .. }) => acks.try_send(Ack::Holds).unwrap_or_default(),
            Ok(Signed { says: FromShim::LetGo, .. }) => acks.try_send(Ack::LetGo).unwrap_or_default(),
            Ok(Signed { says: FromShim::Offer { .. }, .. }) => tracing::warn!("a shim offers what this worker has"),
            Ok(Signed { says: FromShim::Exited { code, signal, gone, limit }, .. }) => {
                exit = Exit { code, signal, gone, limit, ..Exit::LOST };
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "the shim said something that can't be read");
            }
        }
    }
    // That of another worker is not our child.
    if let Some(mut shim) = shim {
        match shim.wait().await {
            Ok(status) if exit == Exit::LOST && status.code() == Some(process::NO_PROCESS) => {
                let message = "no process could be made".to_owned();
                exit = Exit { start_error: Some(message), gone: true, is_transient: true, ..Exit::LOST };
            }
            Ok(_) => {}
            Err(error) => tracing::warn!(error = crate::telemetry::chain(&error), "could not collect the shim"),
        }
    }
    exit.limit = exit.limit.or(limits.hit());
    // Nobody waits any more where the run was dropped.
    to.send(exit).unwrap_or_default();
}
