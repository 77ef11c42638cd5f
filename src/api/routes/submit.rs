//! A new task: everything that is checked before anything is stored.

use std::io::ErrorKind;
use std::path::{Component, Path};

use actix_web::http::{StatusCode, header};
use actix_web::web::{Data, Payload};
use actix_web::{HttpMessage, HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use utoipa::ToSchema;

use super::super::auth::Caller;
use super::super::error::ApiError;
use super::super::shared::{Phase, Shared};
use super::super::view::TaskView;
use super::super::{input, stream};
use super::{conversation, webhooks};
use crate::claude;
use crate::config::DEFAULT_KEY;
use crate::git::{Git, GitError, Repository};
use crate::process::{self, Resolved};
use crate::queue::{Directory, NewTask, Submit, SubmitAll, Submitted};
use domain::TaskId;
use wire::{ContextFile, PermissionMode, Task, TaskSpec, WorktreeOptions, can_be_named};

/// The longest `Idempotency-Key`, in bytes.
const MAX_KEY_BYTES: usize = 255;

/// Tasks of one batch.
const MAX_BATCH: usize = 1_000;

/// `POST /api/tasks`
pub async fn submit(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let body = input::body(payload).await?;
    let spec: TaskSpec = input::json(&request, &body)?;
    let idempotency = idempotency(&request, &body)?;
    let wait = spec.options.run_async == Some(false);
    let (task, repeated) = store(&shared, spec, caller(&request), None, idempotency).await?;
    if !wait {
        return Ok(accepted(&task, repeated));
    }
    let limit = shared.server.wait_limit;
    let task = stream::wait_for_end(&shared, task.id, limit).await?.unwrap_or(task);
    let status = if task.status.is_terminal() { StatusCode::OK } else { StatusCode::GATEWAY_TIMEOUT };
    Ok(HttpResponse::build(status).insert_header(location(task.id)).json(TaskView::of(&task)))
}

/// Several tasks of one request.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    #[schema(min_items = 1, max_items = 1000)]
    tasks: Vec<TaskSpec>,
}

/// `POST /api/tasks/batch`: all or none.
pub async fn batch(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let body = input::body(payload).await?;
    let Batch { tasks } = input::json(&request, &body)?;
    if !(1..=MAX_BATCH).contains(&tasks.len()) {
        let rule = format!("must have 1 to {MAX_BATCH} tasks, got {}", tasks.len());
        return Err(ApiError::invalid("tasks", rule));
    }
    let idempotency = idempotency(&request, &body)?;
    let mut submits = Vec::with_capacity(tasks.len());
    for (n, spec) in tasks.into_iter().enumerate() {
        if spec.options.run_async == Some(false) {
            return Err(
                ApiError::invalid("options.async", "can't be false in a batch, which waits for no end").of_task(n)
            );
        }
        // One key stands for all of them.
        let own = idempotency.as_ref().map(|(key, print)| (format!("{key}/{n}/batch"), print.clone()));
        let submit = checked(&shared, spec, caller(&request), None, own).await;
        submits.push(submit.map_err(|error| error.of_task(n))?);
    }
    let stored = shared.queue.ask(SubmitAll(submits)).await?;
    let stored = stored.map_err(|(n, refused)| match refused {
        Submitted::KeyReused => refusal(&shared, &refused),
        refused => refusal(&shared, &refused).of_task(n),
    })?;
    let tasks: Vec<_> = stored.iter().map(|(task, _)| receipt(task)).collect();
    let mut response = HttpResponse::Accepted();
    if stored.iter().all(|(_, repeated)| *repeated) {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    Ok(response.json(json!({ "tasks": tasks })))
}

/// `POST /api/tasks/{id}/retry`, when the old task is known.
pub async fn again(shared: &Shared, key: String, old: Task) -> Result<HttpResponse, ApiError> {
    let mut spec = old.spec;
    // Its time has passed; the new task is due at once.
    spec.run_at = None;
    let (task, _) = store(shared, spec, key, Some(old.id), None).await?;
    Ok(accepted(&task, false))
}

pub fn accepted(task: &Task, repeated: bool) -> HttpResponse {
    let mut response = HttpResponse::Accepted();
    response.insert_header(location(task.id));
    if repeated {
        response.insert_header(("Idempotent-Replayed", "true"));
    }
    response.json(receipt(task))
}

fn receipt(task: &Task) -> Value {
    json!({
        "taskId": task.id,
        "status": task.status,
        "createdAt": task.created_at,
        "priority": task.spec.priority,
        "workingDirectory": task.working_directory,
        "retryOf": task.retry_of,
    })
}

fn location(id: TaskId) -> (header::HeaderName, String) {
    (header::LOCATION, format!("/api/tasks/{id}"))
}

fn idempotency(request: &HttpRequest, body: &[u8]) -> Result<Option<(String, String)>, ApiError> {
    let Some(key) = request.headers().get("idempotency-key") else { return Ok(None) };
    let key = key.to_str().unwrap_or_default();
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(ApiError::invalid("Idempotency-Key", format!("must have 1 to {MAX_KEY_BYTES} ASCII characters")));
    }
    let fingerprint: String = Sha256::digest(body).iter().map(|byte| format!("{byte:02x}")).collect();
    // Each client has its own; what the first key is called would change the names that are stored.
    let owner = caller(request);
    let key = if owner == DEFAULT_KEY { key.to_owned() } else { format!("{owner}/{key}") };
    Ok(Some((key, fingerprint)))
}

