//! Checks of every request: it shows a name of this server, comes from no foreign page, and has the key.

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use futures_util::FutureExt as _;
use serde_json::json;
use tracing::{Instrument as _, Span};

use super::audit::Audited;
use super::caller::Caller;
use super::cookie;
use super::encoding;
use super::error::ApiError;
use super::head::leave_buffer;
use super::metrics;
use super::openapi::{self, Access};
use super::shared::Shared;
use crate::process::wall_now;
use crate::telemetry::{meters, task_span, traces};
use domain::{Named as _, TaskId, TraceParent};

/// Every request goes through here first.
pub async fn guard(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    leave_buffer(&mut request);
    let (began, method) = (Instant::now(), known(request.method()));
    // An unknown path is no label: there is no end of them.
    let route = request.match_pattern().unwrap_or_default();
    let is_traced = is_traced(request.method(), &route);
    let mut span = is_traced.then(|| traces::Span::of_request(method, &route, place_of(&request)));
    let place = span.as_ref().and_then(traces::Span::place);
    let mut response = traces::within(place, check_and_answer(request, next)).await?;
    let status = response.status().as_u16();
    span.iter_mut().for_each(|span| span.answered(status));
    meters().request(method, route, status, began.elapsed());
    harden(response.headers_mut());
    encoding::unmark(response.headers_mut());
    Ok(response)
}

/// The method as a label: those alone that a route may have.
fn known(method: &Method) -> &'static str {
    let methods = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    methods.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

/// True for requests with a span: those to the API, and what forms of pages send. Others are asked for without end.
fn is_traced(method: &Method, route: &str) -> bool {
    let is_read = *method == Method::GET || *method == Method::HEAD;
    let is_watch = route.starts_with("/health") || route == metrics::PATH;
    !route.is_empty() && !is_watch && (is_api(route) || !is_read)
}

/// The client's place in a trace; one that can't be read is none.
fn place_of(request: &ServiceRequest) -> Option<TraceParent> {
    single(request.headers(), &HeaderName::from_static("traceparent")).ok()??.parse().ok()
}

async fn check_and_answer(
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
        match admit(&request, &shared).await {
            Ok(audited) => answer(request, next, &shared, audited).await?,
            Err(error) => request.into_response(error.error_response()),
        }
    };
    if let Some(origin) = origin {
        allow_origin(response.headers_mut(), origin);
    }
    Ok(response)
}

/// Adds to an answer what keeps browsers from making more of it than it is, unless the handler has said so itself.
pub fn harden(headers: &mut HeaderMap) {
    let rules = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ];
    for (name, rule) in rules {
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(rule));
        }
    }
}

/// Lets the handler answer. A panic costs this request.
async fn answer(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    shared: &Shared,
    audited: Option<Audited>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let span = task_of(request.path()).map_or_else(Span::none, |task| task_span(task, None, traces::current()));
    let answer = async {
        fail::fail_point!("api-request");
        next.call(request).await
    };
    let answered = AssertUnwindSafe(answer.instrument(span)).catch_unwind().await;
    let response = answered.map_err(|_| Error::from(ApiError::panicked()))?;
    if let Some(audited) = audited {
        audited.note(shared, &response).await;
    }
    Ok(response?.map_into_boxed_body())
}

/// The task that a path is about.
fn task_of(path: &str) -> Option<TaskId> {
    path.strip_prefix("/api/tasks/")?.split('/').next()?.parse().ok()
}

/// The origin of another site's page that may read the answer, where there is one.
fn check(request: &ServiceRequest, shared: &Shared) -> Result<Option<HeaderValue>, ApiError> {
    let text = |name: HeaderName| single(request.headers(), &name);
    let host = text(header::HOST).map_err(|what| ApiError::forbidden("HOST_NOT_ALLOWED", what))?.unwrap_or_default();
    // A request may name the server in its line as well.
    let in_line = request.uri().authority().map(actix_web::http::uri::Authority::as_str);
    if let Some(foreign) = [Some(host), in_line].into_iter().flatten().find(|host| !shared.hosts.include(host)) {
        let message = format!("this server is not \"{foreign}\"; name it in ALLOWED_HOSTS if it should be");
        return Err(ApiError::forbidden("HOST_NOT_ALLOWED", message));
    }
    let origin_not_allowed = |what: String| ApiError::forbidden("ORIGIN_NOT_ALLOWED", what);
    let site = text(HeaderName::from_static("sec-fetch-site")).map_err(origin_not_allowed)?;
    let mut allowed = None;
    if let Some(origin) = text(header::ORIGIN).map_err(origin_not_allowed)? {
        // Our pages send no referrer, and their forms therefore no origin; what no page can set says where they are from.
        let same = origin.split_once("://").is_some_and(|(_, name)| name.eq_ignore_ascii_case(host))
            || (origin == "null" && site == Some("same-origin"));
        if shared.server.cors_origins.iter().any(|known| known == origin) {
            allowed = request.headers().get(header::ORIGIN).cloned();
        } else if is_coded(request) {
            // Whoever shows a notification may answer by it.
            allowed = request.headers().get(header::ORIGIN).filter(|_| !same).cloned();
        } else if !same {
            let message = format!("pages of {origin} may not ask here; name it in CORS_ORIGIN if they should");
            return Err(ApiError::forbidden("ORIGIN_NOT_ALLOWED", message));
        }
    }
    if site == Some("cross-site") && allowed.is_none() && !is_link(request) && !is_coded(request) {
        return Err(ApiError::forbidden("ORIGIN_NOT_ALLOWED", "pages of other sites may not ask here"));
    }
    Ok(allowed)
}

