//! The messages of [`SupervisorActor`], and what it does at each.

use std::time::{Duration, Instant};

use actix::prelude::*;
use secrecy::ExposeSecret as _;
use subtle::ConstantTimeEq as _;
use tokio::sync::{mpsc, oneshot};

use super::{AFTER_DRAIN, SupervisorActor};
use crate::ipc::{PROTOCOL_VERSION, ToSupervisor, ToWorker};
use crate::process;
use crate::queue::Concern;
use crate::supervisor::messages::{
    CrashWorker, Ended, Heard, LinkDown, LinkUp, List, Shutdown, ShutdownNow, StartFailed, StartWorker, StopWorker,
    Wake,
};
use crate::supervisor::worker_process::{ProcessState, WorkerProcess};
use crate::telemetry;
use wire::response::Worker;

impl Handler<List> for SupervisorActor {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Self::Result {
        MessageResult(self.workers.values().map(WorkerProcess::view).collect())
    }
}

impl Handler<StartWorker> for SupervisorActor {
    type Result = Result<Worker, StartFailed>;

    fn handle(&mut self, start: StartWorker, ctx: &mut Context<Self>) -> Self::Result {
        if self.shutting_down {
            return Err(StartFailed::ShuttingDown);
        }
        let name = start.name.unwrap_or_else(|| self.free_name());
        if self.workers.contains_key(&name) {
            return Err(StartFailed::NameTaken);
        }
        self.start(name.clone(), 0, ctx)?;
        self.workers.get(&name).map(WorkerProcess::view).ok_or(StartFailed::ShuttingDown)
    }
}

impl Handler<StopWorker> for SupervisorActor {
    type Result = ResponseFuture<bool>;

    fn handle(&mut self, stop: StopWorker, ctx: &mut Context<Self>) -> ResponseFuture<bool> {
        if !self.workers.contains_key(&stop.name) {
            return Box::pin(std::future::ready(false));
        }
        let (gone, wait) = oneshot::channel();
        let hand_over = self.settings.hand_over && self.has_another(&stop.name);
        self.leave(&stop.name, (self.settings.drain_limit, hand_over), gone, ctx);
        Box::pin(async { wait.await.is_ok() })
    }
}

impl Handler<CrashWorker> for SupervisorActor {
    type Result = Option<Worker>;

    fn handle(&mut self, crash: CrashWorker, _: &mut Context<Self>) -> Option<Worker> {
        let worker = self.workers.get(&crash.name)?;
        let ProcessState::Alive { .. } = worker.life else { return None };
        tracing::warn!(workerId = crash.name, pid = worker.record.process.pid, "Killing a worker, as was asked");
        process::kill(worker.record.process.pid);
        Some(worker.view())
    }
}

impl Handler<Shutdown> for SupervisorActor {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, shutdown: Shutdown, ctx: &mut Context<Self>) -> ResponseFuture<()> {
        self.shutting_down = true;
        let names: Vec<String> = self.workers.keys().cloned().collect();
        let waits: Vec<_> = names
            .iter()
            .map(|name| {
                let (gone, wait) = oneshot::channel();
                self.leave(name, (shutdown.limit, shutdown.hand_over), gone, ctx);
                wait
            })
            .collect();
        Box::pin(async {
            for wait in waits {
                wait.await.unwrap_or_default();
            }
        })
    }
}

impl Handler<ShutdownNow> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, _: ShutdownNow, ctx: &mut Context<Self>) {
        for worker in self.workers.values().filter(|worker| !worker.tell(ToWorker::Stop)) {
            worker.drain(Duration::ZERO, false);
        }
        ctx.run_later(AFTER_DRAIN, |this, _| {
            this.workers.values().for_each(|worker| process::kill(worker.record.process.pid));
        });
    }
}

impl Handler<LinkUp> for SupervisorActor {
    type Result = bool;

    fn handle(&mut self, up: LinkUp, _: &mut Context<Self>) -> bool {
        let Some(worker) = self.workers.get_mut(&up.name).filter(|worker| worker.record.holder == up.holder) else {
            return false;
        };
        if !bool::from(worker.record.token.expose_secret().as_bytes().ct_eq(up.token.expose_secret().as_bytes())) {
            return false;
        }
        // A token that was found is no worker.
        if up.pid != Some(worker.record.process.pid) {
            return false;
        }
        worker.life = ProcessState::Alive { heard: Instant::now(), greeted: true, link: Some(up.link) };
        if worker.leaving.is_some() || up.version != PROTOCOL_VERSION {
            worker.drain(self.settings.drain_limit, self.settings.hand_over);
        }
        tracing::info!(workerId = up.name, "Worker linked");
        true
    }
}

