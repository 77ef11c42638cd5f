//! One worker process, as its supervisor knows it.

use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use crate::ipc::ToWorker;
use crate::process::{self, wall_now};
use crate::supervise::Restarts;
use wire::response::{Worker, WorkerState};

use super::record::Record;

/// The process, or what comes next.
pub(super) enum ProcessState {
    /// The process runs.
    Alive {
        /// Time of its last frame, or the start of the wait for its hello.
        heard: Instant,
        /// True if it has said hello to us.
        greeted: bool,
        /// The way to it.
        link: Option<mpsc::Sender<ToWorker>>,
    },
    /// The process has ended and is started again at a time.
    Dead {
        /// True if it ends too often.
        crash_looping: bool,
    },
}

/// See the [module](self).
pub(super) struct WorkerProcess {
    /// Record for the next supervisor; always as on disk.
    pub record: Record,
    /// True if it runs.
    pub life: ProcessState,
    /// Ends, for the policy.
    pub restarts: Restarts,
    /// Callers to be told when it is gone for good; `Some` from the moment it is to end.
    pub leaving: Option<Vec<oneshot::Sender<()>>>,
    /// True if it was ended because it was silent.
    pub silent: bool,
    /// Tasks that it runs, as it last said.
    pub running: usize,
    /// Tasks that it may run at a time, as it last said.
    pub concurrency: u32,
    /// Tasks for which it was woken since then.
    pub woken: usize,
    /// Failing duty and the reason, as it last said.
    pub failing: Option<String>,
}

impl WorkerProcess {
    /// A process that was just started, or found.
    pub fn alive(record: Record) -> Self {
        Self {
            record,
            life: ProcessState::Alive { heard: Instant::now(), greeted: false, link: None },
            restarts: Restarts::default(),
            leaving: None,
            silent: false,
            running: 0,
            concurrency: 0,
            woken: 0,
            failing: None,
        }
    }

    /// Returns its view for the API.
    pub fn view(&self) -> Worker {
        let alive = matches!(self.life, ProcessState::Alive { .. });
        let state = self.state();
        Worker {
            worker_id: self.record.name.clone(),
            pid: self.record.process.pid,
            start_time: self.record.started_at,
            uptime: if alive { wall_now().since_ms(self.record.started_at) } else { 0 },
            restart_count: self.record.restart_count,
            connected: matches!(self.life, ProcessState::Alive { link: Some(_), .. }),
            state: Some(state),
            crash_looping: Some(state == WorkerState::CrashLooping),
            host: None,
            last_beat_ms: None,
            labels: None,
            version: None,
            running: self.running as i64,
            concurrency: self.concurrency.into(),
            failing: self.failing.clone(),
        }
    }

    fn state(&self) -> WorkerState {
        match &self.life {
            ProcessState::Alive { .. } if self.leaving.is_some() => WorkerState::Draining,
            ProcessState::Alive { link: Some(_), .. } => WorkerState::Running,
            ProcessState::Alive { greeted: false, .. } => WorkerState::Starting,
            ProcessState::Alive { .. } => WorkerState::Unlinked,
            ProcessState::Dead { crash_looping: true } => WorkerState::CrashLooping,
            ProcessState::Dead { crash_looping: false } => WorkerState::Restarting,
        }
    }

    /// True if it has been silent for longer than it may. One that was just started gets at
    /// least `start_limit` for its hello.
    pub fn is_silent(&self, limit: Duration, start_limit: Duration) -> bool {
        match &self.life {
            ProcessState::Alive { heard, greeted, .. } => {
                heard.elapsed() > if *greeted { limit } else { limit.max(start_limit) }
            }
            ProcessState::Dead { .. } => false,
        }
    }

    /// Number of tasks that it could take, as far as is known: one where it has not said.
    pub fn free(&self) -> usize {
        let is_there = matches!(self.life, ProcessState::Alive { link: Some(_), .. }) && self.leaving.is_none();
        let slots = if is_there { usize::try_from(self.concurrency.max(1)).unwrap_or(usize::MAX) } else { 0 };
        slots.saturating_sub(self.running + self.woken)
    }

    /// Begins to listen anew: its silence so far says nothing about it.
    pub fn listen_anew(&mut self) {
        if let ProcessState::Alive { heard, .. } = &mut self.life {
            *heard = Instant::now();
        }
    }

    /// Sends a hint, if there is a way.
    pub fn tell(&self, frame: ToWorker) -> bool {
        match &self.life {
            ProcessState::Alive { link: Some(link), .. } => link.try_send(frame).is_ok(),
            _ => false,
        }
    }

    /// Asks it to end after what it runs, or to leave that to another worker.
    pub fn drain(&self, limit: Duration, hand_over: bool) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap_or(u64::MAX);
        if !self.tell(ToWorker::Drain { limit_ms, hand_over }) && matches!(self.life, ProcessState::Alive { .. }) {
            // No link: the signal means the same, with the worker's own limit.
            process::terminate(self.record.process.pid);
        }
    }
}
