//! Keeps the wanted number of worker processes alive.

mod handlers;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use actix::prelude::*;
use fail::fail_point;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::process::Child;
use tokio::sync::oneshot;

use super::messages::Ended;
use super::record::{Record, Records};
use super::worker_process::{ProcessState, WorkerProcess};
use crate::config::Environment;
use crate::process::{self, BackOff, EnvMarks, Identity, Launch, wall_now};
use crate::queue::{ChangeNotifier, Queue, reclaim};
use crate::supervise::{Decision, RestartPolicy};
use domain::WorkerInstanceId;

/// Beats of many workers come at once; their senders may wait.
pub const MAILBOX: usize = 256;
/// Time between two looks for silent workers.
const LOOK: Duration = Duration::from_millis(200);
/// A look that comes so late means that this process was stopped, or the machine suspended.
const OWN_PAUSE: Duration = Duration::from_secs(2);
/// A worker that was just started opens the database before it says hello.
const START_LIMIT: Duration = Duration::from_secs(15);
/// Time that a worker has after the limit of a drain to end its runs and go.
const AFTER_DRAIN: Duration = Duration::from_secs(10);

/// Settings of the supervisor.
#[derive(Clone, Debug)]
pub struct SupervisorSettings {
    /// Number of workers there are to be.
    pub count: u32,
    /// Longest silence of a worker; then it is replaced.
    pub heartbeat_limit: Duration,
    /// Longest time that a leaving worker may finish its running tasks.
    pub drain_limit: Duration,
    /// True if a worker that leaves hands over what it runs.
    pub hand_over: bool,
    /// Restart policy of a worker.
    pub policy: RestartPolicy,
    /// Path of our own program.
    pub program: PathBuf,
    /// The environment of the workers.
    pub environment: Environment,
    /// The socket that they connect to.
    pub socket: PathBuf,
}

/// See the [module](self).
pub struct SupervisorActor {
    /// Settings.
    settings: SupervisorSettings,
    /// The workers by name; kept over a restart of the actor, since the processes are.
    workers: BTreeMap<String, WorkerProcess>,
    /// The files for the next supervisor.
    records: Records,
    /// Queue that is told of deaths.
    queue: Queue,
    /// Gets what the workers say of their tasks.
    hub: ChangeNotifier,
    /// True if everything is coming to its end: nothing is started any more.
    shutting_down: bool,
    /// Its start, for the policies.
    began: Instant,
    /// Time of its last look for silent workers.
    looked_at: Instant,
}

impl SupervisorActor {
    /// A supervisor that takes over what an earlier one left.
    #[must_use]
    pub fn new(settings: SupervisorSettings, records: Records, queue: Queue, hub: ChangeNotifier) -> Self {
        let workers = BTreeMap::new();
        let now = Instant::now();
        Self { settings, workers, records, queue, hub, shutting_down: false, began: now, looked_at: now }
    }

    /// Takes over the workers that live, and sees to the ends of those that don't.
    fn adopt(&mut self, ctx: &mut Context<Self>) {
        for record in self.records.load() {
            let name = record.name.clone();
            tracing::info!(workerId = name, pid = record.process.pid, "Found a worker of an earlier server");
            self.watch(&record, None, ctx);
            self.workers.insert(name, WorkerProcess::alive(record));
        }
    }

    /// Starts workers until there are as many as wanted.
    fn fill(&mut self, ctx: &mut Context<Self>) {
        while self.workers.len() < usize::try_from(self.settings.count).unwrap_or(usize::MAX) {
            let name = self.free_name();
            if let Err(error) = self.start(name, 0, ctx) {
                tracing::error!(error = crate::telemetry::chain(&error), "Could not start a worker");
                ctx.run_later(self.settings.policy.max_delay, Self::fill);
                return;
            }
        }
    }

    fn free_name(&self) -> String {
        let mut names = (0..).map(|number| format!("worker-{number}"));
        names.find(|name| !self.workers.contains_key(name)).unwrap_or_default()
    }

