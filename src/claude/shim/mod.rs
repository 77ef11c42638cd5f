//! The deadman between a worker and the CLI: `cc-anywhere agent-shim`.
//!
//! One for each attempt. It owns the CLI's process tree and ends it when the CLI ends, when it
//! is told to, when the worker is gone (end of the control socket), and when the time passes
//! that the worker must keep moving ahead. Nothing inside the worker could promise that: a
//! worker that hangs or is stopped does nothing at all.
//!
//! It may be started before its attempt, and then waits for it. The CLI's streams are the shim's own, so no byte is
//! copied here, unless the attempt is handed over: then the shim [holds](held) the worker's ends until the next worker
//! takes them, or its time is over. The control socket carries one JSON object a line.

mod held;
mod messages;

use std::io::{self, ErrorKind, Write as _};
use std::os::fd::{AsFd as _, OwnedFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags};

pub use self::messages::Limit;
pub(super) use self::messages::{Begin, FromShim, Signed, ToShim, part};
use crate::process::{self, ControlLines, EnvMarks, Isolation, Launch, Tree, TreeLog};
use crate::sandbox::{self, Limits, SystemRules};
use audit::TreeLine;
use domain::{LeaseKey, TREE_END_MS};
use held::{Held, TAKE_LIMIT};

/// Between TERM and KILL where nothing else is ordered: the CLI needs some 100 ms to write its
/// session down.
const DEFAULT_GRACE: Duration = Duration::from_millis(1_000);
/// Orphans are collected at least this often.
const TICK: Duration = Duration::from_millis(1_000);
/// Longest time that a worker may take for a message.
const SAY_LIMIT: Duration = Duration::from_millis(500);
/// Limits of a tree are looked at as often, where there are some.
const LIMIT_TICK: Duration = Duration::from_millis(200);

