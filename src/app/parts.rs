//! The actors of a process, each under guard, and what runs beside them.

use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Context, Supervised};
use anyhow::Context as _;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::roles::{self, homes, mcp_dir, repositories, work_dir, worktrees};
use super::stop::{CLOSE_LIMIT, Signals};
use crate::claude;
use crate::config::{Config, Sandbox};
use crate::ipc;
use crate::process;
use crate::proxy::{Proxy, ProxyLaunch};
use crate::queue::{self, ChangeNotifier, EventFeed, Queue, QueueActor, Reaper, WordIndexer};
use crate::sandbox::SettingsWatch;
use crate::service::{self, Search, Service};
use crate::store::{self, Blobs, Leadership, Store};
use crate::supervise::{RestartPolicy, start_guarded};
use crate::supervisor::{self, Records, SupervisorActor, SupervisorSettings};
use crate::telemetry::Vitals;
use crate::worker::{self, CommonWalls, News, WorkerActor, WorkerContext};
use domain::{Labels, WorkerInstanceId, check_label};

/// An actor that panics is back within milliseconds; one that does nothing but panic ends the
/// process, so that the level above restarts it.
const ACTORS: RestartPolicy = RestartPolicy {
    limit: 20,
    window: Duration::from_secs(60),
    first_delay: Duration::from_millis(10),
    max_delay: Duration::from_secs(1),
};
/// A worker process that ends is back soon; one that ends too often is tried at a slow pace.
const WORKERS: RestartPolicy = RestartPolicy {
    limit: 5,
    window: Duration::from_secs(60),
    first_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(15),
};
/// Streams, control socket and pidfd of a task, of its successor's shim, and a moment of both.
pub const FILES_OF_A_TASK: u64 = 10;
/// "Internal software error", as sysexits has it.
const FAILED: u8 = 70;

/// Raises the limit of open files as far as the system allows. Returns what is left beside those that are needed.
pub fn descriptors(needed: u64) -> anyhow::Result<u64> {
    let limit = process::raise_descriptors().context("can't raise the limit of open files")?;
    limit.checked_sub(needed).with_context(|| {
        format!("the limit of open files is {limit}, and {needed} are needed: raise it (ulimit -n {needed})")
    })
}

/// What a worker of this process has: its settings' labels, and the name of its machine.
fn labels(config: &Config) -> Labels {
    let host = Some(format!("host={}", process::host_name())).filter(|label| check_label(label).is_ok());
    config.worker.labels.iter().cloned().chain(host).collect()
}

/// The actors of this process with what runs beside them, and the news of their ends.
pub struct Parts {
    ends: mpsc::Sender<&'static str>,
    ended: mpsc::Receiver<&'static str>,
    beside: Vec<JoinHandle<()>>,
    store: Option<Arc<dyn Store>>,
    /// State of this process's duties.
    pub vitals: Vitals,
}

impl Parts {
    /// Starts without parts.
    pub fn new() -> Self {
        let (ends, ended) = mpsc::channel(16);
        Self { ends, ended, beside: Vec::new(), store: None, vitals: Vitals::default() }
    }

    /// Runs until the end of the process.
    pub fn beside(&mut self, work: impl Future<Output = ()> + 'static) {
        self.beside.push(actix::spawn(work));
    }

    /// Ends what runs beside the actors, and closes the database once nothing uses it.
    pub async fn end(&mut self) {
        for work in self.beside.drain(..) {
            work.abort();
            // An error says that it was aborted.
            drop(work.await);
        }
        if let Some(store) = self.store.take()
            && tokio::time::timeout(CLOSE_LIMIT, store.close()).await.is_err()
        {
            tracing::warn!("the database is still in use");
        }
    }

    /// Starts an actor that the process can't live without.
    pub fn guard<A>(&self, name: &'static str, actor: A, mailbox: usize) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        let ends = self.ends.clone();
        start_guarded(name, actor, mailbox, ACTORS, move || ends.try_send(name).unwrap_or_default())
    }

