//! `GET /api/tasks/{id}/explain`: which rule holds a task back, and until when.

use actix_web::HttpResponse;
use actix_web::web::{Data, Path};

use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::task_id;
use super::super::shared::Shared;
use super::workers;
use crate::service;

/// Every reason that holds now, the strongest first.
pub async fn explain(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = task_id(&id)?;
    let capacity = workers::capacity(&shared).await?;
    let found = service::explain(&shared, &caller, task, capacity).await?;
    found.map(|found| HttpResponse::Ok().json(found)).ok_or_else(|| ApiError::no_task(&id))
}
