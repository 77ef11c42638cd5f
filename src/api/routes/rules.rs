//! `/api/rules`: calls of tools that need no answer of a person.

use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::resource;
use crate::service::rules;
use wire::request::NewRule;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/rules").get(list).post(add)).service(resource("/api/rules/{id}").delete(remove));
}

async fn list(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(rules::list(&shared, &caller).await?))
}

async fn add(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let new: NewRule = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let (view, is_new) = rules::add(&shared, &caller, new).await?;
    Ok(if is_new { HttpResponse::Created().json(view) } else { HttpResponse::Ok().json(view) })
}

async fn remove(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    rules::remove(&shared, &caller, &id).await?;
    Ok(HttpResponse::NoContent().finish())
}
