//! Protocol of a link: one JSON object a frame.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize, Serializer};

use domain::{TaskId, WorkerInstanceId};

/// Writes a secret where it has to stand: in a frame or a file that its reader alone can open.
///
/// # Errors
/// The serializer's.
pub fn exposed<S: Serializer>(secret: &SecretString, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(secret.expose_secret())
}

/// Grows when a frame changes its meaning. Both sides say theirs; a worker of another version
/// is drained and replaced.
pub const PROTOCOL_VERSION: u32 = 1;

/// Down: from the supervisor to a worker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToWorker {
    /// The token was right.
    Welcome {
        /// The supervisor's.
        version: u32,
    },
    /// There may be work.
    Wake,
    /// The task may have been cancelled.
    Cancel { task: TaskId },
    /// Claim no more, finish what runs within the limit, give the rest back, then exit.
    Drain {
        /// Milliseconds.
        limit_ms: u64,
        /// True if what runs goes on without the worker, for another one.
        #[serde(default)]
        hand_over: bool,
    },
    /// Give everything back and exit now.
    Stop,
    /// A frame of a newer version.
    #[serde(other)]
    Unknown,
}

/// Up: from a worker to its supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum ToSupervisor {
    /// The first frame.
    Hello {
        /// The worker's.
        version: u32,
        /// Name.
        worker: String,
        /// Incarnation of the worker; new at each start.
        holder: WorkerInstanceId,
        /// Id of its process.
        pid: u32,
        /// Token with which it was started.
        #[serde(serialize_with = "exposed")]
        token: SecretString,
    },
    /// Heartbeat: its WorkerActor answered.
    Beat {
        /// Tasks that it runs.
        running: usize,
        /// Tasks that it may run at a time.
        concurrency: u32,
        /// Failing duty, and the reason.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        failing: Option<String>,
    },
    /// An attempt has begun.
    Started { task: TaskId },
    /// An attempt is over.
    Ended { task: TaskId },
    /// Text of the model while it is written.
    Partial { task: TaskId, text: String },
    /// A frame of a newer version.
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_of_a_newer_version_is_unknown_and_no_error() {
        let frame: ToWorker = serde_json::from_str(r#"{"type":"reload","path":"/x"}"#).expect("a frame");
        assert_eq!(frame, ToWorker::Unknown);
        let frame: ToWorker = serde_json::from_str(r#"{"type":"drain","limitMs":5,"why":"x"}"#).expect("a frame");
        assert_eq!(frame, ToWorker::Drain { limit_ms: 5, hand_over: false });
    }
}
