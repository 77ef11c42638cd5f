//! The composition root: which actors each role has, with their limits, in which order they
//! start, and in which they stop.
//!
//! ```text
//! serve, inline       queue ─▶ worker ─▶ api
//! serve, managed      queue ─▶ supervisor ─▶ (worker processes) ─▶ api
//! serve, standalone   queue ─▶ api
//! worker              queue ─▶ worker ─▶ link, where a supervisor started it
//! ```
//!
//! They stop in reverse, but that the server stays to answer until the work has ended: it only
//! accepts no tasks any more.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::{Actor, Addr, Arbiter, Context, Supervised};
use anyhow::Context as _;
use secrecy::SecretString;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;

use crate::api::{self, ApiActor, ApiKey, Connections, Hosts, Keys, Memory, Shared, Workers};
use crate::claude;
use crate::config::{Config, DEFAULT_KEY, Mode};
use crate::ipc;
use crate::process;
use crate::queue::{self, ChangeNotifier, EventFeed, Queue, QueueActor};
use crate::service::{self, Outbound, Phase, Service};
use crate::store::{self, Store};
use crate::supervise::{RestartPolicy, start_guarded};
use crate::supervisor::{self, Records, SupervisorActor, SupervisorSettings};
use crate::telemetry::Vitals;
use crate::worker::{self, Link, LinkEnd, LinkSettings, News, WorkerActor, WorkerContext};
use domain::{Named as _, WorkerInstanceId};

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
/// News on their way to the supervisor; more are lost.
const NEWS_AHEAD: usize = 256;
/// What was asked before the end is answered in milliseconds, unless another process holds the
/// database.
const CLOSE_LIMIT: Duration = Duration::from_secs(5);
/// After a drain's limit trees are ended, and what is known of them is stored.
const AFTER_DRAIN: Duration = Duration::from_secs(15);
/// Open files of an API process that serves nobody: database, sockets, event loops; measured, and half again.
const FILES_OF_A_SERVER: u64 = 72;
/// Those of a worker process without a task.
const FILES_OF_A_WORKER: u64 = 64;
/// Streams, control socket and pidfd of a task, of its successor's shim, and a moment of both.
const FILES_OF_A_TASK: u64 = 10;
/// Socket and pidfd of a worker process, while it is replaced as well.
const FILES_OF_A_LINK: u64 = 4;
/// Smallest number of connections with which a server starts.
const FEWEST_CONNECTIONS: u64 = 16;
/// A worker without a supervisor does what an API process has left undone for this time.
const STANDS_IN_AFTER: Duration = Duration::from_secs(10);
/// "Internal software error", as sysexits has it.
const FAILED: u8 = 70;

/// How the process ends.
type Exit = anyhow::Result<u8>;

/// The API process, in any mode.
///
/// # Errors
/// Something that it can't live without could not be started.
pub fn serve(config: Config) -> Exit {
    run(async move {
        let mut parts = Parts::new();
        let connections = connections(&config)?;
        let listener = api::bind(SocketAddr::new(config.server.host, config.server.port))
            .with_context(|| format!("can't listen on {} port {}", config.server.host, config.server.port))?;
        let address = listener.local_addr()?;
        let (queue, hub) = parts.start_queue(&config).await?;
        let holder = WorkerInstanceId::new();
        queue::reap_at_start(&queue, holder).await;
        parts.beside(queue::reap_forever(queue.clone(), holder));
        if let Some(retention) = config.store.retention {
            parts.beside(queue::prune_forever(queue.clone(), retention, work_dir(&config)?));
        }
        if config.mode != Mode::Managed {
            supervisor::end_left_behind(&config.store.data_dir);
        }
        let (workers, inline) = match config.mode {
            Mode::Standalone => (Workers::Standalone, None),
            Mode::Inline => {
                let news = News { hub: hub.clone(), link: None };
                let worker = parts.start_worker(&config, "inline".to_owned(), holder, &queue, news)?;
                (Workers::Inline, Some(worker))
            }
            Mode::Managed => (Workers::Managed(parts.start_supervisor(&config, &queue, &hub)?), None),
        };
        let (phase, phases) = watch::channel(Phase::Serving);
        let tail = parts.start_tail(&hub)?;
        let service = service(&config, queue, hub, parts.vitals.clone(), workers.are_local(), Duration::ZERO, phases)?;
        parts.start_duties(&config, &service);
        let shared = shared(&config, service, tail, workers.clone())?;
        let actor = ApiActor::start_server(listener, shared, phase, connections)?;
        let api = parts.guard("api", actor, api::MAILBOX);
        tracing::info!(target: "cc_anywhere::api", url = %format!("http://{address}"), mode = config.mode.name(), "Listening");

        let mut signals = Signals::new()?;
        let failed = parts.until_end(&mut signals).await;
        let limit = config.shutdown_limit;
        tracing::info!(target: "cc_anywhere::api", limit_ms = limit.as_millis() as u64, "Stopping");
        tell(&api, api::Drain).await;
        match workers {
            Workers::Inline => {
                if let Some(worker) = inline {
                    let drained = within(limit + AFTER_DRAIN, tell(&worker, worker::Drain { limit }));
                    signals.hurry(drained, || worker.try_send(worker::StopNow).unwrap_or_default()).await;
                }
            }
            Workers::Managed(supervisor) => {
                // The supervisor itself ends what does not go in time.
                let gone = within(limit + 2 * AFTER_DRAIN, tell(&supervisor, supervisor::Shutdown { limit }));
                signals.hurry(gone, || supervisor.try_send(supervisor::ShutdownNow).unwrap_or_default()).await;
            }
            Workers::Standalone => {}
        }
        within(CLOSE_LIMIT + AFTER_DRAIN, tell(&api, api::Stop)).await;
        parts.end().await;
        Ok(failed)
    })
}

