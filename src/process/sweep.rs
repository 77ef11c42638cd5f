//! Ends every process that carries a marks in its environment, however far it detached.
//!
//! Every descendant inherits the environment, so a variable that names the attempt stands in
//! `/proc/PID/environ` of each of them, `setsid` or not (Jenkins ends its build trees in the
//! same way). What clears its environment escapes; [`super::Tree`] has the other means.

use std::ffi::CString;
use std::time::{Duration, Instant};

use domain::{SessionId, TaskId, WorkerInstanceId};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Identity;
use super::identity::is_exiting;

/// Longest sweep. Processes that are left then can't be ended by us (another uid, a process stuck in the kernel), and
/// the caller is told.
const SWEEP_LIMIT: Duration = Duration::from_secs(3);

/// A sweep and its wait for what is on its way out, for each of some marks.
const LIMIT: Duration = Duration::from_secs(20);
/// Time that a process on its way out gets to arrive; those of others may be stuck there.
const EXIT_LIMIT: Duration = Duration::from_secs(1);

/// The variable that names the task.
const TASK: &str = "CC_ANYWHERE_TASK";

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
        let Ok(environ) = std::fs::read(format!("/proc/{pid}/environ")) else { return false };
        let has = |wanted: &str| environ.split(|byte| *byte == 0).any(|entry| entry == wanted.as_bytes());
        let is_named = |id: &str| {
            std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim_end() == short(id))
        };
        self.0.iter().all(|(name, value)| has(&format!("{name}={value}")) || (*name == TASK && is_named(value)))
    }
}

/// The name that a shim wears, of 15 bytes at most: the random end of the id.
fn short(id: &str) -> String {
    format!("cca{}", id.rsplit('-').next().unwrap_or_default())
}

/// Kills every process with the marks but this one, pass after pass until a pass finds none.
/// Takes 1 to 8 ms with some hundred processes; blocks. Returns how many were killed and
/// whether none is left.
fn sweep(marks: &EnvMarks) -> (usize, bool) {
    kill_until_none(|pid| marks.is_on(pid))
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

/// The passes of [`sweep`], for any mark.
pub(super) fn kill_until_none(is_ours: impl Fn(u32) -> bool) -> (usize, bool) {
    let me = std::process::id();
    let until = Instant::now() + SWEEP_LIMIT;
    let mut killed = std::collections::HashSet::new();
    loop {
        let found: Vec<u32> = living().filter(|pid| *pid != me && is_ours(*pid)).collect();
        if found.is_empty() {
            wait_for_exits();
            return (killed.len(), true);
        }
        for pid in found {
            super::kill(pid);
            killed.insert(pid);
        }
        if Instant::now() > until {
            return (killed.len(), false);
        }
        // SIGKILL is on its way; the kernel needs a moment to take the process down.
        pause(Duration::from_millis(1));
    }
}

/// Waits for those that are on their way out: they show no mark any more, and somebody may wait for what
/// they still hold.
fn wait_for_exits() {
    let until = Instant::now() + EXIT_LIMIT;
    let leaving = living().filter(|pid| is_exiting(*pid)).filter_map(Identity::of);
    let mut leaving: Vec<Identity> = leaving.collect();
    while !leaving.is_empty() && Instant::now() < until {
        pause(Duration::from_millis(1));
        leaving.retain(|one| !one.is_known_dead());
    }
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