impl Handler<LinkDown> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, down: LinkDown, _: &mut Context<Self>) {
        if let Some(worker) = self.workers.get_mut(&down.name).filter(|worker| worker.record.holder == down.holder)
            && let ProcessState::Alive { link, .. } = &mut worker.life
            && link.as_ref().is_some_and(mpsc::Sender::is_closed)
        {
            *link = None;
        }
    }
}

impl Handler<Heard> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, said: Heard, _: &mut Context<Self>) {
        let Some(worker) = self.workers.get_mut(&said.name).filter(|worker| worker.record.holder == said.holder) else {
            return;
        };
        if let ProcessState::Alive { heard, .. } = &mut worker.life {
            *heard = Instant::now();
        }
        match said.frame {
            ToSupervisor::Beat { running, concurrency, failing } => {
                worker.failing = failing;
                worker.running = running;
                worker.concurrency = concurrency;
                worker.woken = 0;
            }
            ToSupervisor::Started { task } => {
                worker.running += 1;
                worker.woken = worker.woken.saturating_sub(1);
                self.hub.changed(&[task], Concern::Nobody);
            }
            ToSupervisor::Ended { task } => {
                worker.running = worker.running.saturating_sub(1);
                self.hub.changed(&[task], Concern::Nobody);
            }
            ToSupervisor::Partial { task, text } => self.hub.partial(task, &text),
            ToSupervisor::Hello { .. } | ToSupervisor::Unknown => {}
        }
    }
}

impl Handler<Ended> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, ended: Ended, ctx: &mut Context<Self>) {
        let Some(worker) = self.workers.get_mut(&ended.name).filter(|worker| worker.record.holder == ended.holder)
        else {
            return;
        };
        match worker.leaving.take() {
            Some(waiting) => {
                self.workers.remove(&ended.name);
                self.records.remove(&ended.name);
                waiting.into_iter().for_each(|gone| gone.send(()).unwrap_or_default());
            }
            None if self.shutting_down => {}
            None => {
                telemetry::meters().worker_restarted(if std::mem::take(&mut worker.silent) {
                    "silent"
                } else {
                    "died"
                });
                self.restart_later(ended.name, ctx);
            }
        }
    }
}

impl Handler<Wake> for SupervisorActor {
    type Result = ();

    fn handle(&mut self, Wake(concern): Wake, _: &mut Context<Self>) {
        match concern {
            Concern::Nobody => {}
            Concern::All => {
                for worker in self.workers.values() {
                    worker.tell(ToWorker::Wake);
                }
            }
            Concern::Idle(tasks) => {
                let mut workers: Vec<_> = self.workers.values_mut().collect();
                let mut free: Vec<usize> = workers.iter().map(|worker| worker.free()).collect();
                for chosen in freest(&mut free, tasks) {
                    workers[chosen].woken += 1;
                    workers[chosen].tell(ToWorker::Wake);
                }
            }
        }
    }
}

/// Returns whom to wake for new tasks: for each the one with the most free slots, of which it takes one. Those whose slots are
/// taken look when they have a free one.
fn freest(free: &mut [usize], tasks: u64) -> Vec<usize> {
    let mut chosen = Vec::new();
    for _ in 0..tasks {
        let most = free.iter_mut().enumerate().filter(|(_, free)| **free > 0).max_by_key(|(_, free)| **free);
        let Some((worker, free)) = most else { break };
        *free -= 1;
        chosen.push(worker);
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::freest;

    #[test]
    fn new_tasks_go_to_those_with_the_most_free_slots_and_to_none_without() {
        assert_eq!(freest(&mut [0, 2, 5], 1), [2]);
        let spread = |free: &[usize], tasks| {
            let mut chosen = freest(&mut free.to_vec(), tasks);
            chosen.sort_unstable();
            chosen
        };
        assert_eq!(spread(&[1, 1, 1], 2).len(), 2);
        assert_eq!(spread(&[2, 2, 2], 3), [0, 1, 2], "one each");
        assert_eq!(spread(&[0, 1, 3], 10), [1, 2, 2, 2], "no more than there are slots");
        assert!(freest(&mut [0, 0], 3).is_empty() && freest(&mut [], 3).is_empty() && freest(&mut [4], 0).is_empty());
    }
}