    fn start(&mut self, name: String, restart_count: u32, ctx: &mut Context<Self>) -> io::Result<()> {
        let holder = WorkerInstanceId::new();
        let token = SecretString::from(process::secret()?);
        let child = process::spawn_worker(&self.launch(&name, holder, &token))?;
        let pid = child.id().unwrap_or_default();
        // Gone already: what watches it finds that out.
        let process = Identity::of(pid).unwrap_or(Identity { pid, start: 0, ..Identity::current() });
        let record = Record { name: name.clone(), holder, token, process, started_at: wall_now(), restart_count };
        if let Err(error) = self.records.save(&record) {
            tracing::warn!(
                workerId = name,
                error = crate::telemetry::chain(&error),
                "A next server will not find this worker"
            );
        }
        tracing::info!(workerId = name, pid, "Worker started");
        self.watch(&record, Some(child), ctx);
        match self.workers.get_mut(&name) {
            Some(worker) => {
                worker.record = record;
                worker.life = ProcessState::Alive { heard: Instant::now(), greeted: false, link: None };
            }
            None => drop(self.workers.insert(name, WorkerProcess::alive(record))),
        }
        Ok(())
    }

    fn launch(&self, name: &str, holder: WorkerInstanceId, token: &SecretString) -> Launch {
        let mut env = self.settings.environment.clone();
        env.push((crate::config::LINK_TOKEN.to_owned(), token.expose_secret().to_owned()));
        env.extend(EnvMarks::holder(holder).variables());
        let args = [
            "worker".to_owned(),
            format!("--worker-id={name}"),
            format!("--holder={holder}"),
            format!("--link={}", self.settings.socket.display()),
        ];
        let args = args.into_iter().map(Into::into).collect();
        Launch { program: self.settings.program.clone(), args, env, directory: None }
    }

    /// Waits for the end of the process, ends what is left of its tree, tells the queue, and
    /// then this actor.
    fn watch(&self, record: &Record, child: Option<Child>, ctx: &mut Context<Self>) {
        let (name, holder, identity) = (record.name.clone(), record.holder, record.process.clone());
        let (queue, me) = (self.queue.clone(), ctx.address());
        actix::spawn(async move {
            match child {
                Some(mut child) => {
                    let status = child.wait().await.map(process::exit_of);
                    tracing::info!(workerId = name, ?status, "Worker ended");
                }
                // Not our child. Its number may belong to another process by now.
                None if !identity.is_known_dead() => process::ended(identity.pid).await,
                None => {}
            }
            reclaim_tasks(&queue, &name, holder).await;
            me.send(Ended { name, holder }).await.unwrap_or_default();
        });
    }

    fn check_workers(&mut self, _: &mut Context<Self>) {
        fail_point!("supervisor-look");
        let gap = self.looked_at.elapsed();
        self.looked_at = Instant::now();
        if gap > OWN_PAUSE {
            // It was this process that stood still: what the workers said meanwhile is yet to be heard.
            tracing::warn!(
                gap_ms = gap.as_millis() as u64,
                "This process stood still; listening before judging workers"
            );
            self.workers.values_mut().for_each(WorkerProcess::listen_anew);
            return;
        }
        for (name, worker) in &mut self.workers {
            if worker.is_silent(self.settings.heartbeat_limit, START_LIMIT) {
                tracing::warn!(workerId = name, pid = worker.record.process.pid, "Worker is silent, ending it");
                process::kill(worker.record.process.pid);
                // Its end is on its way; should it not come, it is tried again.
                worker.listen_anew();
                worker.silent = true;
            }
        }
    }