    /// The queue has a thread of its own: nothing else's work delays a commit.
    pub async fn start_queue(&mut self, config: &Config) -> anyhow::Result<(Queue, ChangeNotifier)> {
        let store = store::open(&config.store).await?;
        store.limit_size(config.store.max_bytes);
        let hub = if store.spans_machines() { ChangeNotifier::default() } else { ChangeNotifier::of_one_machine() };
        let actor = QueueActor::new(Arc::clone(&store), hub.clone(), self.vitals.clone());
        let (sender, started) = oneshot::channel();
        let arbiter = Arbiter::new();
        let ends = self.ends.clone();
        arbiter.spawn_fn(move || {
            let give_up = move || ends.try_send("queue").unwrap_or_default();
            drop(sender.send(start_guarded("queue", actor, queue::MAILBOX, ACTORS, give_up)));
        });
        self.store = Some(Arc::clone(&store));
        let queue = Queue(started.await.context("the queue did not start")?);
        self.beside(queue::keep(store, queue.clone(), hub.rest(), self.vitals.clone()));
        Ok((queue, hub))
    }

    /// The contents of files.
    pub fn blobs(&self) -> anyhow::Result<Arc<dyn Blobs>> {
        Ok(self.store()?.blobs())
    }

    fn store(&self) -> anyhow::Result<&Arc<dyn Store>> {
        self.store.as_ref().context("no store")
    }

    /// Makes this process one of those that may lead; it must [start the duties](Self::start_duties).
    pub fn stand(&self) -> anyhow::Result<Leadership> {
        Ok(self.store()?.stand())
    }

    /// Leaves the duties of the leader to others.
    pub fn resign(&self) {
        if let Some(store) = &self.store {
            store.resign();
        }
    }

    /// All that a leader does: what was left by workers, schedules, webhooks, retention. A process that lacks one of them
    /// must not stand: while it led, nobody would do that.
    pub fn start_duties(&mut self, config: &Config, service: &Service, reaper: Reaper) {
        let Reaper { queue, leadership, .. } = reaper.clone();
        self.beside(queue::reap_forever(reaper));
        if let Some(after) = config.server.label_alarm {
            self.beside(service::alarm_forever(service.clone(), after));
        }
        self.beside(service::watch_pace_forever(service.clone(), config.worker.loop_guard));
        self.beside(queue::tidy_forever(queue.clone(), leadership.clone()));
        if let Some(retention) = config.store.retention {
            self.beside(queue::prune_forever(queue, leadership, retention, config.store.clone()));
        }
        let (delay, disable_after) = (config.server.webhook_retry_delay, config.server.webhook_disable_after);
        self.beside(service::deliver_forever(service.clone(), delay, disable_after));
        self.beside(service::fire_forever(service.clone()));
        self.beside(service::tidy_files_forever(service.clone()));
        self.beside(service::reseal_forever(service.clone()));
    }

    /// The events of all tasks, for those who follow them.
    pub fn start_tail(&mut self, hub: &ChangeNotifier) -> anyhow::Result<EventFeed> {
        let reader = self.store()?.reader();
        let tail = EventFeed::new(reader, self.vitals.clone());
        self.beside(tail.clone().run(hub.clone()));
        Ok(tail)
    }