async fn store(
    shared: &Shared,
    spec: TaskSpec,
    key: String,
    retry_of: Option<TaskId>,
    idempotency: Option<(String, String)>,
) -> Result<(Task, bool), ApiError> {
    let submit = checked(shared, spec, key, retry_of, idempotency).await?;
    match shared.queue.ask(submit).await? {
        Submitted::Created(task) => Ok((*task, false)),
        Submitted::Repeated(task) => Ok((*task, true)),
        refused => Err(refusal(shared, &refused)),
    }
}

/// Everything that is checked before a task is stored.
pub async fn checked(
    shared: &Shared,
    spec: TaskSpec,
    key: String,
    retry_of: Option<TaskId>,
    idempotency: Option<(String, String)>,
) -> Result<Submit, ApiError> {
    if shared.phase() != Phase::Serving {
        return Err(ApiError::draining());
    }
    spec.validate()?;
    check_ceiling(shared, &spec)?;
    check_budget(shared, &spec)?;
    if let Some(webhook) = &spec.options.webhook {
        webhooks::check(shared, "options.webhook.url", webhook)?;
    }
    for dir in &spec.options.sdk.add_dirs {
        folder(shared, "options.sdk.addDirs", dir).await?;
    }
    let conversation = conversation::of(shared, &spec).await?;
    let named = spec.context.working_directory.as_ref();
    let named = match named {
        Some(named) => Some(folder(shared, "context.workingDirectory", named).await?),
        None => None,
    };
    check_files(shared, &spec, named.as_deref()).await?;
    let directory = match (&conversation, named) {
        (Some(conversation), named) => Directory::Named(conversation.directory(shared, named).await?),
        (None, Some(named)) => match spec.options.worktree() {
            Some(options) => worktree(shared, &options, &named).await?,
            None => Directory::Named(named),
        },
        (None, None) => Directory::OwnBelow(shared.work_dir.display().to_string()),
    };
    if shared.workers.are_local() {
        claude::check(&shared.claude)
            .map_err(|error| ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "CLAUDE_UNAVAILABLE", error.to_string()))?;
    }
    let resumes = conversation.map(|conversation| conversation.resumes);
    let task = NewTask { exclusive: exclusive(shared, &spec, &directory), spec, directory, retry_of, key, resumes };
    Ok(Submit { task, idempotency, max_pending: shared.server.max_pending })
}

/// Why the queue has not taken a task.
pub fn refusal(shared: &Shared, refused: &Submitted) -> ApiError {
    match refused {
        Submitted::SessionInUse(task) => {
            let message =
                format!("task {task} works in this session; wait for its end, or set options.sdk.forkSession");
            ApiError::new(StatusCode::CONFLICT, "SESSION_IN_USE", message).with(json!({ "taskId": task }))
        }
        Submitted::Full => {
            let message = format!("{} tasks are pending already; try again later", shared.server.max_pending);
            ApiError::new(StatusCode::TOO_MANY_REQUESTS, "QUEUE_FULL", message)
        }
        _ => ApiError::invalid("Idempotency-Key", "was used for another request; use a new key for a new task"),
    }
}

