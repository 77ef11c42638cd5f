//! The deadman between a worker and the CLI: `cc-anywhere agent-shim`.
//!
//! One for each attempt. It owns the CLI's process tree and ends it when the CLI ends, when it
//! is told to, when the worker is gone (end of the control socket), and when the time passes
//! that the worker must keep moving ahead. Nothing inside the worker could promise that: a
//! worker that hangs or is stopped does nothing at all.
//!
//! It may be started before its attempt, and then waits for it. The CLI's streams are the shim's own, so no byte is copied here. The control socket
//! carries one JSON object a line.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::os::fd::RawFd;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::config::Environment;
use crate::process::{self, EnvMarks, Isolation, Launch, Tree, TreeMark};
use crate::sandbox::{self, Held, Limits, Walls};
use audit::TreeLine;
use domain::{Epoch, LeaseKey, TREE_END_MS, TaskId};

/// Between TERM and KILL where nothing else is ordered: the CLI needs some 100 ms to write its
/// session down.
const DEFAULT_GRACE: Duration = Duration::from_millis(1_000);
/// Orphans are collected at least this often.
const TICK: Duration = Duration::from_millis(1_000);
/// Limits of a tree are looked at as often, where there are some.
const LIMIT_TICK: Duration = Duration::from_millis(200);

/// Message of a worker to its shim.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum ToShim {
    /// Start the CLI. The first message, and only that.
    Begin(Box<Begin>),
    /// Live until then: milliseconds of `CLOCK_BOOTTIME`.
    Deadline { at_ms: i64 },
    /// End the CLI: TERM now, KILL for all after the grace.
    End { grace_ms: u64 },
    /// The CLI that waits is this attempt's from now on.
    Adopt { task: TaskId, epoch: Epoch },
}

/// Description of the process that a shim guards.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Begin {
    /// Mark of its processes: the task, or, before there is one, the session.
    #[serde(rename = "cookie")]
    pub mark: TreeMark,
    /// The attempt, for the log of trees.
    pub lease: Option<LeaseKey>,
    /// Deadline in milliseconds of `CLOCK_BOOTTIME`, unless told otherwise.
    pub deadline_ms: i64,
    /// File in which the beginning and end of the tree are noted.
    pub tree_log: PathBuf,
    /// Folder in which the CLI works.
    pub directory: PathBuf,
    /// The CLI.
    pub program: PathBuf,
    /// Arguments of the program, without its name.
    pub args: Vec<String>,
    /// Whole environment.
    pub env: Environment,
    /// Walls round it; none where `None`.
    pub walls: Option<Walls>,
    /// True if it is not to run without Landlock.
    pub must_hold: bool,
    /// Word that every message of the shim carries: nothing that it guards knows it.
    pub secret: String,
}

/// Message of a shim to its worker, with the word that shows that it is the shim's.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Signed {
    pub secret: String,
    pub says: FromShim,
}

/// Message of a shim to its worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum FromShim {
    /// The CLI runs, behind these walls.
    Started { isolation: Isolation, held: Option<Held> },
    /// The CLI could not be started.
    StartFailed {
        message: String,
        /// True if it may succeed later.
        #[serde(default)]
        is_transient: bool,
        /// True if it is the task's folders that are at fault.
        #[serde(default)]
        is_of_the_task: bool,
    },
    /// The CLI has ended, and so has everything that came of it, unless `gone` is false.
    Exited {
        code: Option<i32>,
        signal: Option<i32>,
        gone: bool,
        /// Limit for which it was ended.
        #[serde(default)]
        limit: Option<Limit>,
    },
}

/// Limit of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Limit {
    /// Resident memory of all processes together.
    Memory,
    /// Number of processes.
    Processes,
    /// Bytes that the CLI has printed. Seen by the worker.
    Output,
    /// Bytes that stand in the folders of the task. Seen by the worker.
    Disk,
}

/// The shim's command line. All else it is told when there is something to guard.
#[derive(Debug, clap::Args)]
pub struct ShimArgs {
    /// The number of the control socket
    #[arg(long)]
    control_fd: RawFd,
    /// Make no PID namespace
    #[arg(long)]
    no_namespace: bool,
    /// By what the process is found
    #[arg(hide = true)]
    marks: Vec<String>,
}