/// What the supervisor of a worker process says on its command line.
#[derive(Debug, clap::Args)]
pub struct WorkerRole {
    /// The life of this worker; a new one where a person starts it
    #[arg(long, hide = true)]
    holder: Option<WorkerInstanceId>,
    /// The socket of the supervisor
    #[arg(long, hide = true)]
    link: Option<PathBuf>,
}

/// A worker process: of a supervisor, or on its own.
///
/// # Errors
/// Something that it can't live without could not be started.
pub fn worker(config: Config, role: WorkerRole) -> Exit {
    run(async move {
        let mut parts = Parts::new();
        descriptors(FILES_OF_A_WORKER + FILES_OF_A_TASK * u64::from(config.worker.concurrency))?;
        let mut signals = Signals::new()?;
        let (queue, hub) = parts.start_queue(&config).await?;
        let holder = role.holder.unwrap_or_else(WorkerInstanceId::new);
        if role.link.is_none() {
            // A supervisor looks after its workers' deaths itself.
            queue::reap_at_start(&queue, holder).await;
            parts.beside(queue::reap_forever(queue.clone(), holder));
        }
        let name = config.worker.id.clone().unwrap_or_else(|| format!("worker-{}", std::process::id()));
        let (link_news, news_ahead) = mpsc::channel(NEWS_AHEAD);
        let (phase, phases) = watch::channel(Phase::Serving);
        if role.link.is_none() {
            // It has no supervisor: with the API down there are still schedules and webhooks.
            let service =
                service(&config, queue.clone(), hub.clone(), parts.vitals.clone(), true, STANDS_IN_AFTER, phases)?;
            parts.start_duties(&config, &service);
        }
        let news = News { hub, link: role.link.is_some().then_some(link_news) };
        let worker = parts.start_worker(&config, name.clone(), holder, &queue, news)?;
        let (ends, mut end) = mpsc::channel(4);
        if let Some(path) = role.link {
            let token = config.link_token.clone().context("a managed worker is started by its supervisor only")?;
            let settings = LinkSettings { path, worker: name.clone(), holder, token };
            actix::spawn(Link::new(settings, worker.clone(), news_ahead, parts.vitals.clone()).keep(ends));
        }
        tracing::info!(target: "cc_anywhere::worker", workerId = name, concurrency = config.worker.concurrency, "Started");

        let own = config.shutdown_limit;
        let (failed, order) = tokio::select! {
            failed = parts.until_end(&mut signals) => (failed, LinkEnd::Alone),
            Some(order) = end.recv() => (0, order),
        };
        phase.send_replace(Phase::Draining);
        let stop = || worker.try_send(worker::StopNow).unwrap_or_default();
        if order.at_once().is_some() {
            stop();
        }
        let drain = order.drain(own);
        let drained = within(drain.limit + AFTER_DRAIN, tell(&worker, drain));
        let drained = async {
            tokio::pin!(drained);
            loop {
                tokio::select! {
                    () = &mut drained => return,
                    Some(LinkEnd::Stop) = end.recv() => stop(),
                }
            }
        };
        signals.hurry(drained, stop).await;
        parts.end().await;
        tracing::info!(target: "cc_anywhere::worker", workerId = name, "Stopped");
        Ok(failed)
    })
}