/// Files that are named are there, and inside the roots.
async fn check_files(shared: &Shared, spec: &TaskSpec, directory: Option<&str>) -> Result<(), ApiError> {
    const FIELD: &str = "context.files";
    for file in &spec.context.files {
        let ContextFile::Path(named) = file else { continue };
        let path = match directory {
            Some(directory) => Path::new(directory).join(named),
            None if Path::new(named).is_absolute() => named.into(),
            None => {
                let rule = format!("\"{named}\" must be absolute where there is no context.workingDirectory");
                return Err(ApiError::invalid(FIELD, rule));
            }
        };
        let found = resolve(shared, FIELD, &path.display().to_string()).await?;
        if !found.path.to_str().is_some_and(can_be_named) {
            return Err(ApiError::invalid(
                FIELD,
                format!("\"{named}\" leads to a name with \" or # or control characters"),
            ));
        }
    }
    Ok(())
}

/// Checks that the repository can give a task a worktree.
async fn worktree(shared: &Shared, options: &WorktreeOptions, named: &str) -> Result<Directory, ApiError> {
    let unfit = |field: &'static str| {
        move |error: GitError| ApiError::invalid(field, crate::telemetry::chain(&error).to_string())
    };
    let git = Git::find(&shared.claude.environment).map_err(unfit("options.useWorktree"))?;
    let repository = Repository::of(&git, Path::new(named)).await.map_err(unfit("options.useWorktree"))?;
    for whole in [&repository.top, &repository.git_dir] {
        // All of the repository is in the worktree.
        folder(shared, "options.useWorktree", &whole.display().to_string()).await?;
    }
    let base = options.base_branch.as_deref();
    repository.base(&git, base).await.map_err(unfit("options.worktree.baseBranch"))?;
    if let Some(branch) = &options.branch {
        repository.check_branch(&git, branch).await.map_err(unfit("options.worktree.branch"))?;
    }
    Ok(Directory::WorktreeBelow(shared.worktrees.display().to_string(), repository.below.display().to_string()))
}

/// The name of the key that the request showed.
pub fn caller(request: &HttpRequest) -> String {
    request.extensions().get::<Caller>().map_or_else(|| DEFAULT_KEY.to_owned(), |caller| caller.0.clone())
}

/// Whether nobody else may work in its folder meanwhile. A folder of its own is always that.
fn exclusive(shared: &Shared, spec: &TaskSpec, directory: &Directory) -> bool {
    let wanted = spec.options.exclusive_directory.unwrap_or(shared.server.exclusive_directory);
    wanted && matches!(directory, Directory::Named(_))
}

/// What costs more than a whole day may cost could never start.
fn check_budget(shared: &Shared, spec: &TaskSpec) -> Result<(), ApiError> {
    match (spec.options.sdk.max_budget_usd, shared.budgets.of_day()) {
        (Some(most), Some(day)) if most > day => {
            let message = format!(
                "options.sdk.maxBudgetUsd {most} is above what a day may cost ({day}, DAILY_BUDGET_USD and KEY_DAILY_BUDGET_USD)"
            );
            Err(ApiError::forbidden("BUDGET_EXCEEDED", message).with(json!({ "dailyBudgetUsd": day })))
        }
        _ => Ok(()),
    }
}

