//! CLI processes that are started before their task: a cold one needs most of a second before it
//! asks the model anything, one that waits answers at once.
//!
//! *Owns* processes that no task has yet, each behind a shim of its own, whose deadline it moves.
//! *Promises* that a task can't tell a warm start from a cold one but by the time: the same options,
//! environment and folder, nothing that another task has touched, and nothing that has changed since
//! the process looked. When the worker dies, their shims end them, as they end any other.
//!
//! Which kinds of tasks have processes is learned ([`warm_policy`](super::warm_policy)).
//!
//! Decided against: keeping the process of a task for the next one. What a task left running in it,
//! or in its memory, is nobody else's business.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::set_up::{WorkerContext, look};
use super::warm_policy::Demand;
use crate::claude::{self, DiskLimit, Item, Run, Session, Start};
use crate::config::{Environment, Sandbox};
use crate::git::State;
use crate::process::{self, wall_now};
use crate::proxy::Pass;
use crate::sandbox::Walls;
use crate::telemetry::traces::variables_of_cli;
use domain::{BootInstant, LeaseTimes, SessionId};
use wire::SdkOptions;

/// Time after which a process that no task has asked for is not kept ready any more.
const IDLE: Duration = Duration::from_secs(600);
/// The CLI tells the model what day it is. Midnights fall on quarters of an hour, wherever one is.
const QUARTER_MS: i64 = 900_000;
/// An end that takes longer is the shim's business.
const END_LIMIT: Duration = Duration::from_secs(5);
/// Time within which files of settings are read.
const LOOK_LIMIT: Duration = Duration::from_secs(3);
/// Files of settings that are looked at in one folder.
const MAX_FILES: usize = 1_000;

/// Recipe of a process. Two tasks with the same recipe could have the same process.
#[derive(Clone, Debug, PartialEq)]
pub struct LaunchSpec {
    /// What the server decides.
    pub settings: claude::Settings,
    /// What the client decides.
    pub sdk: SdkOptions,
    /// Variables that programs in the home need, without those of git.
    pub environment: Environment,
    /// Folder in which it works.
    pub directory: PathBuf,
    /// Name of the client's key.
    pub key: String,
    /// Walls round it.
    pub walls: Option<Walls>,
    /// Limit of what its folders may hold.
    pub disk: Option<DiskLimit>,
}

impl LaunchSpec {
    /// The recipe without what is known of the repository: that is looked at before each start.
    fn kind(&self) -> Self {
        let mut kind = self.clone();
        (kind.settings.repository, kind.settings.environment) = (None, Environment::default());
        kind
    }

    /// Tells the process of the repository as it is now.
    pub fn know(&mut self, state: State) {
        self.settings.repository = state.summary;
        self.settings.environment = self.environment.clone();
        self.settings.environment.extend(state.variables);
    }
}

/// Fingerprint of everything that the CLI has read at its start: when it differs now, the process is stale.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    /// Quarter of an hour since the epoch.
    quarter: i64,
    /// Files of settings, with the time and size of each.
    files: Vec<(PathBuf, Option<std::time::SystemTime>, u64)>,
}

impl Fingerprint {
    async fn of(tools: &WorkerContext, recipe: &LaunchSpec) -> Self {
        let files = match recipe.settings.trusted {
            true => {
                let (directory, config) = (recipe.directory.clone(), tools.claude.config_dir.clone());
                // A folder that does not answer looks like no other stamp: nothing warm is used.
                process::blocking(LOOK_LIMIT, move || settings_of(&directory, config.as_deref()))
                    .await
                    .unwrap_or_default()
            }
            false => Vec::new(),
        };
        Self { quarter: wall_now().0.div_euclid(QUARTER_MS), files }
    }
}

/// Every file of settings that the CLI reads in a folder, with the time and size of each.
fn settings_of(directory: &Path, config: Option<&Path>) -> Vec<(PathBuf, Option<std::time::SystemTime>, u64)> {
    let mut files = Vec::new();
    for folder in directory.ancestors() {
        fingerprint_of(&folder.join("CLAUDE.md"), &mut files);
    }
    fingerprint_of(&directory.join(".claude"), &mut files);
    for name in ["settings.json", "CLAUDE.md", "agents", "skills", "commands"] {
        config.iter().for_each(|config| fingerprint_of(&config.join(name), &mut files));
    }
    files
}

