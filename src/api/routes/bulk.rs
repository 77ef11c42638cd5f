//! `POST /api/tasks/bulk`: one change of many tasks, in steps.
//!
//! Each task is changed by itself, as by the request for one, and what is done stays done: a call that is cut off goes on
//! from its cursor, or from the start.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::audit::Detail;
use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::{list, submit, tasks};
use crate::queue::{Amend, Amended, Cancel, Cancelled, DEPENDENCY_FAILED, Filter, Find, ListTaskIds, ListTasks};
use domain::{Status, TaskId};
use wire::request::{Bulk, BulkAction};
use wire::response::BulkReport;

/// Tasks that are changed together.
const STEP: u64 = 500;
/// Time after which no further step is begun in the same call.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// See the [module](self).
pub async fn bulk(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let bulk: Bulk = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let report = Box::pin(change_all(&shared, &caller, &bulk)).await?;
    let detail = bulk.expect.map(|_| detail(&bulk, &report));
    let mut response = HttpResponse::Ok().json(report);
    if let Some(detail) = detail {
        response.extensions_mut().insert(Detail(detail));
    }
    Ok(response)
}

/// What the audit log has of a change.
pub fn detail(bulk: &Bulk, report: &BulkReport) -> Value {
    json!({ "action": bulk.action, "filter": bulk.filter, "done": report.done })
}

/// Changes all tasks of a filter that this caller sees; without `expect` they are counted only.
pub async fn change_all(shared: &Shared, caller: &Caller, bulk: &Bulk) -> Result<BulkReport, ApiError> {
    check(bulk)?;
    let mut filter = list::filter(caller, bulk.filter.clone())?;
    let nothing = !narrow(&mut filter, bulk.action);
    let matched = if nothing { 0 } else { count(shared, &filter).await? };
    let mut report = BulkReport { matched, done: 0, skipped: 0, refused: 0, refusal: None, next_cursor: None };
    let Some(expect) = bulk.expect.filter(|_| !nothing) else {
        return Ok(report);
    };
    // A call that goes on was let through at its first.
    if bulk.cursor.is_none() && matched > expect.saturating_add(expect / 10) {
        let message = format!("{matched} tasks match, and {expect} were expected: nothing was done");
        let error = ApiError::new(StatusCode::CONFLICT, "MORE_TASKS_THAN_EXPECTED", message);
        return Err(error.with(json!({ "matched": matched })));
    }
    report.next_cursor = bulk.cursor;
    let mut behind = Vec::new();
    let until = Instant::now() + CALL_LIMIT;
    loop {
        let step = ListTaskIds { filter: filter.clone(), limit: STEP, before: report.next_cursor };
        let ids = shared.queue.ask(step).await?;
        let outcomes = join_all(ids.iter().map(|id| change(shared, caller, bulk, *id))).await;
        for (id, outcome) in ids.iter().zip(outcomes) {
            match outcome {
                Err(error) if error.code() == DEPENDENCY_FAILED => behind.push(*id),
                outcome => report.count(outcome),
            }
        }
        report.next_cursor = ids.last().copied().filter(|_| ids.len() as u64 == STEP);
        if report.next_cursor.is_none() || Instant::now() >= until {
            break;
        }
    }
    // What they depend on may run again by now. Those that others depend on are older.
    behind.sort_unstable();
    for id in behind {
        report.count(change(shared, caller, bulk, id).await);
    }
    Ok(report)
}

fn check(bulk: &Bulk) -> Result<(), ApiError> {
    let changes = bulk.priority.is_some() || bulk.run_at.is_some();
    match bulk.action {
        BulkAction::Amend if !changes => Err(ApiError::invalid("action", "amend needs priority, runAt, or both")),
        BulkAction::Cancel | BulkAction::Retry if changes => {
            Err(ApiError::invalid("priority", "priority and runAt are for amend only"))
        }
        _ => tasks::check_priority(bulk.priority),
    }
}

/// Leaves those tasks in the filter that the action is for. Returns false if there can be none.
fn narrow(filter: &mut Filter, action: BulkAction) -> bool {
    let fits = |status: &Status| match action {
        BulkAction::Cancel => !status.is_terminal(),
        BulkAction::Retry => status.is_terminal(),
        BulkAction::Amend => *status == Status::Pending,
    };
    if filter.statuses.is_empty() {
        filter.statuses = strum::VariantArray::VARIANTS.to_vec();
    }
    filter.statuses.retain(fits);
    !filter.statuses.is_empty()
}

async fn count(shared: &Shared, filter: &Filter) -> Result<i64, ApiError> {
    let list = ListTasks { filter: filter.clone(), limit: 0, ..ListTasks::default() };
    Ok(shared.queue.ask(list).await?.total)
}

/// What became of one task.
enum Changed {
    Done,
    Skipped,
}

async fn change(shared: &Shared, caller: &Caller, bulk: &Bulk, task: TaskId) -> Result<Changed, ApiError> {
    let done = match bulk.action {
        BulkAction::Cancel => matches!(shared.queue.ask(Cancel(task)).await?, Cancelled::Done(_)),
        BulkAction::Amend => {
            let amend = Amend { task, priority: bulk.priority, run_at: bulk.run_at, waive: false };
            matches!(shared.queue.ask(amend).await?, Amended::Done(_))
        }
        BulkAction::Retry => match shared.queue.ask(Find(task)).await? {
            Some(old) if old.status.is_terminal() => Box::pin(submit::again_once(shared, caller, old)).await?,
            _ => false,
        },
    };
    Ok(if done { Changed::Done } else { Changed::Skipped })
}

/// Adds the outcomes of tasks to a report.
trait Count {
    fn count(&mut self, outcome: Result<Changed, ApiError>);
}

impl Count for BulkReport {
    fn count(&mut self, outcome: Result<Changed, ApiError>) {
        match outcome {
            Ok(Changed::Done) => self.done += 1,
            Ok(Changed::Skipped) => self.skipped += 1,
            Err(error) => {
                self.refused += 1;
                self.refusal.get_or_insert_with(|| error.to_string());
            }
        }
    }
}
