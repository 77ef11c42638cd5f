//! Explanations: the rule that holds a task back, and until when.

use domain::{
    DependencyState, FailureClass, Group, GroupKind, Hold, Limit, Named as _, Rate, Status, TaskId, Timestamp, lane_of,
};
use serde_json::Value;
use wire::response::{Explanation, LimitState, Reason};
use wire::{Dependency, Task};

use super::forecast::{Capacity, forecast};
use super::{Caller, Service};
use crate::process::wall_now;
use crate::queue::{
    self, Explained, LimitUse, QueueError, ReadClock, ReadDependencies, ReadLimits, ReadStats, ReadWorkers, Stats,
};
use crate::telemetry::Duty;

/// Explains a task; `capacity` is that of the workers that could take it. `None` where the caller sees no such task.
///
/// # Errors
/// The queue's.
pub async fn explain(
    service: &Service,
    caller: &Caller,
    id: TaskId,
    capacity: Capacity,
) -> Result<Option<Explanation>, QueueError> {
    let explained = service.queue.ask(queue::Explain(id)).await?;
    let Some(Explained { task, ahead, retry }) = explained.filter(|found| caller.sees(&found.task.key)) else {
        return Ok(None);
    };
    let stats = service.queue.ask(ReadStats(None)).await?;
    let waits = task.held.as_deref() == Some(Hold::DEPENDENCIES);
    let unmet = task.status == Status::Pending && !task.spec.requires.is_empty() && !is_met(service, &task).await?;
    let reasons: Vec<Reason> = match task.status {
        Status::Pending => {
            let limits = service.queue.ask(ReadLimits).await?;
            let full = service.vitals.failing(Duty::Disk).map(|failing| reason("DISK_FULL", failing.why));
            let could_take_it = if unmet { WorkersForIt::NoneMatches } else { WorkersForIt::of(capacity.workers) };
            let open = if waits { open_dependencies(service, id).await? } else { None };
            let pending = pending(&task, ahead, &stats, could_take_it, &limits);
            let reasons = full.into_iter().chain(open).chain(pending);
            if caller.is_admin() { reasons.collect() } else { reasons.map(without_credential).collect() }
        }
        Status::Running => {
            let runs = reason("RUNNING", format!("it runs on {}", task.worker.as_deref().unwrap_or("a worker")));
            retry.map(|(at, frame)| asks_again(at, &frame)).into_iter().chain([runs]).collect()
        }
        status => vec![reason("ENDED", format!("it is {status}"))],
    };
    let has_place = (task.due_at.is_none() || task.held.is_some()) && !waits;
    let position = (task.status == Status::Pending && has_place).then_some(ahead + 1);
    let start = start(&task, ahead, &reasons);
    let forecast =
        if task.status.is_terminal() { None } else { forecast(service, caller, &task, start, capacity).await? };
    Ok(Some(Explanation { task_id: id, status: task.status, position, reasons, forecast }))
}

/// The time from which on a pending task may start, and the number of those before it; `None` where that depends on others.
fn start(task: &Task, ahead: i64, reasons: &[Reason]) -> Option<(Timestamp, i64)> {
    let is_open = |reason: &Reason| match &*reason.code {
        "BEHIND_OTHERS" | "NO_FREE_SLOT" => true,
        "NOT_DUE" | "CREDENTIAL_PARKED" | "BUDGET_SPENT" => reason.until.is_some(),
        _ => false,
    };
    if task.status != Status::Pending || !reasons.iter().all(is_open) {
        return None;
    }
    let until = reasons.iter().filter_map(|reason| reason.until).max();
    Some((until.unwrap_or_default().max(wall_now()), if task.due_at.is_some() { 0 } else { ahead }))
}