/// Notes a file, or all files below a folder.
fn fingerprint_of(path: &Path, found: &mut Vec<(PathBuf, Option<std::time::SystemTime>, u64)>) {
    let Ok(data) = path.symlink_metadata() else { return };
    if found.len() >= MAX_FILES {
        return;
    }
    if data.is_dir() {
        let mut inside: Vec<_> =
            std::fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
        inside.sort_unstable();
        inside.iter().for_each(|path| fingerprint_of(path, found));
    } else {
        found.push((path.to_owned(), data.modified().ok(), data.len()));
    }
}

/// A process that waits.
struct IdleProcess {
    kind: LaunchSpec,
    recipe: LaunchSpec,
    stamp: Fingerprint,
    run: Run,
    pass: Option<Pass>,
    session: SessionId,
}

/// A process for a task.
pub struct WarmProcess {
    /// The process, which has said nothing to the model yet.
    pub run: Run,
    /// Its right to ask the API.
    pub pass: Option<Pass>,
    /// Session, by which its processes are known too.
    pub session: SessionId,
}

/// A task of some kind, while it runs.
pub struct Running {
    pool: Arc<WarmPool>,
    kind: LaunchSpec,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.pool.pool().demand.ended(&self.kind);
    }
}

/// See the [module](self).
pub struct WarmPool {
    pool: Mutex<Pool>,
}

struct Pool {
    /// Maximum number of processes.
    places: usize,
    demand: Demand<LaunchSpec>,
    waiting: Vec<IdleProcess>,
    /// True if nothing is started any more.
    closed: bool,
}

impl Pool {
    fn number_of(&self, kind: &LaunchSpec) -> usize {
        self.waiting.iter().filter(|waiting| waiting.kind == *kind).count()
    }

    /// True if one more of this kind is wanted. Those that have seen something else than this are ended: no task would be
    /// given them.
    fn lacks(&mut self, kind: &LaunchSpec, recipe: &LaunchSpec, stamp: &Fingerprint) -> bool {
        self.waiting.retain(|one| one.kind != *kind || (one.recipe == *recipe && one.stamp == *stamp));
        !self.closed && self.number_of(kind) < self.demand.wanted(kind)
    }

    /// Ends a process of which there are more than wanted, unless there is room for one more.
    fn make_room(&mut self) {
        while self.waiting.len() >= self.places {
            let is_too_many = |waiting: &IdleProcess| self.number_of(&waiting.kind) > self.demand.wanted(&waiting.kind);
            let at = self.waiting.iter().position(is_too_many).unwrap_or(0);
            // Dropped, it is ended by its shim.
            self.waiting.remove(at);
        }
    }
}

impl WarmPool {
    /// Keeps this many processes ready at most.
    #[must_use]
    pub fn new(places: usize) -> Self {
        let demand = Demand::new(places);
        Self { pool: Mutex::new(Pool { places, demand, waiting: Vec::new(), closed: false }) }
    }

    fn pool(&self) -> std::sync::MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if it ever keeps a process ready.
    pub fn is_used(&self) -> bool {
        self.pool().places > 0
    }

    /// Notes that a task of this recipe runs, until what is returned is dropped.
    pub fn began(self: &Arc<Self>, recipe: &LaunchSpec) -> Running {
        let kind = recipe.kind();
        self.pool().demand.began(&kind, Instant::now());
        Running { pool: Arc::clone(self), kind }
    }

