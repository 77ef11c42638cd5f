//! One file a resource.

mod artifacts;
mod bulk;
mod conversation;
mod docs;
mod events;
mod explain;
mod files;
mod graph;
mod health;
mod keys;
mod limits;
mod list;
mod mcp;
mod metrics;
mod queue;
mod races;
mod rules;
mod schedules;
mod search;
mod secrets;
mod server;
pub(super) mod submit;
mod talk;
mod tasks;
mod usage;
mod webhooks;
mod workers;
mod worktrees;
mod ws;

pub use artifacts::view as artifact_view;
pub use bulk::{change_all as change_tasks, detail as detail_of_change};
pub use graph::graph_of;
pub use list::{LIST as LIST_PARAMS, named as named_tasks, wanted as wanted_tasks};
pub use races::{pick_as, race_of};
pub use schedules::{
    add_as as add_schedule, change_as as change_schedule, remove_as as remove_schedule, run_as as run_schedule,
};
pub use submit::{again as retry_task, submit_as as submit_task};
pub use talk::{cursor_of as read_question_cursor, cursor_to as question_cursor};
pub use tasks::{amend_as as amend_task, cancel_as as cancel_task};
pub use workers::{
    capacity as worker_capacity, crash_named as crash_worker, overview as workers_overview,
    start_named as start_worker, stop_named as stop_worker,
};

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, web};
use serde_json::json;

use super::error::ApiError;
use super::openapi;

/// Every route of the server.
pub fn all(config: &mut web::ServiceConfig) {
    health::routes(config);
    tasks::routes(config);
    queue::routes(config);
    usage::routes(config);
    search::routes(config);
    server::routes(config);
    workers::routes(config);
    worktrees::routes(config);
    config.service(resource("/mcp").post(mcp::call));
    files::routes(config);
    rules::routes(config);
    secrets::routes(config);
    events::routes(config);
    schedules::routes(config);
    webhooks::routes(config);
    keys::routes(config);
    ws::routes(config);
    docs::routes(config);
    metrics::routes(config);
}

/// The metrics alone, for an address of their own.
pub fn metrics_alone(config: &mut web::ServiceConfig) {
    metrics::routes(config);
}

/// Answer to a path without a route.
pub async fn not_found(request: HttpRequest) -> Result<&'static str, ApiError> {
    let message = format!("nothing answers {} {}; see docs/api.md", request.method(), request.path());
    Err(ApiError::new(StatusCode::NOT_FOUND, "NOT_FOUND", message))
}

/// A path that is there, asked with a method that is not.
async fn other_method(request: HttpRequest) -> Result<&'static str, ApiError> {
    let allowed = openapi::methods(&request.match_pattern().unwrap_or_default()).join(", ");
    let message = format!("{} can't be asked with {}, but with {allowed}", request.path(), request.method());
    Err(ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "METHOD_NOT_ALLOWED", message).with(json!({ "allow": allowed })))
}

/// A resource that answers other methods as above.
fn resource(path: &str) -> actix_web::Resource {
    web::resource(path).default_service(web::to(other_method))
}
