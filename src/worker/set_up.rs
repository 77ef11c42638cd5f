//! Preparation of an attempt before its process starts.

use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};

use super::confine::{self, CommonWalls, TaskPaths};
use super::context_files::{self, Files};
use super::shim_pool::ShimPool;
use super::warm_pool::{LaunchSpec, WarmPool};
use super::worktree;
use crate::claude::{self, DiskLimit, Homes, Session, Start, Unavailable};
use crate::config::{AgentHome, Claude, Environment, Sandbox};
use crate::git::{self, Git, State};
use crate::process::{self, EnvMarks};
use crate::proxy::{Pass, Proxy};
use crate::queue::{Assignment, ConversationState, Queue, ReadTalk};
use crate::telemetry::Vitals;
use domain::{BootInstant, Budgets, Failure, FailureClass, SessionId, Usd, WorkerInstanceId};
use wire::{McpConfig, PermissionMode, SdkOptions, Task};

/// Maximum length of a folder's CLAUDE.md that is passed on, in bytes: with the task's own text it must fit into one
/// argument (128 KiB).
const MAX_CLAUDE_MD_BYTES: u64 = 32 << 10;
/// Time for which a worker without a CLI leaves a task alone, so that another one may take it.
const UNAVAILABLE_DELAY: Duration = Duration::from_secs(10);

/// Time within which a disk that works has read and written what an attempt needs.
const DISK_LIMIT: Duration = Duration::from_secs(20);

/// Context that all attempts of a worker share.
#[derive(Clone)]
pub struct WorkerContext {
    /// The worker's name.
    pub name: String,
    /// Incarnation of the worker; new at each start.
    pub holder: WorkerInstanceId,
    /// The shim of the next attempt.
    pub spare: Arc<ShimPool>,
    /// The settings of the CLI.
    pub claude: Claude,
    /// The folder below which tasks without one get a folder of their own.
    pub work_dir: PathBuf,
    /// The folder below which tasks get worktrees of their own.
    pub worktrees: PathBuf,
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
    /// Number of processes that are kept ready.
    pub warm: usize,
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
    /// State of this process's duties.
    pub vitals: Vitals,
}

impl WorkerContext {
    /// The environment of the CLI, without what it is not to know.
    fn environment(&self) -> Environment {
        let whole = &self.claude.environment;
        self.proxy.as_ref().map_or_else(|| whole.clone(), |proxy| proxy.environment(whole))
    }

    /// Lets the process of an attempt ask the API.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn let_in(&self, environment: &mut Environment) -> io::Result<Option<Pass>> {
        let pass = self.proxy.as_ref().map(Proxy::let_in).transpose()?;
        environment.extend(pass.as_ref().map(Pass::variable));
        Ok(pass)
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
}

/// First message to a session that was interrupted: the instruction stands above it.
const CONTINUE: &str = "The work on the task above was interrupted. Continue where it stopped.";

/// Makes the folder, sees to it that no process of an earlier attempt is left, and decides on
/// the conversation.
pub async fn set_up(
    tools: &Arc<WorkerContext>,
    queue: &Queue,
    assignment: &Assignment,
    deadline: BootInstant,
) -> Result<Ready, NotReady> {
    let task = &assignment.task;
    claude::check(&tools.claude).map_err(|error| unavailable(&error))?;
    if assignment.budget_usd.is_some_and(|left| left <= Usd::ZERO) {
        let message = "its attempts have spent what the task may cost";
        return Err(NotReady::Fail(Failure::new(FailureClass::Invalid, "BUDGET_SPENT", message)));
    }
    let (directory, named) = directory(tools, task).await?;
    if task.attempt > 1 {
        end_earlier_attempts(task, deadline).await?;
    }
    let trusted = is_below(&named, &tools.claude.trusted_roots);
    let further_folders = further_folders(tools, task).await?;
    let on_disk = on_disk(tools, task, &directory, trusted).await?;
    let mut paths = confine::of_repository(tools, queue, task, &directory).await;
    on_disk.add_paths(tools, task, &directory, &further_folders, &mut paths);
    let OnDisk { home, files, session, claude_md, mcp_config } = on_disk;
    let talk = talk(queue, task).await?;
    let mut environment = tools.environment();
    home.iter().for_each(|home| claude::move_in(&mut environment, home));
    let state = look(tools, &directory).await;
    let of_home = environment.clone();
    environment.extend(state.variables);
    let disk = tools
        .claude
        .agent
        .disk_bytes
        .map(|bytes| DiskLimit { folders: paths.write.iter().cloned().chain(home.clone()).collect(), bytes });
    let walls = tools.walls.of(&tools.claude.agent, home.as_deref(), paths);
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
        allowed: talk.allowed.clone(),
        mcp_config,
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
    Ok(Ready { start, instruction, files: named, message, session, recipe })
}