    /// The process that waits for a task of this recipe, if there is one and nothing has changed.
    pub async fn take(&self, tools: &WorkerContext, recipe: &LaunchSpec) -> Option<WarmProcess> {
        if !self.pool().waiting.iter().any(|waiting| waiting.recipe == *recipe) {
            return None;
        }
        let stamp = Fingerprint::of(tools, recipe).await;
        let mut pool = self.pool();
        let at = pool.waiting.iter().position(|waiting| waiting.recipe == *recipe)?;
        let found = pool.waiting.remove(at);
        drop(pool);
        // Dropped, it is ended by its shim.
        (found.stamp == stamp && !found.run.has_ended()).then_some(WarmProcess {
            run: found.run,
            pass: found.pass,
            session: found.session,
        })
    }

    /// Starts a process for the next task of this recipe, where one more is wanted. One of which there are too many makes room.
    pub async fn refill(&self, tools: &WorkerContext, mut recipe: LaunchSpec) {
        let kind = recipe.kind();
        if self.pool().demand.wanted(&kind) == 0 {
            return;
        }
        recipe.know(look(tools, &recipe.directory, recipe.walls.as_ref()).await);
        let stamp = Fingerprint::of(tools, &recipe).await;
        if !self.pool().lacks(&kind, &recipe, &stamp) {
            return;
        }
        let session = SessionId::new();
        let (args, mut env) = claude::command(&recipe.settings, &recipe.sdk, Session::New(session));
        env.extend(variables_of_cli(&tools.traces, None));
        let pass = match tools.let_in(&mut env).await {
            Ok(pass) => pass,
            Err(error) => {
                return tracing::warn!(error = crate::telemetry::chain(&error), "Could not let a process in");
            }
        };
        let mut pool = self.pool();
        if !pool.lacks(&kind, &recipe, &stamp) {
            return;
        }
        pool.make_room();
        let start = Start {
            program: recipe.settings.program.clone(),
            args,
            env,
            directory: recipe.directory.clone(),
            mark: session.into(),
            lease: None,
            tree_log: tools.tree_log.clone(),
            holder: tools.holder,
            deadline: LeaseTimes::new(tools.lease).tree_deadline(crate::process::boot_now()),
            walls: recipe.walls.clone(),
            must_hold: tools.claude.agent.sandbox == Sandbox::Required,
            max_output_bytes: tools.claude.agent.output_bytes,
            disk: recipe.disk.clone(),
        };
        match tools.spare.take().and_then(|shim| Run::start(shim, start)) {
            Ok(mut run) => {
                run.initialize();
                tracing::debug!(directory = %recipe.directory.display(), "A process waits for the next task");
                pool.waiting.push(IdleProcess { kind, recipe, stamp, run, pass, session });
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "Could not start a process ahead of its task");
            }
        }
    }

    /// Moves the deadlines on, and lets go of what has ended or is not wanted. Returns the recipes of what should be started:
    /// it is wanted, and was not started yet, or its quarter of an hour is over.
    pub fn tick(&self, until: BootInstant) -> Vec<LaunchSpec> {
        let quarter = wall_now().0.div_euclid(QUARTER_MS);
        let mut pool = self.pool();
        let Pool { demand, waiting, closed, .. } = &mut *pool;
        Instant::now().checked_sub(IDLE).into_iter().for_each(|time| demand.forget_before(time));
        waiting.retain_mut(|one| {
            one.run.extend(until);
            !one.run.has_ended() && one.stamp.quarter == quarter && demand.knows(&one.kind)
        });
        if *closed {
            return Vec::new();
        }
        let lack = |(kind, wanted): (&LaunchSpec, usize)| {
            let there = waiting.iter().filter(|one| one.kind == *kind).count();
            std::iter::repeat_n(kind.clone(), wanted.saturating_sub(there + demand.running(kind)))
        };
        demand.all_wanted().flat_map(lack).collect()
    }

    /// Ends all of them, and waits until they are gone.
    pub async fn close(&self) {
        let waiting = {
            let mut pool = self.pool();
            pool.closed = true;
            std::mem::take(&mut pool.waiting)
        };
        for mut one in waiting {
            one.run.end(Duration::ZERO);
            let gone = async { while !matches!(one.run.next().await, Item::Ended(_)) {} };
            if tokio::time::timeout(END_LIMIT, gone).await.is_err() {
                tracing::warn!("A process that waited for a task is still there; its shim ends it");
            }
        }
    }
}
