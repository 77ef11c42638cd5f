//! Preparation of an attempt before its process starts.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustix::fs::CWD;
use seal::Keys;
use sha2::{Digest, Sha256};

use super::check::CheckPlace;
use super::confine::{self, CommonWalls, TaskPaths};
use super::context_files::{self, Files};
use super::conversation::{CONTINUE, bring_session, initial_prompt, restore, rules, session, stored_transcripts, talk};
use super::dependencies::filled;
use super::folders::{directory, further_folders, is_below};
use super::secrets::{self, Given};
use super::shim_pool::ShimPool;
use super::warm_pool::{LaunchSpec, WarmPool};
use crate::claude::{self, DiskLimit, Homes, Session, Start, Unavailable};
use crate::config::{self, AgentHome, Claude, Environment, Sandbox, Traces};
use crate::git::{self, Git, State};
use crate::process::{self, EnvMarks};
use crate::proxy::{Pass, Proxy};
use crate::queue::{Assignment, Queue};
use crate::sandbox::Walls;
use crate::store::Blobs;
use crate::telemetry::Vitals;
use domain::{BootInstant, Budgets, Failure, FailureClass, Labels, SessionId, Usd, WorkerInstanceId};
use wire::{McpConfig, PermissionMode, SdkOptions, Task};

/// Maximum length of a folder's CLAUDE.md that is passed on, in bytes: with the task's own text it must fit into one
/// argument (128 KiB).
const MAX_CLAUDE_MD_BYTES: u64 = 32 << 10;
/// Time for which a worker without a CLI leaves a task alone, so that another one may take it.
pub const UNAVAILABLE_DELAY: Duration = Duration::from_secs(10);

/// Time within which a disk that works has read and written what an attempt needs.
pub const DISK_LIMIT: Duration = Duration::from_secs(20);

/// Context that all attempts of a worker share.
#[derive(Clone)]
pub struct WorkerContext {
    /// The worker's name.
    pub name: String,
    /// What it has.
    pub labels: Labels,
    /// True if transcripts are stored, since a task may go on on another machine.
    pub mirrors: bool,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// The shim of the next attempt.
    pub spare: Arc<ShimPool>,
    /// The settings of the CLI.
    pub claude: Claude,
    /// Contents of files.
    pub blobs: Arc<dyn Blobs>,
    /// Limits of files.
    pub files: config::Files,
    /// Keys that open secrets.
    pub secrets: Option<Arc<Keys>>,
    /// The folder below which tasks without one get a folder of their own.
    pub work_dir: PathBuf,
    /// The folder below which tasks get worktrees of their own.
    pub worktrees: PathBuf,
    /// The folder of clones.
    pub repositories: PathBuf,
    /// Time that another worker has to take over an attempt.
    pub handover_limit: Duration,
    /// Folder of the sockets of attempts that are handed over.
    pub handovers: PathBuf,
    /// Folder for the configuration files of MCP servers.
    pub mcp_dir: PathBuf,
    /// The way of the CLI to the API; `None` where it has the credential itself.
    pub proxy: Option<Proxy>,
    /// Homes of the CLI.
    pub homes: Homes,
    /// The part of the walls that all tasks have.
    pub walls: CommonWalls,
    /// File in which shims note the beginnings and ends of trees.
    pub tree_log: PathBuf,
    /// Duration of a claim.
    pub lease: Duration,
    /// The time limit of an attempt whose task sets none.
    pub task_timeout: Duration,
    /// Processes that were started before their task.
    pub standby: Arc<WarmPool>,
    /// The limits of money.
    pub budgets: Budgets,
    /// Time that people have to answer a question.
    pub answer_limit: Duration,
    /// Time for which a question is waited for in a slot.
    pub park_after: Duration,
    /// Bytes of events that an attempt stores whole.
    pub max_event_bytes: u64,
    /// Failures of the same call after which a task is marked; 0: never.
    pub loop_guard: u32,
    /// Where traces go.
    pub traces: Traces,
    /// State of this process's duties.
    pub vitals: Vitals,
}

impl WorkerContext {
    /// The environment of the CLI, without what it is not to know.
    ///
    /// # Errors
    /// The credential proxy has died, and can't be started anew.
    fn environment(&self) -> io::Result<Environment> {
        let whole = &self.claude.environment;
        self.proxy.as_ref().map_or_else(|| Ok(whole.clone()), |proxy| proxy.environment(whole))
    }

