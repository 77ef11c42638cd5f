//! Executors that do nothing, for the benchmark: what is left is the queue itself. Only in builds with the
//! feature `bench`.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use actix::prelude::*;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

use crate::claude::{Item, Run, Shim, ShimLaunch, Start};
use crate::config::{self, DatabasePassword, DatabaseServer, Environment};
use crate::process::boot_now;
use crate::queue::{
    Append, Beat, ChangeNotifier, Claim, Directory, Finish, MAILBOX, NewDependency, NewTask, PollQueue, Queue,
    QueueActor, ReadStats, ReadWorkers, Renew, SetPaused, Submit, SubmitAll,
};
use crate::store;
use domain::{
    BootInstant, Budgets, Condition, EventKind, Labels, LeaseKey, NewEvent, OnFailure, Outcome, Report, SessionId,
    Status, TaskId, WorkerInstanceId,
};
use wire::TaskSpec;

/// Tasks of one claim, as far ahead as executors with a queue of their own look.
const AHEAD: u32 = 500;
/// Commands that are under way at once.
const UNDER_WAY: usize = 800;
/// Tasks of one batch.
const BATCH: usize = 1_000;
/// Time between two looks while there is nothing to claim and no hint comes.
const LOOK: Duration = Duration::from_millis(50);
/// Longer than any run.
const LEASE: Duration = Duration::from_secs(600);

/// A queue with an executor in this process.
pub struct NoOp {
    queue: Queue,
    hub: ChangeNotifier,
    holder: WorkerInstanceId,
}

impl NoOp {
    /// Opens a database: in a file of this path, or at an address that begins with `postgres://`.
    pub async fn open(place: &str) -> Self {
        Self::open_on(place, &Arbiter::new().handle()).await
    }

    /// The same, with its queue in this thread.
    pub async fn open_on(place: &str, thread: &ArbiterHandle) -> Self {
        let server = place.starts_with("postgres://").then(|| DatabaseServer {
            url: place.into(),
            listen_url: None,
            password: DatabasePassword::default(),
        });
        let (db_path, data_dir) = (PathBuf::from(place), std::env::temp_dir());
        let settings = config::Store {
            db_path,
            server,
            password: DatabasePassword::default(),
            data_dir,
            accept_loss: false,
            search_index: false,
            retention: None,
            max_bytes: None,
        };
        let store = store::open(&settings).await.expect("a database");
        let hub = ChangeNotifier::default();
        let actor = QueueActor::new(store, hub.clone(), crate::telemetry::Vitals::default());
        let (sender, started) = tokio::sync::oneshot::channel();
        thread.spawn_fn(move || {
            let address = QueueActor::create(|ctx| {
                ctx.set_mailbox_capacity(MAILBOX);
                actor
            });
            sender.send(address).unwrap_or_default();
        });
        Self { queue: Queue(started.await.expect("a queue")), hub, holder: WorkerInstanceId::new() }
    }

    /// Submits this many tasks.
    pub async fn submit(&self, count: usize) {
        let submit = || {
            let (submit, queue) = (new_task(Vec::new()), self.queue.clone());
            async move { queue.ask(submit).await.expect("stored") }
        };
        let mut under_way = FuturesUnordered::new();
        for _ in 0..count {
            under_way.push(actix::spawn(submit()));
            if under_way.len() >= UNDER_WAY {
                under_way.next().await;
            }
        }
        while under_way.next().await.is_some() {}
    }

    /// Submits this many tasks, each of which depends on the one before.
    pub async fn submit_chain(&self, count: usize) {
        let mut before: Option<TaskId> = None;
        let tasks: Vec<Submit> = (0..count)
            .map(|_| {
                let submit = new_task(before.into_iter().map(after).collect());
                before = Some(submit.task.id);
                submit
            })
            .collect();
        self.submit_all(tasks).await;
    }

    /// Submits a task, this many that depend on it, and one that depends on all of these.
    pub async fn submit_fan(&self, count: usize) {
        let first = new_task(Vec::new());
        let wide: Vec<Submit> = (0..count).map(|_| new_task(vec![after(first.task.id)])).collect();
        let last = new_task(wide.iter().map(|submit| after(submit.task.id)).collect());
        self.submit_all([first].into_iter().chain(wide).chain([last]).collect()).await;
    }

    async fn submit_all(&self, mut tasks: Vec<Submit>) {
        while !tasks.is_empty() {
            let rest = tasks.split_off(tasks.len().min(BATCH));
            self.queue.ask(SubmitAll(tasks)).await.expect("stored").expect("taken");
            tasks = rest;
        }
    }