/// The tasks that one waits for. Of those that have failed, what lets it go on.
async fn open_dependencies(service: &Service, task: TaskId) -> Result<Option<Reason>, QueueError> {
    /// Tasks that are named.
    const NAMED: usize = 20;
    let all = service.queue.ask(ReadDependencies { task, limit: i64::MAX, results: false }).await?;
    let number = all.len();
    let is_open = |one: &Dependency| matches!(one.state, DependencyState::Open | DependencyState::Failed);
    let mut open: Vec<Dependency> = all.into_iter().map(queue::Dependency::shown).filter(is_open).collect();
    if open.is_empty() {
        return Ok(None);
    }
    open.sort_by_key(|one| one.state != DependencyState::Failed);
    let mut message = match number {
        1 => "it waits for a task that it depends on".to_owned(),
        _ => format!("it waits for {} of the {number} tasks that it depends on", open.len()),
    };
    if let Some(failed) = open.first().filter(|one| one.state == DependencyState::Failed) {
        let status = failed.status.map_or("gone", domain::Named::name);
        message = format!(
            "{message}; {} is {status}: POST /api/tasks/{}/retry, or PATCH {{\"dependsOn\": []}} of this one lets it go on",
            failed.name.as_deref().unwrap_or("one"),
            failed.task
        );
    }
    open.truncate(NAMED);
    Ok(Some(Reason { tasks: Some(open), ..reason("WAITS_FOR_TASKS", message) }))
}

/// Workers that live and could take a task.
#[derive(Clone, Copy, PartialEq, Eq)]
enum WorkersForIt {
    Some,
    /// There is no worker at all.
    None,
    /// None has the labels that it requires.
    NoneMatches,
}

impl WorkersForIt {
    const fn of(workers: usize) -> Self {
        if workers == 0 { Self::None } else { Self::Some }
    }
}

/// True if a worker that lives may take the task.
async fn is_met(service: &Service, task: &Task) -> Result<bool, QueueError> {
    let (lane, now) = (lane_of(&task.spec.requires), service.queue.ask(ReadClock).await?);
    let workers = service.queue.ask(ReadWorkers).await?;
    Ok(workers.iter().any(|worker| worker.takes(&lane, now)))
}

/// A reason as a client sees it that can't mend a credential.
fn without_credential(reason: Reason) -> Reason {
    match reason.credential {
        Some(_) => Reason {
            credential: None,
            message: "the account can't be used for now; ask the operator, or wait".to_owned(),
            ..reason
        },
        None => reason,
    }
}

/// The CLI waits to ask the API again: what it was answered, and when it asks.
fn asks_again(at: Timestamp, event: &str) -> Reason {
    let event: Value = serde_json::from_str(event).unwrap_or_default();
    let frame = &event["frame"];
    let status = frame["error_status"].as_i64().map(|status| format!(" {status}")).unwrap_or_default();
    let why = frame["error"].as_str().unwrap_or("no answer");
    let mut reason = reason("API_RETRY", format!("the API answered{status} ({why}); the CLI asks it again by itself"));
    if let Some(delay) = frame["retry_delay_ms"].as_f64().filter(|delay| (0.0..1e12).contains(delay)) {
        reason.until = Some(at.plus_ms(delay as i64));
    }
    reason
}

/// A limit on a group that the task belongs to, with the limit as it is set.
fn limited(rule: &str, group: &str, limits: &[LimitUse]) -> Reason {
    let (kind, name) = group.split_once(':').unwrap_or((group, ""));
    let of = if name.is_empty() { "all tasks".to_owned() } else { format!("{kind} {name}") };
    let Some(kind) = GroupKind::from_name(kind) else {
        return reason("NOT_DUE", format!("{of}: a limit of a kind that this version doesn't know holds it back"));
    };
    let group = Group::new(kind, name);
    let limit = limits.iter().find(|limit| limit.group == group).map_or(group.default_limit(), |known| known.limit);
    let mut reason = match (rule, limit) {
        ("paused", _) => reason("GROUP_PAUSED", format!("{of}: paused; POST /api/queue/start lets it go on")),
        ("rate", Limit { rate: Some(rate), .. }) => {
            let Rate { starts, period_ms } = rate;
            reason("RATE_LIMIT", format!("{of}: {starts} have started within {period_ms} ms, and no more may"))
        }
        (_, Limit { concurrency: Some(most), .. }) => {
            reason("CONCURRENCY_LIMIT", format!("{of}: {most} run, and no more may at a time"))
        }
        _ => reason("NOT_DUE", "what held it back is being looked at again"),
    };
    reason.rule = Some(LimitState::of(&group, limit));
    reason
}