/// True if a link on another site has led here: to a page, which then asks for itself.
fn is_link(request: &ServiceRequest) -> bool {
    let is = |name: &str, value: &str| request.headers().get(name).is_some_and(|found| found == value);
    let to_page = request.method() == Method::GET && !is_api(request.path());
    to_page && is("sec-fetch-mode", "navigate") && is("sec-fetch-dest", "document")
}

/// True for a path whose code is all that is needed: no cookie or key counts there.
fn is_coded(request: &ServiceRequest) -> bool {
    request.path().starts_with("/a/")
}

/// True for paths of the API; all others are pages, which ask who is there themselves.
fn is_api(path: &str) -> bool {
    path == "/api"
        || path.starts_with("/api/")
        || path.starts_with("/health")
        || ["/ws", "/mcp", metrics::PATH].contains(&path)
}

/// A header that may stand there once, and must be text.
///
/// # Errors
/// It stands there twice, or can't be read: one reader would take the first, and another the last.
fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, String> {
    let mut values = headers.get_all(name);
    let (first, second) = (values.next(), values.next());
    if second.is_some() {
        return Err(format!("the header {name} stands there more than once"));
    }
    first.map(|value| value.to_str().map_err(|_| format!("the header {name} is no text"))).transpose()
}

/// Lets a request in whose key may ask for this. Returns what is to be noted of it.
async fn admit(request: &ServiceRequest, shared: &Shared) -> Result<Option<Audited>, ApiError> {
    let operation = openapi::operation(request.method(), request.match_pattern().as_deref());
    let scope = match operation.map(|operation| operation.access) {
        Some(Access::Open | Access::Within) => return Ok(None),
        Some(_) if request.path() == metrics::PATH && shared.server.metrics_open => return Ok(None),
        Some(Access::Key(scope)) => Some(scope),
        None if !is_api(request.path()) => return Ok(None),
        // What is not there is told to those alone who have a key.
        None => None,
    };
    let address = request.peer_addr().map(|address| address.ip());
    let caller = match signed_in(request, shared).await? {
        Some(caller) => caller,
        None => check_key(request.headers(), shared, address).await?,
    };
    if let Some(scope) = scope.filter(|scope| !caller.may(*scope)) {
        let message = format!("this key has not the scope {}", scope.name());
        return Err(ApiError::forbidden("SCOPE_MISSING", message).with(json!({ "scope": scope })));
    }
    let audited = operation.and_then(|operation| Audited::of(request, operation, &caller, address));
    request.extensions_mut().insert(caller);
    Ok(audited)
}

/// The key of a browser that is signed in, unless another one is shown.
async fn signed_in(request: &ServiceRequest, shared: &Shared) -> Result<Option<Caller>, ApiError> {
    let headers = request.headers();
    if headers.contains_key(header::AUTHORIZATION) || headers.contains_key("x-api-key") {
        return Ok(None);
    }
    match cookie::for_api(request.method(), headers) {
        Some(cookie) => Ok(shared.keys.session(cookie, wall_now()).await?.map(|session| session.caller)),
        None => Ok(None),
    }
}

/// The key that was shown, if it is good. A wrong one is answered late.
///
/// # Errors
/// There is none, it is wrong, or the stored keys can't be read.
pub async fn check_key(headers: &HeaderMap, shared: &Shared, address: Option<IpAddr>) -> Result<Caller, ApiError> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let shown = headers.get("x-api-key").and_then(|value| value.to_str().ok()).or(bearer).unwrap_or_default();
    find_key(shown.trim(), shared, address).await
}

/// The key with this secret, if it is good. A wrong one is answered late.
///
/// # Errors
/// It is wrong, or the stored keys can't be read.
pub async fn find_key(shown: &str, shared: &Shared, address: Option<IpAddr>) -> Result<Caller, ApiError> {
    if shown.is_empty() && !shared.keys.is_open() {
        return Err(ApiError::unauthorized());
    }
    if let Some(caller) = shared.keys.find(shown).await? {
        return Ok(caller);
    }
    if let Some(address) = address
        && !shared.wrong_keys.slow_down(address).await
    {
        let message = "too many wrong keys came from this address; try again in a minute";
        return Err(ApiError::new(StatusCode::TOO_MANY_REQUESTS, "TOO_MANY_WRONG_KEYS", message));
    }
    Err(ApiError::unauthorized())
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let methods = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let names = HeaderValue::from_static("content-type, x-api-key, authorization, idempotency-key, last-event-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
}