    /// Search in conversations, and what fills its index. Without an index the service goes on.
    pub fn start_search(&mut self, config: &Config, service: &Service) -> Search {
        let store = self.store.clone().filter(|_| config.store.search_index);
        let opened = store.and_then(|store| match store.word_index() {
            Ok(index) => Some((store.reader(), index)),
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "Conversations can't be searched");
                None
            }
        });
        let index = opened.map(|(reader, index)| {
            let leadership = service.leadership.clone();
            let indexer = WordIndexer { reader, index: Arc::clone(&index), leadership };
            self.beside(indexer.run(service.hub.clone()));
            index
        });
        Search::new(service.queue.clone(), index)
    }

    /// The worker of this process.
    pub fn start_worker(
        &self,
        config: &Config,
        name: String,
        holder: WorkerInstanceId,
        queue: &Queue,
        news: News,
    ) -> anyhow::Result<Addr<WorkerActor>> {
        let settings = (config.claude.agent.sandbox != Sandbox::Off).then(SettingsWatch::begin);
        let shim = claude::ShimLaunch::new(&config.claude, holder, settings.clone())?;
        worker::check_required(config)?;
        roles::check_agent_user(config)?;
        let proxy = ProxyLaunch { program: shim.program.clone(), holder, log: config.log.clone() };
        let proxy = Proxy::start(&config.claude, proxy).context("the credential proxy can't be started")?;
        worker::log_configuration(config, proxy.is_some());
        actix::spawn(worker::try_and_log(config.clone(), proxy.clone(), settings));
        // A port behind which nobody asks for a key.
        let open_port = (!config.server.auth).then_some(config.server.port);
        let tools = WorkerContext {
            name,
            labels: labels(config),
            mirrors: self.store()?.spans_machines(),
            holder,
            spare: Arc::new(worker::ShimPool::new(shim)),
            claude: config.claude.clone(),
            blobs: self.blobs()?,
            files: config.files,
            secrets: roles::secret_keys(config)?,
            work_dir: work_dir(config)?,
            standby: Arc::new(worker::WarmPool::new(config.worker.warm)),
            worktrees: worktrees(config)?,
            repositories: repositories(config)?,
            proxy,
            homes: homes(config)?,
            walls: CommonWalls::new(&config.claude, worker::hidden(config), open_port),
            handover_limit: config.handover.lease(),
            handovers: claude::handover_folder(&config.store.data_dir),
            mcp_dir: mcp_dir(config)?,
            tree_log: process::tree_log(&config.store.data_dir),
            lease: config.worker.lease,
            task_timeout: config.worker.task_timeout,
            budgets: config.budgets,
            answer_limit: config.worker.answer_limit,
            park_after: config.worker.park_after,
            max_event_bytes: config.worker.max_event_bytes,
            loop_guard: config.worker.loop_guard,
            traces: config.traces.clone(),
            vitals: self.vitals.clone(),
        };
        let actor = WorkerActor::new(tools, config.worker.concurrency, queue.clone(), news);
        Ok(self.guard("worker", actor, worker::MAILBOX))
    }

    /// The supervisor, with the socket of its workers.
    pub fn start_supervisor(
        &self,
        config: &Config,
        queue: &Queue,
        hub: &ChangeNotifier,
    ) -> anyhow::Result<Addr<SupervisorActor>> {
        let socket = ipc::socket_path(&config.store.data_dir);
        let listening = ipc::listen(&socket).with_context(|| format!("can't listen on {}", socket.display()))?;
        let settings = SupervisorSettings {
            count: config.processes.count,
            heartbeat_limit: config.processes.heartbeat_limit,
            drain_limit: config.shutdown_limit,
            hand_over: config.handover.by_workers,
            policy: WORKERS,
            program: std::env::current_exe()?,
            environment: config.for_children.clone(),
            socket,
        };
        let records = Records::open(&config.store.data_dir)?;
        let actor = SupervisorActor::new(settings, records, queue.clone(), hub.clone());
        let supervisor = self.guard("supervisor", actor, supervisor::MAILBOX);
        actix::spawn(supervisor::accept_links(listening, supervisor.clone()));
        actix::spawn(supervisor::pass_hints_on(hub.clone(), supervisor.clone()));
        Ok(supervisor)
    }

    /// Waits for a signal (0), or for the end of an actor that the process can't live without
    /// ([`FAILED`]).
    pub async fn until_end(&mut self, signals: &mut Signals) -> u8 {
        tokio::select! {
            () = signals.next() => 0,
            Some(actor) = self.ended.recv() => {
                tracing::error!(target: "cc_anywhere::supervisor", actor, "Ending: an actor can't be kept alive");
                FAILED
            }
        }
    }
}
