//! What a worker and its shim tell each other: one JSON object a line.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use strum::VariantNames as _;

use crate::config::Environment;
use crate::process::{Isolation, TreeMark};
use crate::sandbox::{Access, Grant, Held, Walls};
use domain::{Epoch, LeaseKey, TaskId};

/// Message of a worker to its shim.
#[derive(Debug, Serialize, Deserialize, strum::VariantNames)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum ToShim {
    /// Start the CLI. The first message, and only that.
    Begin(Box<Begin>),
    /// Live until then: milliseconds of `CLOCK_BOOTTIME`.
    Deadline { at_ms: i64 },
    /// End the CLI: TERM now, KILL for all after the grace.
    End { grace_ms: u64 },
    /// The CLI that waits is this attempt's from now on.
    Adopt { task: TaskId, epoch: Epoch },
    /// Keep this for the next worker. With it come a socket that listens for that one, and the worker's ends of these
    /// streams. Answered with [`FromShim::Holds`].
    Hold { state: String, parts: Vec<String> },
    /// This worker leaves: its end means nothing from now on. Answered with [`FromShim::LetGo`].
    LetGo { at_ms: i64 },
    /// What was offered is this worker's from now on.
    Taken { at_ms: i64 },
}

impl ToShim {
    /// True if a worker of a newer version, which has taken over an attempt, says what this one doesn't know. Not to do
    /// that ends no attempt.
    pub fn is_newer(line: &[u8]) -> bool {
        let message = serde_json::from_slice::<HashMap<String, IgnoredAny>>(line);
        message
            .is_ok_and(|message| !message.is_empty() && !message.keys().any(|name| Self::VARIANTS.contains(&&**name)))
    }
}

/// Description of the process that a shim guards.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Begin {
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
    /// True if the settings of the system are as they were when the shim was started.
    #[serde(default)]
    pub walls_fit: bool,
    /// Word that every message of the shim carries: nothing that it guards knows it.
    pub secret: String,
}

impl Begin {
    /// An order like the one that will come. Who has read it finds the code for that in its memory.
    pub fn rehearsal() -> Self {
        let grant = |access| Grant { path: "/".into(), access };
        let walls = Walls {
            grants: vec![grant(Access::OperatorRead), grant(Access::Write)],
            hidden: vec!["/".into()],
            temp: Some("/".into()),
            ..Walls::default()
        };
        Self {
            mark: TaskId::new().into(),
            lease: Some(LeaseKey { task: TaskId::new(), epoch: Epoch::default() }),
            deadline_ms: 0,
            tree_log: "/".into(),
            directory: "/".into(),
            program: "/".into(),
            args: vec![String::new()],
            env: vec![(String::new(), String::new())].into(),
            walls: Some(walls),
            must_hold: false,
            walls_fit: false,
            secret: String::new(),
        }
    }
}

/// Message of a shim to its worker, with the word that shows that it is the shim's.
#[derive(Debug, Serialize, Deserialize)]
pub struct Signed {
    pub secret: String,
    pub says: FromShim,
}

/// Message of a shim to its worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum FromShim {
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
    /// It keeps what it was given for the next worker.
    Holds,
    /// It goes on without this worker.
    LetGo,
    /// To a next worker, with the streams: what the last one left, and how many bytes follow that the CLI has printed
    /// since, on standard output and on standard error.
    Offer { lease: Option<LeaseKey>, state: String, parts: Vec<String>, printed: usize, said: usize },
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

/// Names of what is handed over.
pub mod part {
    /// Socket on which the next worker is awaited.
    pub const LISTENER: &str = "listener";
    /// Input of the CLI.
    pub const STDIN: &str = "stdin";
    /// Output of the CLI.
    pub const STDOUT: &str = "stdout";
    /// Standard error of the CLI.
    pub const STDERR: &str = "stderr";
    /// Right of the attempt to ask the API.
    pub const PASS: &str = "pass";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rehearsal_reads_what_an_order_has() {
        let order = serde_json::to_vec(&ToShim::Begin(Box::new(Begin::rehearsal()))).expect("JSON");
        let read = serde_json::from_slice::<ToShim>(&order).expect("an order");
        assert!(matches!(read, ToShim::Begin(begin) if begin.walls.is_some()));
    }

    #[test]
    fn what_a_newer_worker_says_is_known_from_what_can_not_be_read() {
        for newer in [r#"{"pause":{"ms":5}}"#, r#"{"mark":1}"#] {
            assert!(ToShim::is_newer(newer.as_bytes()), "{newer}");
        }
        for broken in [r#"{"deadline":{"at":5}}"#, r#"{"end":{}}"#, "{}", "5", "deadline", r#""end""#] {
            assert!(!ToShim::is_newer(broken.as_bytes()), "{broken}");
        }
        assert_eq!(ToShim::VARIANTS.len(), 7);
        for known in ToShim::VARIANTS {
            assert!(!ToShim::is_newer(format!(r#"{{"{known}":{{}}}}"#).as_bytes()), "{known}");
        }
        let known = serde_json::to_string(&ToShim::LetGo { at_ms: 1 }).expect("JSON");
        assert_eq!(known, r#"{"letGo":{"atMs":1}}"#);
    }
}