/// Refuses what the server doesn't let tasks do, and says which rule it is.
fn check_ceiling(shared: &Shared, spec: &TaskSpec) -> Result<(), ApiError> {
    let sdk = &spec.options.sdk;
    let ceiling = shared.claude.max_permission_mode;
    let refuse = |what: String| {
        let message = format!("{what} is above MAX_PERMISSION_MODE={}", ceiling.name());
        Err(ApiError::forbidden("PERMISSION_CEILING", message))
    };
    if let Some(mode) = sdk.permission_mode.filter(|mode| *mode > ceiling) {
        return refuse(format!("options.sdk.permissionMode {}", mode.name()));
    }
    if sdk.permission_mode == Some(PermissionMode::BypassPermissions)
        && shared.workers.are_local()
        && process::effective_uid() == 0
    {
        let message = "bypassPermissions is refused by the CLI when it runs as root; run the server as another user, or use acceptEdits with allowedTools";
        return Err(ApiError::forbidden("PERMISSION_CEILING", message));
    }
    // A server's command runs before the model says a word: none comes from a task.
    for (name, server) in sdk.mcp_config.iter().flat_map(|config| &config.mcp_servers) {
        let ours = shared.claude.mcp_servers.get(name);
        let (asked, ours) = (without_required(server), ours.map(without_required));
        let is_empty = asked.as_object().is_some_and(serde_json::Map::is_empty);
        if ours.is_none_or(|ours| !is_empty && ours != asked) {
            let known: Vec<_> = shared.claude.mcp_servers.keys().collect();
            let message = format!(
                "options.sdk.mcpConfig.mcpServers.{name}: is not on this server's list (MCP_CONFIG); name one of it, with an empty object"
            );
            return Err(ApiError::forbidden("PERMISSION_CEILING", message).with(json!({ "mcpServers": known })));
        }
    }
    if let Some(tool) = sdk.allowed_tools.iter().find(|tool| !is_below_ceiling(tool, ceiling)) {
        return refuse(format!("options.sdk.allowedTools {tool}"));
    }
    Ok(())
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

/// Allowing a tool is as much as the mode that would allow it.
pub(super) fn is_below_ceiling(tool: &str, ceiling: PermissionMode) -> bool {
    let name = tool.split('(').next().unwrap_or_default().trim();
    let needed = match name {
        "Read" | "Glob" | "Grep" | "LS" | "TodoWrite" => PermissionMode::Plan,
        "Edit" | "MultiEdit" | "Write" | "NotebookEdit" => PermissionMode::AcceptEdits,
        _ => PermissionMode::BypassPermissions,
    };
    needed <= ceiling
}

/// The resolved folder, if a task may use it.
pub(super) async fn folder(shared: &Shared, field: &'static str, named: &str) -> Result<String, ApiError> {
    let found = resolve(shared, field, named).await?;
    match (found.is_dir, found.path.to_str()) {
        (true, Some(found)) => Ok(found.to_owned()),
        (true, None) => Err(ApiError::invalid(field, "must be a name in UTF-8")),
        (false, _) => Err(ApiError::invalid(field, format!("\"{named}\" is not a folder"))),
    }
}

/// A disk, or a network behind it, that does not answer: the same may work in a while.
pub(super) fn unreachable_folder(field: &str, error: &std::io::Error) -> ApiError {
    let message = format!("{field}: the folder does not answer ({error}); is it on a network that is down?");
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "FOLDER_UNAVAILABLE", message).with(json!({ "field": field }))
}

/// The resolved path, if a task may use it. Compared by component, never as text.
async fn resolve(shared: &Shared, field: &'static str, named: &str) -> Result<Resolved, ApiError> {
    let path = Path::new(named);
    if !path.is_absolute() {
        return Err(ApiError::invalid(field, format!("must be an absolute path, got \"{named}\"")));
    }
    let roots = &shared.claude.workspace_roots;
    let is_ours = |path: &Path| {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        !climbs && roots.iter().any(|root| path.starts_with(root))
    };
    let outside = || {
        let roots: Vec<_> = roots.iter().map(|root| root.display().to_string()).collect();
        let message = format!("{field}: \"{named}\" is outside the folders that tasks may use (WORKSPACE_ROOTS)");
        ApiError::forbidden("PATH_NOT_ALLOWED", message).with(json!({ "field": field, "workspaceRoots": roots }))
    };
    let found = match process::resolve(path.to_owned()).await {
        Ok(found) => found,
        // Whether something outside exists is none of the client's business.
        Err(_) if !is_ours(path) => return Err(outside()),
        Err(error) if error.kind() == ErrorKind::TimedOut => return Err(unreachable_folder(field, &error)),
        Err(_) => return Err(ApiError::invalid(field, format!("\"{named}\" does not exist"))),
    };
    if !is_ours(&found.path) || found.path.starts_with(&shared.data_dir) {
        return Err(outside());
    }
    Ok(found)
}