    /// Gets ready for the next attempt what it would have to wait for: a shim, and the proxy's answer.
    pub fn refill(&self) {
        self.spare.refill();
        if let Some(proxy) = self.proxy.clone() {
            tokio::spawn(async move { proxy.prepare().await });
        }
    }

    /// Lets the process of an attempt ask the API.
    ///
    /// # Errors
    /// The system has no randomness, or the proxy does not answer.
    pub async fn let_in(&self, environment: &mut Environment) -> io::Result<Option<Pass>> {
        let Some(proxy) = &self.proxy else { return Ok(None) };
        let pass = proxy.let_in().await?;
        environment.push(pass.variable());
        Ok(Some(pass))
    }

    /// The permission mode of a task.
    pub fn mode_of(&self, task: &Task) -> PermissionMode {
        let default = PermissionMode::AcceptEdits.min(self.claude.max_permission_mode);
        task.spec.options.sdk.permission_mode.unwrap_or(default)
    }
}

/// Reason for which an attempt was not begun.
pub enum NotReady {
    /// The attempt can't begin here now; the task is released without counting an attempt.
    Release(String, Duration),
    /// The attempt could never succeed.
    Fail(Failure),
}

/// An attempt that is ready to be started.
pub struct Ready {
    /// Process to start.
    pub start: Start,
    /// First message.
    pub instruction: String,
    /// The files that come with it.
    pub files: Vec<String>,
    /// The message that this is, where it is one.
    pub message: Option<i64>,
    /// Conversation.
    pub session: Session,
    /// Recipe from which the process could have been started before there was a task.
    pub recipe: Option<LaunchSpec>,
    /// Secrets, which it has until it is reported.
    pub secrets: Given,
    /// Surroundings of the checks of its work.
    pub check: Option<CheckPlace>,
}

/// Makes the folder, sees to it that no process of an earlier attempt is left, and decides on
/// the conversation.
pub async fn set_up(
    tools: &Arc<WorkerContext>,
    queue: &Queue,
    assignment: &Assignment,
    deadline: BootInstant,
) -> Result<Ready, NotReady> {
    let task = &filled(queue, &assignment.task).await?;
    claude::check(&tools.claude).map_err(|error| unavailable(&error))?;
    if assignment.budget_usd.is_some_and(|left| left <= Usd::ZERO) {
        let message = "its attempts have spent what the task may cost";
        return Err(NotReady::Fail(Failure::new(FailureClass::Invalid, "BUDGET_SPENT", message)));
    }
    // They could change what is made here.
    if task.attempt > 1 {
        end_earlier_attempts(task, deadline).await?;
    }
    // Side by side: each waits for the disk.
    let (directory, home) = tokio::join!(directory(tools, queue, task), home(tools, task));
    let ((directory, named), home) = (directory?, home?);
    context_files::fetch(tools, queue, task).await?;
    let secrets = secrets::give(tools, queue, task).await?;
    let trusted = is_below(&named, &tools.claude.trusted_roots);
    let further_folders = further_folders(tools, task).await?;
    let transcripts = stored_transcripts(tools, queue, task).await?;
    let on_disk = on_disk(tools, task, &directory, home.is_some(), trusted, transcripts).await?;
    let mut paths = confine::of_repository(tools, queue, task, &directory).await;
    on_disk.add_paths(tools, task, &directory, &further_folders, &mut paths);
    if home.is_none() {
        paths.operator_write.extend(confine::of_user(&tools.claude));
    }
    let OnDisk { files, session, claude_md, mcp_config } = on_disk;
    let talk = talk(queue, task).await?;
    let mut environment = tools.environment().map_err(|error| {
        NotReady::Release(format!("the credential proxy can't be started: {error}"), UNAVAILABLE_DELAY)
    })?;
    home.iter().for_each(|home| claude::move_in(&mut environment, home));
    let disk = tools
        .claude
        .agent
        .disk_bytes
        .map(|bytes| DiskLimit { folders: paths.write.iter().cloned().chain(home.clone()).collect(), bytes });
    paths.read.extend(secrets.folder.clone());
    let walls = tools.walls.of(&tools.claude.agent, home.as_deref(), paths);
    let state = look(tools, &directory, walls.as_ref()).await;
    let of_home = environment.clone();
    let check = task.spec.verify.as_ref().map(|_| {
        let mut place = CheckPlace::new(&of_home, directory.clone(), walls.clone(), disk.clone());
        place.add(state.variables.iter().chain(&secrets.variables).cloned());
        place
    });
    environment.extend(state.variables);
    environment.extend(secrets.variables.iter().cloned());
    let settings = claude::Settings {
        program: tools.claude.path.clone().ok_or_else(|| unavailable(&Unavailable::NoCli))?,
        environment,
        trusted,
        claude_md,
        repository: state.summary,
        mode: tools.mode_of(task),
        questions: task.spec.options.questions.unwrap_or_default(),
        max_budget_usd: assignment.budget_usd,
        add_dir: files.folder,
        allowed: rules(tools, queue, task, &talk.allowed).await?,
        mcp_config,
        mirror: tools.mirrors,
    };
    let sdk = SdkOptions { add_dirs: further_folders, ..task.spec.options.sdk.clone() };
    let recipe = may_be_warm(tools, task, &settings, session, &directory).then(|| LaunchSpec {
        settings: settings.clone(),
        sdk: sdk.clone(),
        environment: of_home,
        directory: directory.clone(),
        key: task.key.clone(),
        walls: walls.clone(),
        disk: disk.clone(),
    });
    let (args, env) = claude::command(&settings, &sdk, session);
    let (instruction, message) = initial_prompt(task, session, talk);
    // A session that goes on has read them.
    let named = if message.is_none() && instruction != CONTINUE { files.named } else { Vec::new() };
    let start = Start {
        program: settings.program,
        args,
        env,
        directory,
        mark: task.id.into(),
        lease: Some(assignment.key),
        tree_log: tools.tree_log.clone(),
        holder: tools.holder,
        deadline,
        walls,
        must_hold: tools.claude.agent.sandbox == Sandbox::Required,
        max_output_bytes: tools.claude.agent.output_bytes,
        disk,
    };
    Ok(Ready { start, instruction, files: named, message, session, recipe, secrets, check })
}

