//! `/api/secrets`: secrets of keys, for their tasks. Values go in, and never come out.

use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::body::body;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::resource;
use crate::service::secrets;
use wire::request::NewSecret;
use wire::response::Secrets;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/secrets").get(list)).service(resource("/api/secrets/{name}").put(put).delete(remove));
}

async fn list(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Ok().json(Secrets { secrets: secrets::list(&shared, &caller).await? }))
}

async fn put(
    name: Path<String>,
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let new: NewSecret = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let (view, is_new) = secrets::put(&shared, &caller, &name, &new.value).await?;
    Ok(if is_new { HttpResponse::Created().json(view) } else { HttpResponse::Ok().json(view) })
}

async fn remove(name: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    secrets::remove(&shared, &caller, &name).await?;
    Ok(HttpResponse::NoContent().finish())
}