/// Files that an attempt needs.
struct OnDisk {
    home: Option<PathBuf>,
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
        if self.home.is_none() {
            // Shared with the user that runs the service, its login included.
            let of_user = ["HOME", "CLAUDE_CONFIG_DIR", "TMPDIR"];
            let environment = tools.claude.environment.iter();
            let shared = environment.filter(|(name, _)| of_user.contains(&name.as_str()));
            to.operator_write.extend(shared.map(|(_, path)| PathBuf::from(path)));
        }
    }
}

/// Reads and writes it beside the runtime: a folder may be on a network that does not answer.
async fn on_disk(tools: &Arc<WorkerContext>, task: &Task, directory: &Path, trusted: bool) -> Result<OnDisk, NotReady> {
    let (tools, task, directory) = (Arc::clone(tools), task.clone(), directory.to_owned());
    let work = move || {
        let home = tools.homes.prepare(&task.key, task.id).map_err(|error| {
            NotReady::Release(format!("can't make the home of the CLI: {error}"), UNAVAILABLE_DELAY)
        })?;
        let mut configs = tools.homes.config_dirs(&task.key, Some(task.id));
        bring_session(&task, &configs, &directory)?;
        if home.is_some() {
            configs.truncate(1);
        }
        Ok(OnDisk {
            home,
            files: context_files::prepare(&tools, &task, &directory)?,
            session: session(&configs, &task),
            claude_md: if trusted { None } else { claude_md(&directory) },
            mcp_config: mcp_config(&tools, &task)?,
        })
    };
    process::blocking(DISK_LIMIT, work).await.unwrap_or_else(|error| Err(no_answer(&error)))
}

/// A disk or a network behind it that does not answer, or no thread to ask it with.
fn no_answer(error: &io::Error) -> NotReady {
    NotReady::Release(format!("the task's folder does not answer: {error}"), UNAVAILABLE_DELAY)
}

/// Copies the conversation to where the CLI looks for it: into the home of the task, and, where the client asked for
/// that, to the name of this folder.
fn bring_session(task: &Task, configs: &[PathBuf], directory: &Path) -> Result<(), NotReady> {
    for session in task.resume_session_id.into_iter().chain(task.attempted.session_id) {
        match claude::bring_home(configs, session) {
            Ok(()) => {}
            // Whether it is needed is decided by what is there.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => {
                tracing::warn!(%session, error = crate::telemetry::chain(&error), "A session can't be copied");
            }
        }
    }
    let wanted = task.spec.options.sdk.move_session == Some(true) && task.attempt == 1;
    let Some(session) = task.resume_session_id.filter(|_| wanted) else {
        return Ok(());
    };
    claude::move_transcript(configs, session, directory).map_err(|error| {
        let message = format!("the session {session} can't be moved to {}: {error}", directory.display());
        NotReady::Fail(Failure::new(FailureClass::Invalid, "UNKNOWN_SESSION", message))
    })
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
    tools.warm > 0 && fresh && !own && tools.claude.agent.home != AgentHome::Task
}

/// Looks at the repository that a task is to work in.
pub async fn look(tools: &WorkerContext, directory: &Path) -> State {
    match Git::find(&tools.claude) {
        // Worktrees stand outside the roots.
        Ok(git) => git.writing(&[&tools.worktrees]).look(directory).await,
        Err(_) => State { summary: None, variables: git::for_agent(&[]) },
    }
}

/// Reads the state of an earlier attempt's conversation.
async fn talk(queue: &Queue, task: &Task) -> Result<ConversationState, NotReady> {
    if task.attempt == 1 {
        return Ok(ConversationState::default());
    }
    let unknown = |error| NotReady::Release(format!("can't read what was said: {error}"), Duration::from_secs(1));
    queue.ask(ReadTalk(task.id)).await.map_err(unknown)
}

/// Returns the first message, and its number where a client has sent it.
fn initial_prompt(task: &Task, session: Session, talk: ConversationState) -> (String, Option<i64>) {
    let begins_anew = task.attempt == 1 || !matches!(session, Session::Resume(_));
    match (talk.current, talk.next) {
        // Messages follow in turns of their own.
        _ if begins_anew => (task.spec.instruction.clone(), None),
        // Whether the session has heard of it is not known.
        (Some((id, text)), _) => (format!("{CONTINUE}\n\nThe task: {text}"), Some(id)),
        (None, Some((id, text))) if talk.idle => (text, Some(id)),
        (None, _) if task.resume_session_id.is_some() => {
            (format!("{CONTINUE}\n\nThe task: {}", task.spec.instruction), None)
        }
        (None, _) => (CONTINUE.to_owned(), None),
    }
}

fn unavailable(error: &Unavailable) -> NotReady {
    NotReady::Release(error.to_string(), UNAVAILABLE_DELAY)
}

