//! Admission: the checks before a task is stored, as if its client submitted it now.

use std::borrow::Cow;
use std::collections::HashSet;
use std::path::Path;

use domain::{Budgets, Named as _, TaskId};
use serde_json::{Value, json};
use wire::{ContextFile, PermissionMode, TaskSpec, WebhookOptions, WorktreeOptions, can_be_named};

use super::children;
use super::dependencies;
use super::files;
use super::folders::{folder, resolve};
use super::outbound::Unfit;
use super::secrets;
use super::session::Conversation;
use super::{Caller, Kind, Phase, Refusal, Service};
use crate::claude;
use crate::git::{Git, GitError, Repository};
use crate::process;
use crate::queue::{Directory, MAX_LANES, NewTask, Submit, Submitted};
use crate::telemetry::traces;

/// How a task comes to be, besides its request.
#[derive(Default)]
pub struct Origin<'a> {
    /// Its id, where it has one already.
    pub id: Option<TaskId>,
    /// The task that it repeats.
    pub retry_of: Option<TaskId>,
    /// The client's key for it and the fingerprint of its request.
    pub idempotency: Option<(String, String)>,
    /// The tasks that are stored together with it.
    pub batch: Cow<'a, HashSet<TaskId>>,
}

/// Carries out every check before a task is stored. What few tasks need is boxed, so that the others don't carry the room for it.
pub async fn admit(
    service: &Service,
    mut spec: TaskSpec,
    caller: &Caller,
    origin: Origin<'_>,
) -> Result<Submit, Refusal> {
    if service.phase() != Phase::Serving {
        return Err(Refusal::draining());
    }
    spec.validate()?;
    let caller = &match spec.parent {
        Some(parent) => Box::pin(children::caller_of(service, caller, parent, &mut spec)).await?,
        None => caller.clone(),
    };
    let dependencies = dependencies::resolve(&mut spec, &origin.batch)?;
    check_ceiling(service, caller, &spec)?;
    check_budget(service, caller, &spec)?;
    secrets::check(service, caller, &spec).await?;
    if let Some(webhook) = &spec.options.webhook {
        check_webhook(service, "options.webhook.url", webhook)?;
    }
    // Stored as they were checked, without links: at the start they must be that still.
    for dir in &mut spec.options.sdk.add_dirs {
        *dir = Box::pin(folder(service, caller, "options.sdk.addDirs", dir)).await?;
    }
    let conversation = Box::pin(Conversation::of(service, caller, &spec)).await?;
    let named = spec.context.working_directory.as_ref();
    let named = match named {
        Some(named) => Some(Box::pin(folder(service, caller, "context.workingDirectory", named)).await?),
        None => None,
    };
    if !spec.context.files.is_empty() {
        Box::pin(check_files(service, caller, &mut spec, named.as_deref())).await?;
    }
    spec.context.working_directory.clone_from(&named);
    let directory = match (&conversation, named) {
        (Some(conversation), named) => {
            Directory::Named(Box::pin(conversation.directory(service, caller, named)).await?)
        }
        (None, None) if spec.context.repository.is_some() => {
            check_repository(service, caller, &spec)?;
            Directory::WorktreeBelow(service.worktrees.display().to_string(), String::new())
        }
        (None, Some(named)) => match spec.options.worktree() {
            Some(options) => Box::pin(worktree(service, caller, &options, &named)).await?,
            None => Directory::Named(named),
        },
        (None, None) => Directory::OwnBelow(service.work_dir.display().to_string()),
    };
    if service.has_local_workers {
        claude::check(&service.claude)
            .map_err(|error| Refusal::new(Kind::Unavailable, "CLAUDE_UNAVAILABLE", error.to_string()))?;
    }
    let resumes = conversation.map(|conversation| conversation.resumes);
    let (exclusive, key) = (exclusive(service, &spec, &directory), caller.name().to_owned());
    let task = Box::new(NewTask {
        id: origin.id.unwrap_or_else(TaskId::new),
        share: service.fairness.share_of(&key, &spec.tags),
        exclusive,
        spec,
        directory,
        retry_of: origin.retry_of,
        dependencies,
        key,
        sees_all: caller.is_admin(),
        resumes,
        trace_parent: traces::current(),
    });
    let idempotency = origin.idempotency;
    Ok(Submit { task, idempotency, max_pending: service.max_pending, limits: caller.limits().clone() })
}

