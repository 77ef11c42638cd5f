//! Checks of every request: it shows a name of this server, comes from no foreign page, and has the key.

use std::panic::AssertUnwindSafe;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use futures_util::FutureExt as _;
use tracing::{Instrument as _, Span};

use super::auth::Caller;
use super::error::ApiError;
use super::shared::Shared;
use crate::config::DEFAULT_KEY;
use crate::telemetry::task_span;
use domain::TaskId;

/// Every request goes through here first.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("no state"));
    };
    let is_health = request.path() == "/health" || request.path().starts_with("/health/");
    if shared.connections.are_too_many() && !is_health {
        let message = "too many clients are connected; try again in a moment, or raise the limit of open files";
        let error = ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "TOO_MANY_CONNECTIONS", message);
        let mut response = error.error_response();
        response.head_mut().set_connection_type(ConnectionType::Close);
        return Ok(request.into_response(response));
    }
    let origin = match check(&request, &shared) {
        Ok(origin) => origin,
        Err(error) => return Ok(request.into_response(error.error_response())),
    };
    let mut response = if origin.is_some() && request.method() == Method::OPTIONS {
        request.into_response(HttpResponse::NoContent().finish())
    } else {
        let span = task_of(request.path()).map_or_else(Span::none, |task| task_span(task, None));
        // A panic costs this request.
        let answer = async {
            fail::fail_point!("api-request");
            next.call(request).await
        };
        match AssertUnwindSafe(answer.instrument(span)).catch_unwind().await {
            Ok(answered) => answered?.map_into_boxed_body(),
            Err(_) => return Err(ApiError::panicked().into()),
        }
    };
    if let Some(origin) = origin {
        allow_origin(response.headers_mut(), origin);
    }
    Ok(response)
}

/// The task that a path is about.
fn task_of(path: &str) -> Option<TaskId> {
    path.strip_prefix("/api/tasks/")?.split('/').next()?.parse().ok()
}

/// The origin of another site's page that may read the answer, where there is one.
fn check(request: &ServiceRequest, shared: &Shared) -> Result<Option<HeaderValue>, ApiError> {
    let text = |name: HeaderName| request.headers().get(name).and_then(|value| value.to_str().ok());
    let host = text(header::HOST).unwrap_or_default();
    if !shared.hosts.include(host) {
        let message = format!("this server is not \"{host}\"; name it in ALLOWED_HOSTS if it should be");
        return Err(ApiError::forbidden("HOST_NOT_ALLOWED", message));
    }
    let mut allowed = None;
    if let Some(origin) = text(header::ORIGIN) {
        let same = origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host));
        if shared.server.cors_origins.iter().any(|known| known == origin) {
            allowed = request.headers().get(header::ORIGIN).cloned();
        } else if !same {
            let message = format!("pages of {origin} may not ask here; name it in CORS_ORIGIN if they should");
            return Err(ApiError::forbidden("ORIGIN_NOT_ALLOWED", message));
        }
    }
    let site = text(HeaderName::from_static("sec-fetch-site"));
    if site == Some("cross-site") && allowed.is_none() {
        return Err(ApiError::forbidden("ORIGIN_NOT_ALLOWED", "pages of other sites may not ask here"));
    }
    // A WebSocket shows its key when it is open: a browser can't send it before.
    let open = matches!(request.path(), "/health" | "/ws" | "/api/docs" | "/api/openapi.json")
        || request.path().starts_with("/health/");
    let preflight = allowed.is_some() && request.method() == Method::OPTIONS;
    if !open && !preflight {
        let caller = check_key(request.headers(), shared)?;
        request.extensions_mut().insert(Caller(caller));
    }
    Ok(allowed)
}

/// True if a key of ours was shown, or none is needed.
pub fn has_key(headers: &HeaderMap, shared: &Shared) -> bool {
    check_key(headers, shared).is_ok()
}

/// The name of the key that was shown.
fn check_key(headers: &HeaderMap, shared: &Shared) -> Result<String, ApiError> {
    if shared.keys.are_off() {
        return Ok(DEFAULT_KEY.to_owned());
    }
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let shown = headers.get("x-api-key").and_then(|value| value.to_str().ok()).or(bearer);
    if let Some(name) = shown.and_then(|shown| shared.keys.name_of(shown.trim())) {
        return Ok(name.to_owned());
    }
    let message = "show the key, as X-API-Key or as Authorization: Bearer; without API_KEY it is in data/api-key";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let names = HeaderValue::from_static("content-type, x-api-key, authorization, idempotency-key, last-event-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
}