/// The folder of the task, as it really is now, and the one that it stands for: the one that was
/// checked at the submit may have been replaced by a link since.
async fn directory(tools: &WorkerContext, task: &Task) -> Result<(PathBuf, PathBuf), NotReady> {
    let gone = |message: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKING_DIRECTORY", message));
    let worktree = task.spec.options.worktree();
    let named = match (&worktree, &task.spec.context.working_directory) {
        (Some(_), Some(repository)) => Path::new(repository),
        _ => Path::new(task.working_directory.as_deref().unwrap_or("/")),
    };
    if named.starts_with(&tools.work_dir) {
        let made = named.to_owned();
        let user = tools.claude.agent.user;
        let make = move || {
            process::make_private_folder(&made)?;
            process::give(&made, user)
        };
        let made = process::blocking(DISK_LIMIT, make).await;
        made.and_then(|made| made).map_err(|error| {
            NotReady::Release(format!("can't make {}: {error}", named.display()), UNAVAILABLE_DELAY)
        })?;
        return Ok((named.to_owned(), named.to_owned()));
    }
    let found = process::resolve(named.to_owned()).await.map_err(|error| match error.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => no_answer(&error),
        _ => gone(format!("the working directory {} can't be used: {error}", named.display())),
    })?;
    let found = found.path;
    if worktree.is_none() && found != named {
        return Err(gone(format!(
            "the working directory {} leads elsewhere by now: {}",
            named.display(),
            found.display()
        )));
    }
    // The worktree of an earlier task, where its session goes on.
    if !is_below(&found, &tools.claude.workspace_roots) && !found.starts_with(&tools.worktrees) {
        return Err(gone(format!("the working directory {} is outside WORKSPACE_ROOTS", found.display())));
    }
    match worktree {
        Some(options) => Ok((worktree::prepare(tools, task, &options, &found).await?, found)),
        None => Ok((found.clone(), found)),
    }
}

/// The further folders of a task, which are what they were when they were checked.
async fn further_folders(tools: &WorkerContext, task: &Task) -> Result<Vec<String>, NotReady> {
    let mut folders = Vec::new();
    for named in &task.spec.options.sdk.add_dirs {
        let gone = |why: String| NotReady::Fail(Failure::new(FailureClass::Invalid, "WORKING_DIRECTORY", why));
        let found = process::resolve(named.into()).await.map_err(|error| match error.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => no_answer(&error),
            _ => gone(format!("the folder {named} can't be used: {error}")),
        })?;
        if found.path != Path::new(named) || !found.is_dir || !is_below(&found.path, &tools.claude.workspace_roots) {
            return Err(gone(format!("the folder {named} leads elsewhere by now: {}", found.path.display())));
        }
        folders.push(named.clone());
    }
    Ok(folders)
}

fn is_below(path: &Path, roots: &[PathBuf]) -> bool {
    roots.iter().any(|root| path.starts_with(root))
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

/// The conversation of the attempt before, where the CLI wrote it down; else the one that the task
/// goes on with, or its own.
fn session(configs: &[PathBuf], task: &Task) -> Session {
    let own = task.attempted.session_id.unwrap_or(task.id.own_session());
    let transcript = claude::transcript(configs, own);
    match (transcript, task.resume_session_id) {
        (Some(written), _) if written.has_messages() => Session::Resume(own),
        (_, Some(from)) if from == own => Session::Resume(own),
        (None, Some(from)) => Session::Fork { from, id: own },
        (None, None) => Session::New(own),
        // It was begun and says nothing: the CLI neither resumes it nor takes its id again.
        (Some(_), Some(from)) => Session::Fork { from, id: SessionId::new() },
        (Some(_), None) => Session::New(SessionId::new()),
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
        process::make_private_folder(&tools.mcp_dir)?;
        process::write_whole(&file, text.as_bytes())?;
        process::give(&file, tools.claude.agent.user)
    };
    write()
        .map_err(|error| NotReady::Release(format!("can't write {}: {error}", file.display()), UNAVAILABLE_DELAY))?;
    Ok(Some(file))
}

/// The folder's CLAUDE.md, as text: it is advice to the model, and nothing of it is run. No
/// link is followed.
fn claude_md(directory: &Path) -> Option<String> {
    let read = || -> io::Result<String> {
        let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
        let file = std::fs::File::options()
            .read(true)
            .custom_flags(i32::try_from(flags.bits()).unwrap_or_default())
            .open(directory.join("CLAUDE.md"))?;
        if !file.metadata()?.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut bytes = Vec::new();
        io::Read::read_to_end(&mut io::Read::take(file, MAX_CLAUDE_MD_BYTES), &mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).replace('\0', ""))
    };
    let text = read().ok().filter(|text| !text.trim().is_empty())?;
    Some(format!("Notes of this folder (CLAUDE.md):\n\n{text}"))
}