/// Files that an attempt needs.
struct OnDisk {
    files: Files,
    session: Session,
    claude_md: Option<String>,
    mcp_config: Option<PathBuf>,
}

impl OnDisk {
    /// Adds the paths that the task gets.
    fn add_paths(
        &self,
        tools: &WorkerContext,
        task: &Task,
        directory: &Path,
        further_folders: &[String],
        to: &mut TaskPaths,
    ) {
        to.write.push(directory.to_owned());
        to.write.extend(further_folders.iter().map(PathBuf::from));
        to.read.extend(self.files.folder.clone());
        to.read.extend(self.mcp_config.clone());
        let files = self.files.named.iter().map(PathBuf::from);
        to.read.extend(files.filter(|file| !file.starts_with(directory)));
        let servers = task.spec.options.sdk.mcp_config.iter().flat_map(|config| config.mcp_servers.keys());
        let servers = servers.filter_map(|name| tools.claude.mcp_servers.get(name));
        to.operator.extend(servers.flat_map(confine::of_mcp_server));
    }
}

/// Makes the home of the CLI ready; `None` where tasks have none.
async fn home(tools: &WorkerContext, task: &Task) -> Result<Option<PathBuf>, NotReady> {
    let (homes, key, id) = (tools.homes.clone(), task.key.clone(), task.id);
    let prepare = move || homes.prepare(&key, id);
    let made = process::blocking(DISK_LIMIT, prepare).await.map_err(|error| no_answer(&error))?;
    made.map_err(|error| NotReady::Release(format!("can't make the home of the CLI: {error}"), UNAVAILABLE_DELAY))
}

/// Reads and writes it beside the runtime: a folder may be on a network that does not answer.
async fn on_disk(
    tools: &Arc<WorkerContext>,
    task: &Task,
    directory: &Path,
    has_home: bool,
    trusted: bool,
    transcripts: Vec<(SessionId, String)>,
) -> Result<OnDisk, NotReady> {
    let (tools, task, directory) = (Arc::clone(tools), task.clone(), directory.to_owned());
    let work = move || {
        let mut configs = tools.homes.config_dirs(&task.key, Some(task.id));
        restore(&transcripts, &configs, &directory);
        bring_session(&task, &configs, &directory)?;
        if has_home {
            configs.truncate(1);
        }
        Ok(OnDisk {
            files: context_files::prepare(&tools, &task, &directory)?,
            session: session(&configs, &task),
            claude_md: if trusted { None } else { claude_md(&directory) },
            mcp_config: mcp_config(&tools, &task)?,
        })
    };
    process::blocking(DISK_LIMIT, work).await.unwrap_or_else(|error| Err(no_answer(&error)))
}