/// The shim's command line. All else it is told when there is something to guard.
#[derive(Debug, clap::Args)]
pub struct ShimArgs {
    /// The number of the control socket
    #[arg(long)]
    control_fd: RawFd,
    /// Make no PID namespace
    #[arg(long)]
    no_namespace: bool,
    /// Prepare no walls
    #[arg(long)]
    no_walls: bool,
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
    let mut orders = ControlLines::new(control);
    // Read once, while there is time.
    let _read_once = process::boot_now();
    let prepared = if args.no_walls { None } else { SystemRules::prepare() };
    rehearse();
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
        worker: Some(orders),
        held: None,
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
    let prepared = prepared.filter(|_| begin.walls_fit);
    let entered = sandbox::enter(begin.walls.as_ref(), &begin.directory, isolation, begin.must_hold, prepared);
    let (mut steps, held) = match entered {
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
        Ok(cli) => cli,
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
    shim.wait_for_worker();
    shim.say(FromShim::Exited { code, signal, gone, limit });
    u8::from(!gone)
}

/// Reads an order that is none. Each piece of the program that is used for the first time costs some µs, which the order that
/// counts need not wait for.
fn rehearse() {
    let order = serde_json::to_vec(&ToShim::Begin(Box::new(Begin::rehearsal()))).unwrap_or_default();
    std::hint::black_box(serde_json::from_slice::<ToShim>(&order).is_ok());
}

/// Waits for something to guard.
fn first_order(orders: &mut ControlLines) -> Option<Begin> {
    match serde_json::from_slice(&orders.next().ok()??) {
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
    /// The worker, while there is one.
    worker: Option<ControlLines>,
    /// What is held for the next one.
    held: Option<Held>,
    tree: Tree,
    deadline_ms: i64,
    end: End,
    /// The attempt that it runs, once there is one.
    lease: Option<LeaseKey>,
    tree_log: Option<TreeLog>,
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
        let (Some(lease), Some(log), now) = (self.lease, &self.tree_log, process::boot_now()) else { return };
        log.note(&TreeLine { lease, boot: now.boot, at: now.ms, lives }).unwrap_or_default();
    }

    /// Waits for the end of the CLI, or brings it about.
    fn watch(&mut self, cli: u32) -> Ended {
        if self.worker.as_ref().is_none_or(|worker| worker.socket().set_nonblocking(true).is_err()) {
            return Ended::default();
        }
        // What came together with the first order is read already, and wakes nobody.
        let mut woken = self.hear(Some(cli));
        loop {
            if matches!(woken, Woken::Abandoned) {
                (self.worker, self.held) = (None, None);
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
            woken = self.wait(cli);
        }
    }

    /// Waits until somebody is there who can be told of the end: after a handover the next worker, within its time.
    fn wait_for_worker(&mut self) {
        // There is nothing left to be killed.
        self.end = End::Unasked;
        while self.held.is_some() && process::boot_now().ms < self.deadline_ms {
            if matches!(self.sleep(None), Woken::Abandoned) {
                return;
            }
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

    fn wait(&mut self, cli: u32) -> Woken {
        let Some(pid) = i32::try_from(cli).ok().and_then(Pid::from_raw) else { return Woken::Tick };
        // Gone between the look and here: the next look finds it.
        match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => self.sleep(Some((cli, pidfd))),
            Err(_) => Woken::Tick,
        }
    }

    /// Sleeps until something happens, or its time has come.
    fn sleep(&mut self, cli: Option<(u32, OwnedFd)>) -> Woken {
        let timeout = self.until_next().try_into().ok();
        let sources = cli.iter().map(|(_, pidfd)| pidfd.as_fd());
        let sources = sources.chain(self.worker.iter().map(|worker| worker.as_fd()));
        let sources = sources.chain(self.held.iter().flat_map(Held::sources));
        let mut polled: Vec<PollFd<'_>> =
            sources.map(|source| PollFd::from_borrowed_fd(source, PollFlags::IN)).collect();
        if poll(&mut polled, timeout.as_ref()).is_err() {
            return Woken::Tick;
        }
        drop(polled);
        if let Some(held) = &mut self.held {
            held.read();
            held.offer(self.lease, &self.secret);
        }
        self.hear(cli.map(|(cli, _)| cli))
    }

    fn until_next(&self) -> Duration {
        let next = match self.end {
            End::Unasked => self.deadline_ms,
            End::KillAt(at) => at,
        };
        let left = next.saturating_sub(process::boot_now().ms).max(0);
        Duration::from_millis(left.unsigned_abs()).min(if self.limits == Limits::default() { TICK } else { LIMIT_TICK })
    }

    /// Reads every message that is there: of the worker, or of one that was made an offer.
    fn hear(&mut self, cli: Option<u32>) -> Woken {
        loop {
            let Some(worker) = self.worker.as_mut() else { return self.hear_asked() };
            let line = match worker.next() {
                Ok(Some(line)) => line,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Woken::Tick,
                Ok(None) | Err(_) => return Woken::Abandoned,
            };
            match serde_json::from_slice(&line) {
                Ok(ToShim::Deadline { at_ms }) => self.deadline_ms = at_ms,
                Ok(ToShim::Adopt { task, epoch }) => {
                    self.lease = Some(LeaseKey { task, epoch });
                    self.note(true);
                }
                Ok(ToShim::End { grace_ms }) => {
                    cli.into_iter().for_each(|cli| self.begin_end(cli, Duration::from_millis(grace_ms)));
                }
                Ok(ToShim::Hold { state, parts }) => {
                    let descriptors = worker.passed();
                    self.held = Held::new(state, parts, descriptors);
                    if self.held.is_none() {
                        return Woken::Abandoned;
                    }
                    self.say(FromShim::Holds);
                }
                Ok(ToShim::LetGo { at_ms }) => {
                    let Some(held) = &mut self.held else { return Woken::Abandoned };
                    held.is_free = true;
                    self.deadline_ms = at_ms;
                    self.say(FromShim::LetGo);
                    // From here on its end means nothing, nor what it says.
                    self.worker = None;
                }
                Err(_) if ToShim::is_newer(&line) => {}
                Ok(ToShim::Begin(_) | ToShim::Taken { .. }) | Err(_) => return Woken::Abandoned,
            }
        }
    }

    /// Hears whether a worker takes what it was offered. Where it leaves without a word, the next one is waited for.
    fn hear_asked(&mut self) -> Woken {
        let Some(held) = &mut self.held else { return Woken::Tick };
        let Some((mut asked, since)) = held.asked.take() else { return Woken::Tick };
        match asked.next().map(|line| line.and_then(|line| serde_json::from_slice(&line).ok())) {
            Ok(Some(ToShim::Taken { at_ms })) => {
                self.deadline_ms = at_ms;
                self.worker = Some(asked);
                self.held = None;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock && since.elapsed() < TAKE_LIMIT => {
                held.asked = Some((asked, since));
            }
            _ => {}
        }
        Woken::Tick
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
        let Some(worker) = &self.worker else { return };
        // A worker that hangs must not hold up its deadman.
        let write = || -> io::Result<()> {
            worker.socket().set_nonblocking(false)?;
            worker.socket().set_write_timeout(Some(SAY_LIMIT))?;
            worker.socket().write_all(line.as_bytes())?;
            worker.socket().set_nonblocking(true)
        };
        write().unwrap_or_default();
    }
}