/// Runs the shim to its end. **To be called while the process has one thread.** Returns the
/// exit code: 0 when the tree is gone.
#[must_use]
pub fn run_shim(args: &ShimArgs) -> u8 {
    let isolation = process::isolate(!args.no_namespace);
    let Ok(control) = process::control_from_fd(args.control_fd) else { return 64 };
    // Nobody looks into its memory or its descriptors, but root.
    process::close_memory();
    let Ok(reader) = control.try_clone() else { return 64 };
    let mut orders = BufReader::new(reader);
    // Read once, while there is time.
    let _read_once = process::boot_now();
    // Without a word the worker is gone, or wants it no more.
    let Some(begin) = first_order(&mut orders) else { return 0 };
    let marks = EnvMarks::tree(begin.mark);
    // From here on a sweep for the task finds this process too, frozen or not.
    marks.set_process_name();
    let tree = Tree::new(isolation, marks);
    // Before it is hidden.
    let tree_log = process::open_tree_log(&begin.tree_log).ok();
    let limits = begin.walls.as_ref().map(|walls| walls.limits).unwrap_or_default();
    let mut shim = Shim {
        control,
        orders,
        tree,
        deadline_ms: begin.deadline_ms,
        end: End::Unasked,
        lease: begin.lease,
        tree_log,
        limits,
        secret: begin.secret,
    };
    if process::boot_now().ms >= shim.deadline_ms {
        let message = "its time had passed".to_owned();
        shim.say(FromShim::StartFailed { message, is_transient: true, is_of_the_task: false });
        return 66;
    }
    let (mut steps, held) = match sandbox::enter(begin.walls.as_ref(), &begin.directory, isolation, begin.must_hold) {
        Ok(ready) => ready,
        Err(error) => {
            let (message, is_of_the_task) = (crate::telemetry::chain(&error), error.is_of_the_task());
            shim.say(FromShim::StartFailed { message, is_transient: false, is_of_the_task });
            return 65;
        }
    };
    // Where no namespace sees to it, it ends with the shim.
    steps.dies_with_parent = isolation == Isolation::Subreaper;
    let args = begin.args.into_iter().map(Into::into).collect();
    let launch = Launch { program: begin.program, args, env: begin.env, directory: None };
    let cli = match process::spawn_cli(&launch, steps) {
        Ok(cli) => cli.id(),
        Err(error) => {
            let is_transient = process::is_out_of_resources(&error);
            shim.say(FromShim::StartFailed { message: error.to_string(), is_transient, is_of_the_task: false });
            return 65;
        }
    };
    shim.tree.add(cli);
    shim.note(true);
    process::drop_streams();
    shim.say(FromShim::Started { isolation, held });
    let Ended { code, signal, limit } = shim.watch(cli);
    let gone = shim.tree.kill();
    if gone {
        shim.note(false);
    }
    shim.say(FromShim::Exited { code, signal, gone, limit });
    u8::from(!gone)
}

/// Waits for something to guard.
fn first_order(orders: &mut BufReader<UnixStream>) -> Option<Begin> {
    let mut line = String::new();
    orders.read_line(&mut line).ok()?;
    match serde_json::from_str(&line) {
        Ok(ToShim::Begin(begin)) => Some(*begin),
        _ => None,
    }
}

/// Step of the CLI's end.
enum End {
    Unasked,
    /// TERM was sent; KILL follows at this time of `CLOCK_BOOTTIME`.
    KillAt(i64),
}

struct Shim {
    control: UnixStream,
    /// The same socket: what the worker says.
    orders: BufReader<UnixStream>,
    tree: Tree,
    deadline_ms: i64,
    end: End,
    /// The attempt that it runs, once there is one.
    lease: Option<LeaseKey>,
    tree_log: Option<File>,
    limits: Limits,
    secret: String,
}

/// End of the CLI. Without code and signal it was killed with everything else.
#[derive(Debug, Default)]
struct Ended {
    code: Option<i32>,
    signal: Option<i32>,
    limit: Option<Limit>,
}

/// Cause for which a wait ended.
enum Woken {
    /// Look at the children and the time.
    Tick,
    /// The worker is gone, or has said something that can't be read.
    Abandoned,
}

impl Shim {
    /// Writes to the tree log, for the later check that no two trees of a task lived at a time. Nothing depends on it
    /// at run time.
    fn note(&self, lives: bool) {
        let (Some(lease), Some(file), now) = (self.lease, &self.tree_log, process::boot_now()) else { return };
        process::note_tree(file, &TreeLine { lease, boot: now.boot, at: now.ms, lives }).unwrap_or_default();
    }