/// A disk or a network behind it that does not answer, or no thread to ask it with.
pub fn no_answer(error: &io::Error) -> NotReady {
    NotReady::Release(format!("the task's folder does not answer: {error}"), UNAVAILABLE_DELAY)
}

/// True if a process for this task could be started before there is such a task: nothing in its recipe may be this
/// task's own.
fn may_be_warm(
    tools: &WorkerContext,
    task: &Task,
    settings: &claude::Settings,
    session: Session,
    directory: &Path,
) -> bool {
    let own = directory.starts_with(&tools.work_dir) || directory.starts_with(&tools.worktrees);
    let fresh = task.attempt == 1 && matches!(session, Session::New(_)) && settings.add_dir.is_none();
    // One that waits has the environment of its start.
    let fresh = fresh && task.spec.secrets.is_empty();
    tools.standby.is_used() && fresh && !own && tools.claude.agent.home != AgentHome::Task
}

/// Looks at the repository that a task is to work in, as the task itself could.
pub async fn look(tools: &WorkerContext, directory: &Path, walls: Option<&Walls>) -> State {
    match Git::confined(&tools.claude) {
        Ok(git) => git.reading_as(walls).look(directory).await,
        Err(_) => State { summary: None, variables: git::for_agent(&[]) },
    }
}

fn unavailable(error: &Unavailable) -> NotReady {
    NotReady::Release(error.to_string(), UNAVAILABLE_DELAY)
}

/// Two process trees of one task must never run at a time, whatever became of the worker
/// that had it before.
async fn end_earlier_attempts(task: &Task, deadline: BootInstant) -> Result<(), NotReady> {
    if deadline.is_past(process::boot_now()) {
        // We slept through our lease; by now it may be a later attempt that runs.
        return Err(NotReady::Release("the lease could not be renewed".to_owned(), Duration::ZERO));
    }
    if process::end_all(EnvMarks::of_task(task.id, task.attempted.session_id)).await {
        Ok(())
    } else {
        Err(NotReady::Release("processes of an earlier attempt are left".to_owned(), Duration::from_secs(1)))
    }
}

/// A file with the servers that the task names, as the operator has them, readable for this user only.
/// Name says what is in it, so that any number of attempts share it.
fn mcp_config(tools: &WorkerContext, task: &Task) -> Result<Option<PathBuf>, NotReady> {
    let Some(named) = &task.spec.options.sdk.mcp_config else { return Ok(None) };
    let find = |name: &String| {
        let missing = || NotReady::Release(format!("this worker's MCP_CONFIG has no {name}"), UNAVAILABLE_DELAY);
        let mut server = tools.claude.mcp_servers.get(name).cloned().ok_or_else(missing)?;
        // Ours, and not the CLI's.
        if let Some(server) = server.as_object_mut() {
            server.remove("required");
        }
        Ok((name.clone(), server))
    };
    let mcp_servers = named.mcp_servers.keys().map(find).collect::<Result<_, NotReady>>()?;
    let text = serde_json::to_string(&McpConfig { mcp_servers }).unwrap_or_default();
    let digest = hex::encode(&Sha256::digest(&text)[..16]);
    let file = tools.mcp_dir.join(format!("{digest}.json"));
    let write = || -> io::Result<()> {
        process::write_whole(&file, text.as_bytes())?;
        process::give(&file, tools.claude.agent.user)
    };
    write()
        .map_err(|error| NotReady::Release(format!("can't write {}: {error}", file.display()), UNAVAILABLE_DELAY))?;
    Ok(Some(file))
}

/// The folder's CLAUDE.md, as text: it is advice to the model, and nothing of it is run. No
/// link is followed, on the way to it neither.
fn claude_md(directory: &Path) -> Option<String> {
    let bytes = process::read(CWD, &directory.join("CLAUDE.md"), MAX_CLAUDE_MD_BYTES).ok()?;
    let text = String::from_utf8_lossy(&bytes).replace('\0', "");
    (!text.trim().is_empty()).then(|| format!("Notes of this folder (CLAUDE.md):\n\n{text}"))
}
