//! Messages to [`SupervisorActor`](super::SupervisorActor).

use std::io;
use std::time::Duration;

use actix::Message;
use secrecy::SecretString;
use tokio::sync::mpsc;

use crate::ipc::{ToSupervisor, ToWorker};
use crate::queue::Concern;
use domain::WorkerInstanceId;
use wire::response::Worker;

/// Reason for which a worker was not started.
#[derive(Debug, thiserror::Error)]
pub enum StartFailed {
    /// There is a worker of that name.
    #[error("there is a worker of that name")]
    NameTaken,
    /// The server stops.
    #[error("the server is stopping")]
    ShuttingDown,
    /// The system refused.
    #[error("the process could not be started: {0}")]
    System(#[from] io::Error),
}

/// Asks for all workers.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Vec<Worker>")]
pub struct List;

/// Starts one more worker.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Result<Worker, StartFailed>")]
pub struct StartWorker {
    /// Name; the first free one where `None`.
    pub name: Option<String>,
}

/// Drains a worker, then ends it for good. Answered when it is gone; `false` where there is
/// none of that name.
#[derive(Clone, Debug, Message)]
#[rtype(result = "bool")]
pub struct StopWorker {
    pub name: String,
}

/// Kills a worker, as a fault of the machine would. Answers with it as it was; `None` where none of that name lives.
#[derive(Clone, Debug, Message)]
#[rtype(result = "Option<Worker>")]
pub struct CrashWorker {
    pub name: String,
}

/// Drains all workers. Answered when all are gone.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Shutdown {
    /// Longest time that they may finish their running tasks.
    pub limit: Duration,
    /// True if these go on without their workers, for those of the next server.
    pub hand_over: bool,
}

/// Tells all workers to give everything back and go.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct ShutdownNow;

/// A worker has connected and shown a token. Answered whether it is welcome.
#[derive(Debug, Message)]
#[rtype(result = "bool")]
pub struct LinkUp {
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// Its process, as the kernel says it.
    pub pid: Option<u32>,
    /// Token that it shows.
    pub token: SecretString,
    /// Version of its protocol.
    pub version: u32,
    /// The way to it.
    pub link: mpsc::Sender<ToWorker>,
}

/// A worker's link is gone.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct LinkDown {
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
}

/// A worker has said something.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Heard {
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// Its frame.
    pub frame: ToSupervisor,
}

/// A worker's process has ended, its tree was ended, and the queue knows.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Ended {
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
}

/// Passes on to workers that commits concern them.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub struct Wake(pub Concern);