    /// Claims what is ready and finishes it, until this many tasks have ended. Returns the durations of claims that found
    /// something, and of the commits of ends.
    pub async fn drain_times(&self, count: usize) -> (Vec<Duration>, Vec<Duration>) {
        let (mut done, mut claims, mut ends) = (0, Vec::new(), Vec::new());
        while done < count {
            let began = Instant::now();
            let claimed = self.queue.ask(self.claim(AHEAD)).await.expect("a claim");
            if claimed.is_empty() {
                // Dependents are told by commits behind the one of the end.
                tokio::task::yield_now().await;
                continue;
            }
            claims.push(began.elapsed());
            done += claimed.len();
            let began = Instant::now();
            let finish = |key| {
                let report = Report::of(Outcome::Completed);
                self.queue.ask(Finish { key, report, credential: String::new(), events: Vec::new(), chance: 0.0 })
            };
            let finishes = claimed.into_iter().map(|assignment| finish(assignment.key));
            futures_util::future::join_all(finishes).await;
            ends.push(began.elapsed());
        }
        claims.sort_unstable();
        ends.sort_unstable();
        (claims, ends)
    }

    fn claim(&self, limit: u32) -> Claim {
        Claim {
            holder: self.holder,
            worker: "no-op".to_owned(),
            credential: String::new(),
            labels: Labels::default(),
            limit,
            budgets: Budgets::default(),
            lease: LEASE,
        }
    }

    /// Claims, does nothing, and finishes, at a concurrency of ten, until this many tasks have ended or nothing
    /// came for `patience`. Returns how many.
    pub async fn drain(&self, count: usize, patience: Duration) -> usize {
        let (mut done, mut last) = (0, Instant::now());
        let mut hints = self.hub.work();
        let mut finishes = FuturesUnordered::new();
        while done < count && last.elapsed() < patience {
            // As a worker: what fails is tried again.
            let claimed = self.queue.insist(&self.claim(AHEAD), "a claim").await;
            let nothing = claimed.is_empty();
            if nothing && finishes.is_empty() {
                drop(tokio::time::timeout(LOOK, hints.changed()).await);
                continue;
            }
            let run = futures_util::stream::iter(claimed).map(|assignment| async move { assignment.key });
            let mut run = run.buffer_unordered(10);
            while let Some(key) = run.next().await {
                let report = Report::of(Outcome::Completed);
                let finish = Finish { key, report, credential: String::new(), events: Vec::new(), chance: 0.0 };
                let queue = self.queue.clone();
                finishes.push(actix::spawn(async move { queue.insist(&finish, "a finish").await.is_ok() }));
            }
            // Those of this claim are committed together with the next one.
            let left = if nothing || done + finishes.len() >= count { 0 } else { AHEAD as usize };
            while finishes.len() > left
                && let Some(ok) = finishes.next().await
            {
                done += usize::from(ok.expect("no panic"));
            }
            last = Instant::now();
        }
        done
    }

    /// Returns the durations of single claims, each with a commit of its own.
    pub async fn claim_times(&self, count: usize) -> Vec<Duration> {
        let mut times = Vec::new();
        for _ in 0..count {
            let began = Instant::now();
            let claimed = self.queue.ask(self.claim(1)).await.expect("a claim");
            times.push(began.elapsed());
            assert_eq!(claimed.len(), 1, "there was one");
        }
        times.sort_unstable();
        times
    }

    /// Works as a worker with this many agents does, for a time: each agent stores an event about once a second, the worker
    /// beats, renews, and looks for work. Returns how long each event took to be stored.
    pub async fn live(&self, agents: u32, time: Duration) -> Vec<Duration> {
        let until = Instant::now() + time;
        // All of a fleet begin at once.
        let claimed = loop {
            tokio::time::sleep(pause(5)).await;
            if let Ok(claimed) = self.queue.ask(self.claim(agents)).await {
                break claimed;
            }
        };
        let leases: Vec<LeaseKey> = claimed.iter().map(|assignment| assignment.key).collect();
        let agent = |key: LeaseKey| async move {
            let mut times = Vec::new();
            tokio::time::sleep(pause(1)).await;
            while Instant::now() < until {
                let event = NewEvent::new(EventKind::Log, &serde_json::json!({ "message": "x".repeat(400) }));
                let (from, events) = (times.len() as i64, vec![event]);
                let began = Instant::now();
                let append = Append {
                    key,
                    from,
                    events,
                    session_id: None,
                    cost_so_far: None,
                    looping: None,
                    transcript: Vec::new(),
                    essential: false,
                };
                while self.queue.ask(append.clone()).await.is_err() {}
                times.push(began.elapsed());
                tokio::time::sleep(pause(2)).await;
            }
            times
        };
        // What fails is tried again with the next second.
        let duties = async {
            let mut second = 0;
            while Instant::now() < until {
                tokio::time::sleep(Duration::from_secs(1)).await;
                second += 1;
                if second % 5 == 0 {
                    let beat = Beat {
                        holder: self.holder,
                        name: "no-op".to_owned(),
                        running: 0,
                        concurrency: 10,
                        labels: Labels::default(),
                    };
                    drop(self.queue.ask(beat).await);
                }
                if second % 10 == 0 {
                    let renew = Renew { holder: self.holder, leases: leases.clone(), lease: LEASE };
                    drop(self.queue.ask(renew).await);
                }
                let look = PollQueue {
                    holder: self.holder,
                    credential: String::new(),
                    leases: leases.clone(),
                    heard: Vec::new(),
                    budgets: Vec::new(),
                    labels: Labels::default(),
                    claim: None,
                };
                drop(self.queue.ask(look).await);
            }
        };
        let agents = futures_util::future::join_all(leases.iter().map(|key| agent(*key)));
        let (times, ()) = futures_util::join!(agents, duties);
        times.concat()
    }