/// Returns the refusal for a task that the queue has not taken.
pub fn not_taken(service: &Service, refused: &Submitted) -> Refusal {
    if let Some(why) = dependencies::not_met(refused).or_else(|| children::not_taken(refused)) {
        return why;
    }
    match refused {
        Submitted::KeyLimit { limit, most } => key_limit(limit, *most),
        Submitted::SessionInUse(task) => {
            let message =
                format!("task {task} works in this session; wait for its end, or set options.sdk.forkSession");
            Refusal::new(Kind::Conflict, "SESSION_IN_USE", message).with(json!({ "taskId": task }))
        }
        Submitted::NoFile(id) => files::not_there(id),
        Submitted::TooManyLanes => Refusal::new(
            Kind::Full,
            "TOO_MANY_LABEL_SETS",
            format!(
                "pending tasks require {MAX_LANES} different sets of labels already; use one of these, or try again later"
            ),
        ),
        Submitted::Full => {
            let message = format!("{} tasks are pending already; try again later", service.max_pending);
            Refusal::new(Kind::Full, "QUEUE_FULL", message)
        }
        _ => Refusal::invalid("Idempotency-Key", "was used for another request; use a new key for a new task"),
    }
}

/// Refusal where a key has reached a limit of its own.
pub fn key_limit(limit: &str, most: i64) -> Refusal {
    let message = format!("the key has reached its limit {limit} of {most}; try again later, or ask for a higher one");
    Refusal::new(Kind::Full, "KEY_LIMIT", message).with(json!({ "limit": limit, "most": most }))
}

/// Files that are named are there, and inside the roots. Those outside the working folder get the names that they were
/// found under.
async fn check_files(
    service: &Service,
    caller: &Caller,
    spec: &mut TaskSpec,
    directory: Option<&str>,
) -> Result<(), Refusal> {
    const FIELD: &str = "context.files";
    for file in &mut spec.context.files {
        let ContextFile::Path(named) = file else { continue };
        let path = match directory {
            Some(directory) => Path::new(directory).join(&*named),
            None if Path::new(named).is_absolute() => named.as_str().into(),
            None => {
                let rule = format!("\"{named}\" must be absolute where there is no context.workingDirectory");
                return Err(Refusal::invalid(FIELD, rule));
            }
        };
        let found = resolve(service, caller, FIELD, &path.display().to_string()).await?;
        if !found.path.to_str().is_some_and(can_be_named) {
            return Err(Refusal::invalid(
                FIELD,
                format!("\"{named}\" leads to a name with \" or # or control characters"),
            ));
        }
        if !directory.is_some_and(|directory| found.path.starts_with(directory)) {
            *named = found.path.display().to_string();
        }
    }
    Ok(())
}

/// Checks that the repository can give a task a worktree.
async fn worktree(
    service: &Service,
    caller: &Caller,
    options: &WorktreeOptions,
    named: &str,
) -> Result<Directory, Refusal> {
    let unfit = |field: &'static str| move |error: GitError| Refusal::invalid(field, crate::telemetry::chain(&error));
    let git = Git::find(&service.claude).map_err(unfit("options.useWorktree"))?.reading_all();
    let repository = Repository::of(&git, Path::new(named)).await.map_err(unfit("options.useWorktree"))?;
    for whole in [&repository.top, &repository.git_dir] {
        // All of the repository is in the worktree.
        folder(service, caller, "options.useWorktree", &whole.display().to_string()).await?;
    }
    let base = options.base_branch.as_deref();
    repository.base(&git, base).await.map_err(unfit("options.worktree.baseBranch"))?;
    if let Some(branch) = &options.branch {
        repository.check_branch(&git, branch).await.map_err(unfit("options.worktree.branch"))?;
    }
    Ok(Directory::WorktreeBelow(service.worktrees.display().to_string(), repository.below.display().to_string()))
}

/// Refuses a repository that the operator does not name. A key that is bound to folders has none besides these.
fn check_repository(service: &Service, caller: &Caller, spec: &TaskSpec) -> Result<(), Refusal> {
    let Some(remote) = &spec.context.repository else { return Ok(()) };
    let allowed = &service.claude.repository_urls;
    let is_allowed = allowed.iter().any(|allowed| remote.is_below(allowed));
    if is_allowed && caller.rights().roots.is_empty() {
        return Ok(());
    }
    let why = if is_allowed { "the key is bound to folders (roots)" } else { "REPOSITORY_URLS does not name it" };
    let message = format!("context.repository.url: tasks may not use \"{}\": {why}", remote.url);
    let details = json!({ "field": "context.repository.url", "repositoryUrls": allowed });
    Err(Refusal::forbidden("REPOSITORY_NOT_ALLOWED", message).with(details))
}

/// Refuses an address that is not sent to.
pub fn check_webhook(service: &Service, field: &str, webhook: &WebhookOptions) -> Result<(), Refusal> {
    match service.outbound.check(&webhook.url) {
        Ok(()) => Ok(()),
        Err(private @ Unfit::Private) => {
            let message = format!("{field}: {private}");
            Err(Refusal::forbidden("ADDRESS_NOT_ALLOWED", message).with(json!({ "field": field })))
        }
        Err(unfit) => Err(Refusal::invalid(field, unfit.to_string())),
    }
}

