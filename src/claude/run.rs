//! One run of the CLI: its shim, its streams, its end.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream as Stream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::process::Child;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use super::frame::{Frame, FrameKind};
use super::input;
use super::limits::{DiskLimit, RunLimits};
use super::lines::{Line, next_line};
use super::shim::{Begin, FromShim, Limit, Signed, ToShim};
use super::spawn::Shim;
use crate::config::Environment;
use crate::process::{self, EnvMarks, TreeMark};
use crate::sandbox::{Held, Walls};
use domain::{BootInstant, Decision, LeaseKey, WorkerInstanceId};

/// Longest line that is read whole. A result of 15 MB has twice as many bytes where much of it is escaped.
const MAX_LINE_BYTES: usize = 64 << 20;
/// Maximum number of unread lines before the CLI has to wait: it then blocks on its own output.
const FRAMES_AHEAD: usize = 64;
/// Maximum size of unread lines, in KiB. One longer line waits alone.
const KIB_AHEAD: u32 = 4 << 10;
/// Length that is kept of standard error, in bytes: its end, where the reason stands.
const STDERR_KEPT_BYTES: usize = 4 << 10;

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
    frames: mpsc::Receiver<(Line, OwnedSemaphorePermit)>,
    exit: oneshot::Receiver<Exit>,
    /// Orders for the shim, in sequence.
    orders: mpsc::UnboundedSender<String>,
    /// The same socket, to be closed.
    control: UnixStream,
    input: Option<mpsc::Sender<String>>,
    stderr: Arc<Mutex<Vec<u8>>>,
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
        let (frame_sender, frames) = mpsc::channel(FRAMES_AHEAD);
        let (exit_sender, exit) = oneshot::channel();
        let (input_sender, input) = mpsc::channel(8);
        let (orders, order_receiver) = mpsc::unbounded_channel();
        let stderr = Arc::default();
        let Shim { child, streams, control } = shim;
        orders.send(serde_json::to_string(&ToShim::Begin(Box::new(begin)))?).map_err(io::Error::other)?;
        let (reader, writer) = tokio::net::UnixStream::from_std(control.try_clone()?)?.into_split();
        tokio::spawn(give_orders(writer, order_receiver));
        let limits = RunLimits::new(start.max_output_bytes, &orders);
        tokio::spawn(limits.clone().watch_disk(start.disk));
        tokio::spawn(pump_frames(streams.stdout, frame_sender, limits.clone()));
        tokio::spawn(keep_end(streams.stderr, Arc::clone(&stderr)));
        tokio::spawn(write_input(streams.stdin, input));
        tokio::spawn(wait_for_exit(child, reader, secret, limits, exit_sender));
        Ok(Self { frames, exit, orders, control, input: Some(input_sender), stderr })
    }

    /// Returns the next item. May be dropped and called again; after `Ended` it is not to be called any more.
    pub async fn next(&mut self) -> Item {
        match self.frames.recv().await {
            Some((Line::Whole(line), _)) => match Frame::parse(line) {
                // The end of a turn counts, also where it was cut.
                Frame { kind: FrameKind::Other, raw } => {
                    let kept = Frame::salvage(raw.len(), &raw, &raw);
                    Item::Frame(kept.unwrap_or(Frame { kind: FrameKind::Other, raw }))
                }
                frame => Item::Frame(frame),
            },
            Some((Line::TooLong { bytes, head, tail }, _)) => match Frame::salvage(bytes, &head, &tail) {
                Some(result) => Item::Frame(result),
                None => Item::TooLong(bytes),
            },
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
        // Closed: the shim is gone, or frozen; then the deadline decides.
        let told = serde_json::to_string(message).map(|line| self.orders.send(line));
        if !matches!(told, Ok(Ok(()))) {
            tracing::debug!("the shim takes no message");
        }
    }
}

impl Drop for Run {
    /// The shim sees the end of its control socket, and ends the tree.
    fn drop(&mut self) {
        self.control.shutdown(std::net::Shutdown::Write).unwrap_or_default();
    }
}

async fn give_orders(mut control: OwnedWriteHalf, mut orders: mpsc::UnboundedReceiver<String>) {
    while let Some(mut line) = orders.recv().await {
        line.push('\n');
        if let Err(error) = control.write_all(line.as_bytes()).await {
            tracing::debug!(%error, "the shim takes no message");
            return;
        }
    }
}

async fn pump_frames(stdout: Stream, to: mpsc::Sender<(Line, OwnedSemaphorePermit)>, limits: RunLimits) {
    let mut bytes = 0;
    let room = Arc::new(Semaphore::new(KIB_AHEAD as usize));
    let mut from = BufReader::with_capacity(64 << 10, stdout);
    while let Ok(Some(line)) = next_line(&mut from, MAX_LINE_BYTES).await {
        if matches!(&line, Line::Whole(text) if text.trim().is_empty()) {
            continue;
        }
        bytes += line.read() as u64;
        if limits.has_printed(bytes) {
            return;
        }
        let kib = u32::try_from(line.held() >> 10).unwrap_or(KIB_AHEAD).min(KIB_AHEAD);
        let Ok(place) = Arc::clone(&room).acquire_many_owned(kib).await else { return };
        if to.send((line, place)).await.is_err() {
            return;
        }
    }
}

async fn keep_end(mut stderr: Stream, kept: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; 4 << 10];
    while let Ok(count @ 1..) = stderr.read(&mut chunk).await {
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.extend_from_slice(&chunk[..count]);
        let excess = kept.len().saturating_sub(STDERR_KEPT_BYTES);
        kept.drain(..excess);
    }
}

async fn write_input(mut stdin: Stream, mut lines: mpsc::Receiver<String>) {
    while let Some(line) = lines.recv().await {
        let written = async {
            stdin.write_all(line.as_bytes()).await?;
            stdin.flush().await
        };
        if written.await.is_err() {
            return;
        }
    }
}

/// Reads what the shim says until it says how the CLI ended, then collects the shim itself.
async fn wait_for_exit(
    mut shim: Child,
    control: OwnedReadHalf,
    secret: String,
    limits: RunLimits,
    to: oneshot::Sender<Exit>,
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
            Ok(Signed { says: FromShim::Exited { code, signal, gone, limit }, .. }) => {
                exit = Exit { code, signal, gone, limit, ..Exit::LOST };
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "the shim said something that can't be read");
            }
        }
    }
    match shim.wait().await {
        Ok(status) if exit == Exit::LOST && status.code() == Some(process::NO_PROCESS) => {
            let message = "no process could be made".to_owned();
            exit = Exit { start_error: Some(message), gone: true, is_transient: true, ..Exit::LOST };
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(error = crate::telemetry::chain(&error), "could not collect the shim"),
    }
    exit.limit = exit.limit.or(limits.hit());
    // Nobody waits any more where the run was dropped.
    to.send(exit).unwrap_or_default();
}