    /// Holds claims back, or lets them go on.
    pub async fn pause(&self, paused: bool) {
        self.queue.ask(SetPaused(paused)).await.expect("stored");
    }

    /// Says that this executor is here.
    pub async fn say_that_it_is_here(&self) {
        self.beat(self.holder.uuid().as_u128()).await;
    }

    /// The heartbeat of a worker of this number.
    pub async fn beat(&self, worker: u128) {
        let holder = WorkerInstanceId::from_u128(worker);
        let beat = Beat { holder, name: "no-op".to_owned(), running: 0, concurrency: 10, labels: Labels::default() };
        self.queue.ask(beat).await.expect("stored");
    }

    /// Waits until there are this many.
    pub async fn workers(&self, count: usize) {
        while self.queue.ask(ReadWorkers).await.expect("the workers").len() < count {
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tasks that have completed.
    pub async fn completed(&self) -> i64 {
        self.queue.ask(ReadStats(None)).await.expect("the counts").count(Status::Completed)
    }
}

/// A task that does nothing.
fn new_task(dependencies: Vec<NewDependency>) -> Submit {
    let task = NewTask {
        id: TaskId::new(),
        spec: TaskSpec::of("x".to_owned()),
        directory: Directory::OwnBelow("/tmp".into()),
        retry_of: None,
        dependencies,
        key: "default".to_owned(),
        share: ("default".to_owned(), 1),
        sees_all: true,
        exclusive: false,
        resumes: None,
        trace_parent: None,
    };
    Submit { task: Box::new(task), idempotency: None, max_pending: i64::MAX, limits: wire::KeyLimits::default() }
}

fn after(task: TaskId) -> NewDependency {
    let (condition, on_failure) = (Condition::default(), OnFailure::default());
    NewDependency { task, condition, on_failure, name: None, is_new: true }
}

/// A random time below this many seconds.
fn pause(seconds: u32) -> Duration {
    Duration::from_secs(seconds.into()).mul_f64(crate::process::chance())
}

/// Starts a shim and this CLI behind it, one after the other until the time is over: how many this machine
/// can start at all. `most` at a time.
pub async fn starts_a_second(program: &Path, cli: &Path, folder: &Path, most: usize, time: Duration) -> f64 {
    let until = Instant::now() + time;
    let lane = || async {
        let mut count = 0;
        while Instant::now() < until {
            start_one(program.to_owned(), cli.to_owned(), folder.to_owned()).await;
            count += 1;
        }
        count
    };
    let counts: Vec<u32> = futures_util::future::join_all((0..most).map(|_| lane())).await;
    f64::from(counts.iter().sum::<u32>()) / time.as_secs_f64()
}

async fn start_one(program: PathBuf, cli: PathBuf, folder: PathBuf) {
    let (holder, now) = (WorkerInstanceId::new(), boot_now());
    let shim =
        Shim::start(&ShimLaunch { program, holder, home: None, namespaces: true, settings: None }).expect("a shim");
    let start = Start {
        program: cli,
        args: vec!["-p".to_owned()],
        env: Environment::default(),
        directory: folder.clone(),
        mark: SessionId::new().into(),
        lease: None,
        tree_log: folder.join("trees"),
        holder,
        deadline: BootInstant { ms: now.ms + 60_000, ..now },
        walls: None,
        must_hold: false,
        max_output_bytes: None,
        disk: None,
    };
    let mut run = Run::start(shim, start).expect("a start");
    run.instruct("x", &[]);
    run.finish_input();
    while !matches!(run.next().await, Item::Ended(_)) {}
}