/// True if no other task may work in its folder meanwhile. A folder of its own is always that.
fn exclusive(service: &Service, spec: &TaskSpec, directory: &Directory) -> bool {
    let wanted = spec.options.exclusive_directory.unwrap_or(service.exclusive_directory);
    wanted && matches!(directory, Directory::Named(_))
}

/// Refuses a task that could never start, because it may cost more than a whole day's budget.
fn check_budget(service: &Service, caller: &Caller, spec: &TaskSpec) -> Result<(), Refusal> {
    let own = caller.limits().daily_budget_usd;
    let budgets = Budgets { key: own.or(service.budgets.key), ..service.budgets };
    match (spec.options.sdk.max_budget_usd, budgets.of_day()) {
        (Some(most), Some(day)) if most > day => {
            let message = format!(
                "options.sdk.maxBudgetUsd {most} is above what a day may cost ({day}, DAILY_BUDGET_USD, KEY_DAILY_BUDGET_USD \
                and the key's own budget)"
            );
            Err(Refusal::forbidden("BUDGET_EXCEEDED", message).with(json!({ "dailyBudgetUsd": day })))
        }
        _ => Ok(()),
    }
}

/// Refuses what the server doesn't let tasks do, and says which rule it is.
fn check_ceiling(service: &Service, caller: &Caller, spec: &TaskSpec) -> Result<(), Refusal> {
    let sdk = &spec.options.sdk;
    let ceiling = ceiling(service, caller);
    let refuse = |what: String| {
        let message = format!("{what} is above {ceiling}");
        Err(Refusal::forbidden("PERMISSION_CEILING", message))
    };
    if let Some(mode) = sdk.permission_mode.filter(|mode| *mode > ceiling.mode) {
        return refuse(format!("options.sdk.permissionMode {}", mode.name()));
    }
    if sdk.permission_mode == Some(PermissionMode::BypassPermissions)
        && service.has_local_workers
        && process::effective_uid() == 0
    {
        let message = "bypassPermissions is refused by the CLI when it runs as root; run the server as another user, or use acceptEdits with allowedTools";
        return Err(Refusal::forbidden("PERMISSION_CEILING", message));
    }
    // A server's command runs before the model says a word: none comes from a task.
    for (name, server) in sdk.mcp_config.iter().flat_map(|config| &config.mcp_servers) {
        let ours = service.claude.mcp_servers.get(name);
        let (asked, ours) = (without_required(server), ours.map(without_required));
        let is_empty = asked.as_object().is_some_and(serde_json::Map::is_empty);
        if ours.is_none_or(|ours| !is_empty && ours != asked) {
            let known: Vec<_> = service.claude.mcp_servers.keys().collect();
            let message = format!(
                "options.sdk.mcpConfig.mcpServers.{name}: is not on this server's list (MCP_CONFIG); name one of it, with an empty object"
            );
            return Err(Refusal::forbidden("PERMISSION_CEILING", message).with(json!({ "mcpServers": known })));
        }
    }
    if let Some(tool) = sdk.allowed_tools.iter().find(|tool| !ceiling.mode.covers(tool)) {
        return refuse(format!("options.sdk.allowedTools {tool}"));
    }
    let has_command = spec.verify.as_ref().is_some_and(|verify| verify.command.is_some());
    if has_command && !ceiling.mode.covers("Bash") {
        return refuse("verify.command, which is as much as allowing Bash,".to_owned());
    }
    Ok(())
}

/// Highest permission mode of a key's tasks.
#[derive(Clone, Copy)]
pub struct Ceiling {
    /// The mode.
    pub mode: PermissionMode,
    /// True if the key's own is lower than the server's.
    is_own: bool,
}

impl std::fmt::Display for Ceiling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.is_own {
            true => write!(f, "what the key may ask for (maxPermissionMode {})", self.mode.name()),
            false => write!(f, "MAX_PERMISSION_MODE={}", self.mode.name()),
        }
    }
}

/// The lower one of the server's ceiling and the key's.
pub fn ceiling(service: &Service, caller: &Caller) -> Ceiling {
    let most = service.claude.max_permission_mode;
    let own = caller.rights().max_permission_mode.filter(|own| *own < most);
    Ceiling { mode: own.unwrap_or(most), is_own: own.is_some() }
}

/// An MCP server without our own word about it: whether a task needs it.
fn without_required(server: &Value) -> Value {
    let mut server = server.clone();
    if let Some(fields) = server.as_object_mut()
        && fields.get("required").is_some_and(Value::is_boolean)
    {
        fields.shift_remove("required");
    }
    server
}
