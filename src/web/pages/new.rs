//! `/new`: a task to be asked for.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use std::collections::BTreeSet;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use crate::api::{Shared, find_task};
use crate::queue::{Filter, ListTasks};
use wire::{KeyScope, PermissionMode, TaskSpec};

/// Tasks whose folders are offered.
const LATELY: u64 = 50;

/// Modes that may be chosen, and what they mean.
const MODES: [(PermissionMode, &str); 4] = [
    (PermissionMode::Plan, "reads, and writes down what it would do"),
    (PermissionMode::Default, "asks before each tool that changes something"),
    (PermissionMode::AcceptEdits, "edits files of its folder without asking"),
    (PermissionMode::BypassPermissions, "asks for nothing"),
];

#[derive(Template)]
#[template(path = "new.html")]
struct New {
    shell: Shell,
    instruction: String,
    folder: String,
    folders: BTreeSet<String>,
    modes: Vec<(String, &'static str, bool)>,
    model: String,
    budget: String,
    worktree: bool,
    tags: String,
    priority: String,
    allowed: String,
    artifacts: String,
    verify: String,
}

#[derive(Deserialize)]
pub struct Asked {
    /// A task that fills it in.
    from: Option<String>,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Submit)?;
    let from = match &asked.from {
        Some(id) => Some(find_task(&shared, &visitor.caller, id).await?.spec),
        None => None,
    };
    let spec = from.unwrap_or_else(|| TaskSpec::of(String::new()));
    let sdk = &spec.options.sdk;
    let lately = Filter { key: visitor.caller.own(), ..Filter::default() };
    let lately = shared.queue.ask(ListTasks { filter: lately, limit: LATELY, ..ListTasks::default() }).await?;
    let ceiling = shared.claude.max_permission_mode;
    let modes = MODES.iter().filter(|(mode, _)| *mode <= ceiling);
    let template = New {
        shell: Shell::new(&shared, &visitor, "/new", "New task").await?,
        folder: spec.context.working_directory.clone().unwrap_or_default(),
        folders: lately.tasks.into_iter().filter_map(|task| task.spec.context.working_directory).collect(),
        modes: modes.map(|(mode, what)| (name(*mode), *what, sdk.permission_mode == Some(*mode))).collect(),
        model: sdk.model.clone().unwrap_or_default(),
        budget: sdk.max_budget_usd.map(|budget| budget.dollars().to_string()).unwrap_or_default(),
        worktree: spec.options.worktree.is_some() || spec.options.use_worktree == Some(true),
        tags: spec.tags.join(" "),
        priority: if spec.priority == 0 { String::new() } else { spec.priority.to_string() },
        allowed: sdk.allowed_tools.join(", "),
        artifacts: spec.artifacts.join(" "),
        verify: spec.verify.as_ref().and_then(|verify| verify.command.clone()).unwrap_or_default(),
        instruction: spec.instruction,
    };
    Ok(page(&request, &visitor, &template))
}

/// The mode as requests write it.
fn name(mode: PermissionMode) -> String {
    serde_json::to_value(mode).ok().and_then(|value| value.as_str().map(str::to_owned)).unwrap_or_default()
}
