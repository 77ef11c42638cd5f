//! The caller of a request in a handler, and what it sees: of what isn't its own it learns nothing, not even that it is
//! there.

use std::future::{Ready, ready};

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};

use super::error::ApiError;
use super::input::task_id;
use super::shared::Shared;
use crate::queue::{Find, FindOwner};
pub use crate::service::Caller;
use domain::TaskId;
use wire::Task;

impl FromRequest for Caller {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    /// The caller as the guard has found it. A route that the guard lets through without a key has none.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(ApiError::unauthorized))
    }
}

/// The id in a path, if the caller sees its task.
pub async fn own_task(shared: &Shared, caller: &Caller, id: &str) -> Result<TaskId, ApiError> {
    let task = task_id(id)?;
    if caller.is_admin() {
        return Ok(task);
    }
    let owner = shared.queue.ask(FindOwner(task)).await?;
    if owner.is_some_and(|owner| caller.sees(&owner)) { Ok(task) } else { Err(ApiError::no_task(id)) }
}

/// The task in a path, if the caller sees it.
pub async fn find_task(shared: &Shared, caller: &Caller, id: &str) -> Result<Task, ApiError> {
    let task = shared.queue.ask(Find(task_id(id)?)).await?;
    task.filter(|task| caller.sees(&task.key)).ok_or_else(|| ApiError::no_task(id))
}