    /// Begins the end of a worker; `gone` is told when it is over.
    fn leave(
        &mut self,
        name: &str,
        (limit, hand_over): (Duration, bool),
        gone: oneshot::Sender<()>,
        ctx: &mut Context<Self>,
    ) {
        let Some(worker) = self.workers.get_mut(name) else { return };
        if matches!(worker.life, ProcessState::Dead { .. }) {
            self.workers.remove(name);
            self.records.remove(name);
            gone.send(()).unwrap_or_default();
            return;
        }
        if let Some(waiting) = &mut worker.leaving {
            waiting.push(gone);
            return;
        }
        worker.leaving = Some(vec![gone]);
        worker.drain(limit, hand_over);
        let (name, holder) = (name.to_owned(), worker.record.holder);
        ctx.run_later(limit + AFTER_DRAIN, move |this, _| {
            if let Some(worker) = this.workers.get(&name).filter(|worker| worker.record.holder == holder) {
                tracing::warn!(workerId = name, "Worker did not go in time, ending it");
                process::kill(worker.record.process.pid);
            }
        });
    }

    /// True if a worker other than this one is there to take over what it runs.
    fn has_another(&self, name: &str) -> bool {
        let is_there =
            |worker: &WorkerProcess| worker.leaving.is_none() && !matches!(worker.life, ProcessState::Dead { .. });
        self.workers.iter().any(|(other, worker)| other != name && is_there(worker))
    }

    fn restart_later(&mut self, name: String, ctx: &mut Context<Self>) {
        let Some(worker) = self.workers.get_mut(&name) else { return };
        let decision = worker.restarts.after_end(&self.settings.policy, self.began.elapsed());
        let (wait, crash_looping) = match decision {
            Decision::Restart(wait) => (wait, false),
            Decision::TooOften(wait) => (wait, true),
        };
        worker.life = ProcessState::Dead { crash_looping };
        worker.running = 0;
        worker.woken = 0;
        worker.failing = None;
        let count = worker.record.restart_count + 1;
        let wait_ms = wait.as_millis() as u64;
        if crash_looping {
            tracing::error!(workerId = name, wait_ms, "Worker ends too often");
        } else {
            tracing::warn!(workerId = name, wait_ms, "Worker will be restarted");
        }
        ctx.run_later(wait, move |this, ctx| this.restart(name, count, ctx));
    }

    fn restart(&mut self, name: String, count: u32, ctx: &mut Context<Self>) {
        let dead = self.workers.get(&name).is_some_and(|worker| matches!(worker.life, ProcessState::Dead { .. }));
        if !dead || self.shutting_down {
            return;
        }
        if let Err(error) = self.start(name.clone(), count, ctx) {
            tracing::error!(workerId = name, error = crate::telemetry::chain(&error), "Could not start a worker");
            self.restart_later(name, ctx);
        }
    }
}

/// Ends what is left of a dead worker's tree, then gives its tasks back. Insists: until that is done its tasks would
/// wait for the end of their leases.
async fn reclaim_tasks(queue: &Queue, name: &str, holder: WorkerInstanceId) {
    let mut back_off = BackOff::default();
    loop {
        match reclaim(queue, holder).await {
            Ok(Some(0)) => return,
            Ok(Some(tasks)) => {
                return tracing::warn!(workerId = name, tasks, "Took back the tasks of a worker that died");
            }
            Ok(None) => tracing::error!(workerId = name, "Processes of the worker are left"),
            Err(error) => tracing::warn!(
                workerId = name,
                error = crate::telemetry::chain(&error),
                "Could not take the worker's tasks back yet"
            ),
        }
        back_off.pause().await;
    }
}

impl Actor for SupervisorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        if self.workers.is_empty() && !self.shutting_down {
            self.adopt(ctx);
            self.fill(ctx);
        }
        // Timers of back-off went with a panic: start anew what waited.
        let dead: Vec<String> = self
            .workers
            .iter()
            .filter(|(_, worker)| matches!(worker.life, ProcessState::Dead { .. }))
            .map(|(name, _)| name.clone())
            .collect();
        for name in dead {
            self.restart_later(name, ctx);
        }
        ctx.run_interval(LOOK, Self::check_workers);
    }
}

impl Supervised for SupervisorActor {
    fn restarting(&mut self, _: &mut Context<Self>) {
        self.looked_at = Instant::now();
    }
}
