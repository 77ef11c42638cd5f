//! Ends every process that carries a marks in its environment, however far it detached.
//!
//! Every descendant inherits the environment, so a variable that names the attempt stands in
//! `/proc/PID/environ` of each of them, `setsid` or not (Jenkins ends its build trees in the
//! same way). What clears its environment escapes; [`super::Tree`] has the other means.

use std::collections::HashMap;
use std::ffi::CString;
use std::time::{Duration, Instant};

use domain::{SessionId, TaskId, WorkerInstanceId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Identity;
use super::identity::{is_exiting, is_starting};
use crate::config::TASK;
use crate::telemetry::meters;

/// Longest sweep. Processes that are left then can't be ended by us (another uid, a process stuck in the kernel), and
/// the caller is told.
const SWEEP_LIMIT: Duration = Duration::from_secs(3);

/// A sweep and its wait for what is on its way out, for each of some marks.
const LIMIT: Duration = Duration::from_secs(20);
/// Time that processes which may be of others get to arrive, on their way out or in: they may be stuck there.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// Mark of an attempt's processes: the task; where they were started before there was one, the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TreeMark(Uuid);

impl From<TaskId> for TreeMark {
    fn from(task: TaskId) -> Self {
        Self(task.uuid())
    }
}

impl From<SessionId> for TreeMark {
    fn from(session: SessionId) -> Self {
        Self(session.uuid())
    }
}

/// Environment variables that mark the processes of a task, of a worker's life, or of both
/// together.
#[derive(Clone, Debug)]
pub struct EnvMarks(Vec<(&'static str, String)>);

impl EnvMarks {
    /// Marks the processes of one task.
    #[must_use]
    pub fn tree(mark: TreeMark) -> Self {
        Self(vec![(TASK, mark.0.to_string())])
    }

    /// Mark the processes of one task. One that was started before its task is known by its session.
    #[must_use]
    pub fn of_task(id: TaskId, session: Option<SessionId>) -> Vec<Self> {
        let own = TreeMark::from(id);
        let other = session.map(TreeMark::from).filter(|session| *session != own);
        std::iter::once(own).chain(other).map(Self::tree).collect()
    }

    /// The same, of those that one life of a worker started.
    #[must_use]
    pub fn of_attempt(id: TaskId, session: Option<SessionId>, holder: WorkerInstanceId) -> Vec<Self> {
        let tasks = Self::of_task(id, session).into_iter();
        tasks.map(|marks| Self([marks.0, Self::holder(holder).0].concat())).collect()
    }

    /// Marks the processes that one life of a worker started.
    #[must_use]
    pub fn holder(id: WorkerInstanceId) -> Self {
        Self(vec![("CC_ANYWHERE_HOLDER", id.to_string())])
    }

    /// Marks the processes that one life of a worker started for one task. Another worker may
    /// run the task by now: its processes don't carry it.
    #[must_use]
    pub fn attempt(mark: TreeMark, holder: WorkerInstanceId) -> Self {
        Self([Self::tree(mark).0, Self::holder(holder).0].concat())
    }

    /// Names the calling process after the task. A shim is started before its task, and the environment of a process
    /// is what it was started with.
    pub fn set_process_name(&self) {
        let name = self.0.iter().find(|(name, _)| *name == TASK).and_then(|(_, id)| CString::new(short(id)).ok());
        if let Some(Err(error)) = name.map(|name| rustix::thread::set_name(&name)) {
            tracing::debug!(%error, "the shim keeps its name");
        }
    }

    /// The variables to set, as names and values.
    pub fn variables(&self) -> impl Iterator<Item = (String, String)> {
        self.0.iter().map(|(name, value)| ((*name).to_owned(), value.clone()))
    }

    /// True if the process carries all of it.
    pub(super) fn is_on(&self, pid: u32) -> bool {
        // A shim lets nobody look into its environment; what it is to be found by stands in its arguments too.
        let words = ["environ", "cmdline"].map(|file| std::fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default());
        let has =
            |wanted: &str| words.iter().any(|all| all.split(|byte| *byte == 0).any(|word| word == wanted.as_bytes()));
        let is_named = |id: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == short(id))
        };
        self.0.iter().all(|(name, value)| has(&format!("{name}={value}")) || (*name == TASK && is_named(value)))
    }
}

/// Beginning of the name of a shim that guards something.
const SHIM_NAME: &str = "cca";

/// The name of a shim, of 15 bytes at most: the random end of the id.
fn short(id: &str) -> String {
    format!("{SHIM_NAME}{}", id.rsplit('-').next().unwrap_or_default())
}

/// Kills every process with the marks but this one, pass after pass until a pass finds none.
/// Takes 1 to 8 ms with some hundred processes; blocks. Returns how many were killed and
/// whether none is left.
fn sweep(marks: &EnvMarks) -> (usize, bool) {
    let (killed, none_left) = kill_until_none(|pid| marks.is_on(pid));
    meters().swept(killed);
    (killed, none_left)
}

/// Ends every process with one of the marks, beside the runtime. Returns whether none is left.
pub async fn end_all(marks: Vec<EnvMarks>) -> bool {
    let all = marks.clone();
    match super::blocking(LIMIT, move || all.iter().all(|marks| sweep(marks).1)).await {
        Ok(gone) => gone,
        // No thread to be had: here then, for some milliseconds.
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => marks.iter().all(|marks| sweep(marks).1),
        Err(error) => {
            tracing::warn!(error = crate::telemetry::chain(&error), "A sweep did not come to its end");
            false
        }
    }
}

/// The passes of [`sweep`], for any mark. Returns how many were killed, and whether all of them are gone for good: what
/// is on its way out shows no mark any more, but may still hold a lock.
pub(super) fn kill_until_none(is_ours: impl Fn(u32) -> bool) -> (usize, bool) {
    let me = std::process::id();
    let until = Instant::now() + SWEEP_LIMIT;
    let mut killed: HashMap<u32, Identity> = HashMap::new();
    loop {
        let found: Vec<u32> = living().filter(|pid| *pid != me && is_ours(*pid)).collect();
        if found.is_empty() {
            match settle(&killed, until) {
                Settled::Gone => return (killed.len(), true),
                Settled::Left => return (killed.len(), false),
                Settled::LookAgain => continue,
            }
        }
        for pid in found {
            if let Some(process) = Identity::of(pid) {
                killed.insert(pid, process);
            }
            super::kill(pid);
        }
        if Instant::now() > until {
            return (killed.len(), false);
        }
        // SIGKILL is on its way; the kernel needs a moment to take the process down.
        pause(Duration::from_millis(1));
    }
}

/// Result of waiting for processes without marks.
enum Settled {
    /// None of ours is left.
    Gone,
    /// Some of ours are on their way out, and have not arrived in time.
    Left,
    /// Some have marks by now, that had none at the last look.
    LookAgain,
}

/// Waits for processes that show no mark at the moment: those on their way out, and those in the middle of an `exec`.
fn settle(killed: &HashMap<u32, Identity>, until: Instant) -> Settled {
    let patience = until.min(Instant::now() + EXIT_LIMIT);
    let (starting, leaving): (Vec<Identity>, Vec<Identity>) = living()
        .filter(|pid| is_exiting(*pid) || is_starting(*pid))
        .filter_map(Identity::of)
        .partition(|process| !is_exiting(process.pid));
    let (mut ours, mut others): (Vec<_>, Vec<_>) = leaving.into_iter().partition(|process| is_shim(process.pid));
    ours.extend(killed.values().cloned());
    let mut undecided = starting.clone();
    loop {
        ours.retain(|process| !process.is_known_dead());
        others.retain(|process| !process.is_known_dead());
        undecided.retain(|process| is_starting(process.pid) && !process.is_known_dead());
        let now = Instant::now();
        let is_patient = now < patience;
        if ours.is_empty() && (!is_patient || (others.is_empty() && undecided.is_empty())) {
            // One that is still in its `exec` after this time is stuck, and no process of ours.
            let has_begun = starting.iter().any(|process| !undecided.contains(process));
            return if has_begun && now < until { Settled::LookAgain } else { Settled::Gone };
        }
        if now >= until {
            return Settled::Left;
        }
        pause(Duration::from_millis(1));
    }
}

/// True if the process has the name of a shim that guards something: it keeps it to its end.
fn is_shim(pid: u32) -> bool {
    let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    let id = name.trim_end().strip_prefix(SHIM_NAME);
    id.is_some_and(|id| id.len() == 12 && id.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Every process that is no zombie, by number.
pub(super) fn living() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(|pid| Identity::of(*pid).is_some())
}

#[expect(clippy::disallowed_methods, reason = "the sweep is synchronous by design and runs beside the runtime")]
pub(super) fn pause(time: Duration) {
    std::thread::sleep(time);
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "the tests start what they look at")]
mod tests {
    use std::io::Read as _;
    use std::process::{Child, Command, Stdio};

    use super::*;

    /// A program that says one word when it is ready.
    fn start(program: &str, args: &[&str]) -> Child {
        let mut child = Command::new(program).args(args).stdout(Stdio::piped()).spawn().expect("a process");
        child.stdout.as_mut().expect("its output").read_exact(&mut [0]).expect("a word");
        child
    }

    /// What was killed counts as gone when it is, and not when it shows no mark any more.
    #[test]
    fn what_was_killed_is_waited_for() {
        let mut child = start("sh", &["-c", "echo x; exec sleep 60"]);
        let killed = HashMap::from([(child.id(), Identity::of(child.id()).expect("it lives"))]);
        let soon = || Instant::now() + Duration::from_millis(100);
        assert!(matches!(settle(&killed, soon()), Settled::Left), "it lives");
        child.kill().expect("killed");
        child.wait().expect("its end");
        assert!(matches!(settle(&killed, Instant::now() + SWEEP_LIMIT), Settled::Gone));
    }

    /// The first thread of a program may end before the others, which hold its files.
    #[test]
    fn a_process_lives_as_long_as_any_of_its_threads() {
        let program = "import ctypes, sys, threading, time\n\
            threading.Thread(target=time.sleep, args=(60,)).start()\n\
            print('x', flush=True)\n\
            ctypes.CDLL(None).syscall(60, 0)";
        let mut child = start("python3", &["-c", program]);
        let first = || super::super::stat::of(child.id()).map(|stat| stat.state);
        while first() != Some('Z') {
            pause(Duration::from_millis(1));
        }
        let process = Identity::of(child.id()).expect("a thread of it lives");
        assert!(!process.is_known_dead());
        child.kill().expect("killed");
        child.wait().expect("its end");
        assert!(process.is_known_dead());
    }

    /// Processes with marks that start further ones without end: none outlives the sweep, in whichever step of its
    /// life it is met.
    #[test]
    fn a_sweep_ends_what_starts_others_all_the_time() {
        let marks = EnvMarks::holder(WorkerInstanceId::new());
        let folder = tempfile::tempdir().expect("a folder");
        let lock = folder.path().join("lock");
        for _ in 0..20 {
            let mut command = Command::new("sh");
            command.arg("-c").arg("exec 9>\"$1\"; flock -s 9; echo x; while :; do sh -c 'sleep 0.001 & :'; done");
            command.arg("sh").arg(&lock).env_clear().env("PATH", "/usr/bin:/bin").envs(marks.variables());
            let mut child = command.stdout(Stdio::piped()).spawn().expect("a process");
            child.stdout.as_mut().expect("its output").read_exact(&mut [0]).expect("a word");
            pause(Duration::from_millis(5));
            assert!(sweep(&marks).1, "some are left");
            let held = Command::new("flock").arg("-nx").arg(&lock).arg("true").status().expect("flock");
            assert!(held.success(), "something holds the lock");
            child.wait().expect("its end");
        }
    }
}