/// Runs a role. What hangs in a thread of its own (a dead disk, a receiver that never answers) is not waited for: the
/// process ends with it.
fn run(role: impl Future<Output = Exit>) -> Exit {
    let system = actix::System::new();
    let exit = system.block_on(role);
    std::mem::forget(system);
    exit
}

/// Waits for the end of something, but not for ever: SIGTERM always leads to an end.
async fn within(limit: Duration, work: impl Future<Output = ()>) {
    if tokio::time::timeout(limit, work).await.is_err() {
        tracing::error!(limit_ms = limit.as_millis() as u64, "Did not come to its end in time; ending without it");
    }
}

/// Raises the limit of open files as far as the system allows. Returns what is left beside those that are needed.
fn descriptors(needed: u64) -> anyhow::Result<u64> {
    let limit = process::raise_descriptors().context("can't raise the limit of open files")?;
    limit.checked_sub(needed).with_context(|| {
        format!("the limit of open files is {limit}, and {needed} are needed: raise it (ulimit -n {needed})")
    })
}

/// Maximum number of connections, beside what the database, the workers and their tasks need.
fn connections(config: &Config) -> anyhow::Result<usize> {
    let tasks = match config.mode {
        Mode::Inline => FILES_OF_A_TASK * u64::from(config.worker.concurrency),
        Mode::Managed => FILES_OF_A_LINK * u64::from(config.processes.count),
        Mode::Standalone => 0,
    };
    let left = descriptors(FILES_OF_A_SERVER + tasks + FEWEST_CONNECTIONS)? + FEWEST_CONNECTIONS;
    Ok(usize::try_from(left).unwrap_or(usize::MAX))
}

/// Sets up the allocator of this process; first, while there is one thread.
pub fn give_memory_back() {
    process::give_memory_back();
}

/// Tells an actor, again where it restarted meanwhile; when it is gone for good there is
/// nothing to wait for.
async fn tell<A, M>(actor: &Addr<A>, message: M)
where
    A: Actor<Context = Context<A>> + actix::Handler<M>,
    M: actix::Message<Result = ()> + Send + Copy + 'static,
{
    while actor.send(message).await.is_err() && actor.connected() {}
}

/// What the service of this process works with.
fn service(
    config: &Config,
    queue: Queue,
    hub: ChangeNotifier,
    vitals: Vitals,
    has_local_workers: bool,
    stands_in_after: Duration,
    phase: watch::Receiver<Phase>,
) -> anyhow::Result<Service> {
    let secret_file = config.store.data_dir.join("webhook-secret");
    let secret = match &config.server.webhook_secret {
        Some(secret) => secret.clone(),
        None => api::load_or_make_key(&secret_file)
            .map(SecretString::from)
            .with_context(|| format!("can't keep a secret in {}", secret_file.display()))?,
    };
    Ok(Service {
        queue,
        hub,
        vitals,
        claude: config.claude.clone(),
        has_local_workers,
        data_dir: std::fs::canonicalize(&config.store.data_dir)?,
        worktrees: worktrees(config)?,
        work_dir: work_dir(config)?,
        outbound: Outbound::new(&secret, &config.server.webhook_hosts),
        budgets: config.budgets,
        max_pending: config.server.max_pending,
        exclusive_directory: config.server.exclusive_directory,
        stands_in_after,
        phase,
    })
}

/// What the handlers of this process work with.
fn shared(config: &Config, service: Service, tail: EventFeed, workers: Workers) -> anyhow::Result<Shared> {
    let key_file = config.store.data_dir.join("api-key");
    let mut keys = Vec::new();
    if config.server.auth {
        let key = match &config.server.api_key {
            Some(key) => key.clone(),
            None => api::load_or_make_key(&key_file)
                .map(SecretString::from)
                .with_context(|| format!("can't keep a key in {}", key_file.display()))?,
        };
        keys.push((DEFAULT_KEY.to_owned(), ApiKey::new(&key)));
        keys.extend(config.server.named_keys.iter().map(|(name, key)| (name.clone(), ApiKey::new(key))));
    }
    Ok(Shared {
        service,
        tail,
        workers,
        last_stats: Arc::default(),
        connections: Connections::default(),
        memory: Memory::default(),
        concurrency: config.worker.concurrency,
        keys: Keys::new(keys),
        hosts: Hosts::new(&config.server),
        server: config.server.clone(),
    })
}

/// The folder below which tasks get folders of their own; resolved, as the CLI sees it.
fn work_dir(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, "work")
}

/// The folder below which tasks get worktrees of their own; resolved, as the CLI sees it.
fn worktrees(config: &Config) -> anyhow::Result<PathBuf> {
    folder(config, "worktrees")
}

