//! Changes of many tasks of a list: of those that were chosen, or of all that match.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::actions::{Fields, again, form};
use super::door::{Turned, Visitor};
use super::page::{done, not_done};
use crate::api::{
    ApiError, LIST_PARAMS, Params, Shared, cancel_task, change_tasks, detail_of_change, named_tasks, note_action,
};
use wire::KeyScope;
use wire::request::{Bulk, BulkAction};

/// Number of tasks from which on it must be typed.
pub const TYPED: i64 = 100;

/// The tasks that were chosen in a list. What can't be done for one is done for the others.
pub async fn chosen(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        // Those that others depend on are older, and run again first.
        let mut ids = fields.all("id");
        ids.sort_unstable();
        if ids.is_empty() {
            return Err(ApiError::invalid("id", "choose some tasks first").into());
        }
        let mut refused = Vec::new();
        for id in ids {
            let worked = match fields.text("do") {
                "retry" => again(&shared, &visitor, id).await.map(drop),
                _ => cancel_task(&shared, &visitor.caller, id).await.map(drop).map_err(Turned::from),
            };
            refused.extend(worked.err());
        }
        match refused.first() {
            Some(Turned::Failed(error)) => {
                let message = format!("{} could not be changed. The first: {}", refused.len(), error.message());
                Err(ApiError::new(StatusCode::CONFLICT, "NOT_ALL_CHANGED", message).into())
            }
            _ => Ok(fields.text("back").to_owned()),
        }
    })
}

/// All tasks that match the filter in the address.
pub async fn all(
    request: HttpRequest,
    visitor: Visitor,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    form!(request, visitor, payload, shared, KeyScope::Submit, |fields| {
        let params = Params::read(&request, LIST_PARAMS)?.filled();
        let expect = fields.number::<i64>("expect")?.unwrap_or_default();
        if expect >= TYPED && fields.number("typed")? != Some(expect) {
            return Err(
                ApiError::invalid("typed", format!("type {expect}, the number of tasks, to change them all")).into()
            );
        }
        let (action, priority) = match fields.text("do") {
            "retry" => (BulkAction::Retry, None),
            "amend" => (BulkAction::Amend, fields.number("priority")?),
            _ => (BulkAction::Cancel, None),
        };
        let mut bulk =
            Bulk { filter: named_tasks(&params)?, action, expect: Some(expect), priority, run_at: None, cursor: None };
        loop {
            let report = Box::pin(change_tasks(&shared, &visitor.caller, &bulk)).await?;
            note_action(&shared, &visitor.caller, &request, "changeTasks", detail_of_change(&bulk, &report)).await;
            if report.refused > 0 {
                let why = report.refusal.unwrap_or_default();
                let message =
                    format!("{} were changed, and {} could not be. The first: {why}", report.done, report.refused);
                return Err(ApiError::new(StatusCode::CONFLICT, "NOT_ALL_CHANGED", message).into());
            }
            bulk.cursor = report.next_cursor;
            if bulk.cursor.is_none() {
                break;
            }
        }
        Ok(format!("/tasks?{}", params.query()))
    })
}