    /// Waits for the end of the CLI, or brings it about.
    fn watch(&mut self, cli: u32) -> Ended {
        if self.control.set_nonblocking(true).is_err() {
            return Ended::default();
        }
        // What came together with the first order is read already, and wakes nobody.
        let mut woken = self.hear(cli);
        let mut worker_lives = true;
        loop {
            if matches!(woken, Woken::Abandoned) {
                worker_lives = false;
                self.begin_end(cli, DEFAULT_GRACE);
            }
            let mut ended = None;
            process::reap(|pid, code, signal| {
                if pid == cli {
                    ended = Some(Ended { code, signal, limit: None });
                }
            });
            if let Some(ended) = ended {
                return ended;
            }
            if let Some(limit) = self.limit_hit() {
                return Ended { limit: Some(limit), ..Ended::default() };
            }
            let now = process::boot_now().ms;
            match self.end {
                // Frozen while its time passed: another worker may run the task any moment now.
                End::Unasked if now >= self.deadline_ms + TREE_END_MS / 2 => return Ended::default(),
                End::KillAt(at) if now >= at => return Ended::default(),
                End::Unasked if now >= self.deadline_ms => self.begin_end(cli, DEFAULT_GRACE),
                _ => {}
            }
            woken = self.wait(cli, worker_lives);
        }
    }

    /// Returns the limit that the tree is over.
    fn limit_hit(&self) -> Option<Limit> {
        let Limits { memory_bytes, processes, .. } = self.limits;
        if memory_bytes.is_none() && processes.is_none() {
            return None;
        }
        let size = self.tree.size();
        match () {
            () if memory_bytes.is_some_and(|most| size.memory_bytes > most) => Some(Limit::Memory),
            () if processes.is_some_and(|most| size.processes > most) => Some(Limit::Processes),
            () => None,
        }
    }

    fn wait(&mut self, cli: u32, worker_lives: bool) -> Woken {
        let Some(pid) = i32::try_from(cli).ok().and_then(Pid::from_raw) else { return Woken::Tick };
        // Gone between the look and here: the next look finds it.
        let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else { return Woken::Tick };
        let mut fds = vec![PollFd::new(&pidfd, PollFlags::IN)];
        if worker_lives {
            fds.push(PollFd::new(&self.control, PollFlags::IN));
        }
        let timeout = self.until_next().try_into().ok();
        if poll(&mut fds, timeout.as_ref()).is_err() {
            return Woken::Tick;
        }
        let heard = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        drop(fds);
        if heard { self.hear(cli) } else { Woken::Tick }
    }

    fn until_next(&self) -> Duration {
        let next = match self.end {
            End::Unasked => self.deadline_ms,
            End::KillAt(at) => at,
        };
        let left = next.saturating_sub(process::boot_now().ms).max(0);
        Duration::from_millis(left.unsigned_abs()).min(if self.limits == Limits::default() { TICK } else { LIMIT_TICK })
    }

    /// Reads every message that is there.
    fn hear(&mut self, cli: u32) -> Woken {
        let mut line = String::new();
        loop {
            line.clear();
            match self.orders.read_line(&mut line) {
                Ok(0) => return Woken::Abandoned,
                Ok(_) => match serde_json::from_str(&line) {
                    Ok(ToShim::Deadline { at_ms }) => self.deadline_ms = at_ms,
                    Ok(ToShim::Adopt { task, epoch }) => {
                        self.lease = Some(LeaseKey { task, epoch });
                        self.note(true);
                    }
                    Ok(ToShim::End { grace_ms }) => self.begin_end(cli, Duration::from_millis(grace_ms)),
                    Ok(ToShim::Begin(_)) | Err(_) => return Woken::Abandoned,
                },
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Woken::Tick,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Woken::Abandoned,
            }
        }
    }

    /// TERM now, KILL after the grace. A second call only brings the KILL nearer.
    fn begin_end(&mut self, cli: u32, grace: Duration) {
        let grace = i64::try_from(grace.as_millis()).unwrap_or(i64::MAX);
        let at = process::boot_now().ms.saturating_add(grace);
        self.end = match self.end {
            End::Unasked => {
                process::terminate(cli);
                process::wake_up(cli);
                End::KillAt(at)
            }
            End::KillAt(before) => End::KillAt(before.min(at)),
        };
    }

    /// Tells the worker. That it is gone is no error: there is nobody to tell.
    fn say(&mut self, says: FromShim) {
        let signed = Signed { secret: self.secret.clone(), says };
        let Ok(mut line) = serde_json::to_string(&signed) else { return };
        line.push('\n');
        self.control.set_nonblocking(false).unwrap_or_default();
        self.control.write_all(line.as_bytes()).unwrap_or_default();
    }
}