fn folder(config: &Config, name: &str) -> anyhow::Result<PathBuf> {
    let folder = config.store.data_dir.join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
    Ok(std::fs::canonicalize(folder)?)
}

/// The actors of this process with what runs beside them, and the news of their ends.
struct Parts {
    ends: mpsc::Sender<&'static str>,
    ended: mpsc::Receiver<&'static str>,
    beside: Vec<JoinHandle<()>>,
    store: Option<Arc<dyn Store>>,
    /// How the duties of this process stand.
    vitals: Vitals,
}

impl Parts {
    fn new() -> Self {
        let (ends, ended) = mpsc::channel(16);
        Self { ends, ended, beside: Vec::new(), store: None, vitals: Vitals::default() }
    }

    /// Runs until the end of the process.
    fn beside(&mut self, work: impl Future<Output = ()> + 'static) {
        self.beside.push(actix::spawn(work));
    }

    /// Ends what runs beside the actors, and closes the database once nothing uses it.
    async fn end(&mut self) {
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
    fn guard<A>(&self, name: &'static str, actor: A, mailbox: usize) -> Addr<A>
    where
        A: Actor<Context = Context<A>> + Supervised,
    {
        let ends = self.ends.clone();
        start_guarded(name, actor, mailbox, ACTORS, move || ends.try_send(name).unwrap_or_default())
    }

    /// The queue has a thread of its own: nothing else's work delays a commit.
    async fn start_queue(&mut self, config: &Config) -> anyhow::Result<(Queue, ChangeNotifier)> {
        let store = store::open(&config.store.db_path, config.store.accept_loss).await?;
        let hub = ChangeNotifier::default();
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
        self.beside(queue::keep(store, queue.clone(), self.vitals.clone()));
        Ok((queue, hub))
    }

    /// The duties that any process with a queue may do: schedules and webhooks.
    fn start_duties(&mut self, config: &Config, service: &Service) {
        let (delay, disable_after) = (config.server.webhook_retry_delay, config.server.webhook_disable_after);
        self.beside(service::deliver_forever(service.clone(), delay, disable_after));
        self.beside(service::fire_forever(service.clone()));
    }

    /// The events of all tasks, for those who follow them.
    fn start_tail(&mut self, hub: &ChangeNotifier) -> anyhow::Result<EventFeed> {
        let reader = self.store.as_ref().context("no store")?.reader();
        let tail = EventFeed::new(reader, self.vitals.clone());
        self.beside(tail.clone().run(hub.clone()));
        Ok(tail)
    }

    fn start_worker(
        &self,
        config: &Config,
        name: String,
        holder: WorkerInstanceId,
        queue: &Queue,
        news: News,
    ) -> anyhow::Result<Addr<WorkerActor>> {
        let environment = &config.claude.environment;
        let shim = claude::ShimLaunch {
            program: std::env::current_exe()?,
            holder,
            home: environment.iter().find(|(name, _)| name == "HOME").map(|(_, home)| home.clone()),
            namespaces: config.claude.namespaces,
        };
        let tools = WorkerContext {
            name,
            holder,
            spare: Arc::new(worker::ShimPool::new(shim)),
            claude: config.claude.clone(),
            work_dir: work_dir(config)?,
            warm: config.worker.warm,
            standby: Arc::default(),
            worktrees: worktrees(config)?,
            mcp_dir: config.store.data_dir.join("run").join("mcp"),
            tree_log: process::tree_log(&config.store.data_dir),
            lease: config.worker.lease,
            task_timeout: config.worker.task_timeout,
            budgets: config.budgets,
            answer_limit: config.worker.answer_limit,
            park_after: config.worker.park_after,
            vitals: self.vitals.clone(),
        };
        let actor = WorkerActor::new(tools, config.worker.concurrency, queue.clone(), news);
        Ok(self.guard("worker", actor, worker::MAILBOX))
    }

    fn start_supervisor(
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
    async fn until_end(&mut self, signals: &mut Signals) -> u8 {
        tokio::select! {
            () = signals.next() => 0,
            Some(actor) = self.ended.recv() => {
                tracing::error!(target: "cc_anywhere::supervisor", actor, "Ending: an actor can't be kept alive");
                FAILED
            }
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    term: tokio::signal::unix::Signal,
    int: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.int.recv() => {}
        }
    }

    /// Waits for `work`; at each further signal `hurry` is called.
    async fn hurry(&mut self, work: impl Future<Output = ()>, hurry: impl Fn()) {
        tokio::pin!(work);
        loop {
            tokio::select! {
                () = &mut work => return,
                () = self.next() => hurry(),
            }
        }
    }
}