fn reason(code: &'static str, message: impl Into<String>) -> Reason {
    Reason {
        code: code.into(),
        message: message.into(),
        credential: None,
        request_id: None,
        until: None,
        tasks: None,
        rule: None,
    }
}

fn pending(task: &Task, ahead: i64, stats: &Stats, workers: WorkersForIt, limits: &[LimitUse]) -> Vec<Reason> {
    let mut reasons = Vec::new();
    if stats.paused {
        reasons.push(reason("QUEUE_PAUSED", "the queue is paused: POST /api/queue/start lets it go on"));
    }
    match workers {
        WorkersForIt::Some => {}
        WorkersForIt::None => reasons.push(reason("NO_WORKER", "no worker is there to take it")),
        WorkersForIt::NoneMatches => {
            let labels = task.spec.requires.join(", ");
            let message = format!("no worker has all labels that it requires: {labels}");
            reasons.push(reason("NO_MATCHING_WORKER", message));
        }
    }
    // With several accounts, what holds this very task says more than that one of them is parked.
    let is_held = task.held.is_some();
    if !is_held {
        reasons.extend(parked(stats));
    }
    if let Some(waiting) = task.waiting_for.as_ref().filter(|_| task.due_at.is_some()) {
        let mut reason = reason("WAITING_FOR_ANSWER", "somebody must answer its question; see …/permissions");
        reason.request_id = waiting["requestId"].as_str().map(str::to_owned);
        reason.until = serde_json::from_value(waiting["deadline"].clone()).ok();
        reasons.push(reason);
    } else if task.held.as_deref() == Some(Hold::DEPENDENCIES) {
        // Told before, by name.
    } else if let Some(due) = task.due_at {
        let held = task.held.as_deref().and_then(|held| held.split_once(':'));
        let mut reason = match held {
            Some(("directory", _)) => reason("DIRECTORY_BUSY", "another task works in its folder"),
            Some(("budget", "")) => reason("BUDGET_SPENT", "the server's money of this day is spent or reserved"),
            Some(("budget", key)) => {
                reason("BUDGET_SPENT", format!("the money of this day of key {key} is spent or reserved"))
            }
            Some((rule @ ("paused" | "concurrency" | "rate"), group)) => limited(rule, group, limits),
            _ => reason("NOT_DUE", "its time has not come"),
        };
        if !matches!(held, Some(("paused", _))) {
            reason.until = Some(due);
        }
        reasons.push(reason);
    } else if reasons.is_empty() && ahead > 0 {
        reasons.push(reason("BEHIND_OTHERS", format!("{ahead} tasks start before it, by priority and age")));
    } else if reasons.is_empty() {
        reasons.push(reason("NO_FREE_SLOT", "it is the next to start, when a worker has a free slot"));
    }
    if is_held {
        reasons.extend(parked(stats));
    }
    reasons
}

/// The accounts with which nothing starts now.
fn parked(stats: &Stats) -> impl Iterator<Item = Reason> {
    stats.parked.iter().map(|parked| {
        let message = match parked.class.known() {
            Some(FailureClass::Auth) => format!(
                "the credential was refused: {}. What helps: mend it, then POST /api/queue/start with {{\"credential\": \"{}\"}}, \
                or wait until it is tried again",
                parked.message, parked.credential
            ),
            _ => format!("the account has reached its limit: {}", parked.message),
        };
        let reason = reason("CREDENTIAL_PARKED", message);
        Reason { credential: Some(parked.credential.clone()), until: Some(parked.until), ..reason }
    })
}
