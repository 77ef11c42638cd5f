//! One worker process, as its supervisor knows it.

use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::{mpsc, oneshot};

use crate::ipc::ToWorker;
use crate::process::{self, wall_now};
use crate::supervise::Restarts;
use domain::Wall;

use super::record::Record;

/// Where a worker process stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum WorkerState {
    /// Its process has begun and not said hello yet.
    Starting,
    /// It runs and is linked.
    Running,
    /// It runs, but its link is gone.
    Unlinked,
    /// It ends after what it runs.
    Draining,
    /// It has ended and will be started again soon.
    Restarting,
    /// It ends too often, and is started again at a slow pace.
    CrashLooping,
}

/// A worker process as the outside sees it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct WorkerView {
    /// Its name.
    pub worker_id: String,
    /// Its process; of the one that ended last, where none runs.
    pub pid: u32,
    /// When that process was started.
    pub start_time: Wall,
    /// Milliseconds since then; 0 where none runs.
    pub uptime: i64,
    /// How often it was restarted.
    pub restart_count: u32,
    /// Whether its link is up.
    pub connected: bool,
    /// Where it stands.
    pub state: WorkerState,
    /// Whether it ends too often.
    pub crash_looping: bool,
    /// Tasks that it runs.
    pub running: usize,
    /// Tasks that it may run at a time.
    pub concurrency: u32,
    /// Which of its duties fails, and why.
    pub failing: Option<String>,
}

/// The process, or what comes next.
pub(super) enum Life {
    /// It runs.
    Alive {
        /// When we heard of it last, or began to wait for its hello.
        heard: Instant,
        /// Whether it has said hello to us.
        greeted: bool,
        /// The way to it.
        link: Option<mpsc::Sender<ToWorker>>,
    },
    /// It has ended and is started again when the time has come.
    Dead {
        /// Whether it ends too often.
        crash_looping: bool,
    },
}

/// See the [module](self).
pub(super) struct WorkerProcess {
    /// What the next supervisor must know; always as on disk.
    pub record: Record,
    /// Whether it runs.
    pub life: Life,
    /// Its ends, for the policy.
    pub restarts: Restarts,
    /// Told when it is gone for good; `Some` from the moment it is to end.
    pub leaving: Option<Vec<oneshot::Sender<()>>>,
    /// Tasks that it runs, as it last said.
    pub running: usize,
    /// Tasks that it may run at a time, as it last said.
    pub concurrency: u32,
    /// Which of its duties fails, and why, as it last said.
    pub failing: Option<String>,
}

impl WorkerProcess {
    /// A process that was just started, or found.
    pub fn alive(record: Record) -> Self {
        Self {
            record,
            life: Life::Alive { heard: Instant::now(), greeted: false, link: None },
            restarts: Restarts::default(),
            leaving: None,
            running: 0,
            concurrency: 0,
            failing: None,
        }
    }

    /// As the outside sees it.
    pub fn view(&self) -> WorkerView {
        let alive = matches!(self.life, Life::Alive { .. });
        let state = self.state();
        WorkerView {
            worker_id: self.record.name.clone(),
            pid: self.record.process.pid,
            start_time: self.record.started_at,
            uptime: if alive { wall_now().since_ms(self.record.started_at) } else { 0 },
            restart_count: self.record.restart_count,
            connected: matches!(self.life, Life::Alive { link: Some(_), .. }),
            state,
            crash_looping: state == WorkerState::CrashLooping,
            running: self.running,
            concurrency: self.concurrency,
            failing: self.failing.clone(),
        }
    }

    fn state(&self) -> WorkerState {
        match &self.life {
            Life::Alive { .. } if self.leaving.is_some() => WorkerState::Draining,
            Life::Alive { link: Some(_), .. } => WorkerState::Running,
            Life::Alive { greeted: false, .. } => WorkerState::Starting,
            Life::Alive { .. } => WorkerState::Unlinked,
            Life::Dead { crash_looping: true } => WorkerState::CrashLooping,
            Life::Dead { crash_looping: false } => WorkerState::Restarting,
        }
    }

    /// Whether it has been silent for longer than it may. One that was just started gets at
    /// least `start_limit` for its hello.
    pub fn is_silent(&self, limit: Duration, start_limit: Duration) -> bool {
        match &self.life {
            Life::Alive { heard, greeted, .. } => {
                heard.elapsed() > if *greeted { limit } else { limit.max(start_limit) }
            }
            Life::Dead { .. } => false,
        }
    }

    /// Begins to listen anew: its silence so far says nothing about it.
    pub fn listen_anew(&mut self) {
        if let Life::Alive { heard, .. } = &mut self.life {
            *heard = Instant::now();
        }
    }

    /// Sends a hint, if there is a way.
    pub fn tell(&self, frame: ToWorker) -> bool {
        match &self.life {
            Life::Alive { link: Some(link), .. } => link.try_send(frame).is_ok(),
            _ => false,
        }
    }

    /// Asks it to end after what it runs.
    pub fn drain(&self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if !self.tell(ToWorker::Drain { limit_ms }) && matches!(self.life, Life::Alive { .. }) {
            // No link: the signal means the same, with the worker's own limit.
            process::terminate(self.record.process.pid);
        }
    }
}
