//! Who may talk to us: the key, the Host header, the Origin.

use std::fs;
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, ResponseError, web};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::ApiError;
use super::shared::Shared;
use crate::config::Server;
use crate::process;

/// The key, as its hash. Compared in constant time.
#[derive(Clone)]
pub struct ApiKey([u8; 32]);

impl ApiKey {
    /// The key of that text.
    #[must_use]
    pub fn new(key: &str) -> Self {
        Self(Sha256::digest(key.as_bytes()).into())
    }

    fn is(&self, shown: &str) -> bool {
        Self::new(shown).0.ct_eq(&self.0).into()
    }
}

/// Reads the key of this data folder, and makes one where there is none. The file is 0600.
///
/// # Errors
/// The file can't be read or written.
pub fn load_or_make_key(path: &Path) -> io::Result<String> {
    match fs::File::options().create_new(true).write(true).mode(0o600).open(path) {
        Ok(mut file) => {
            let key = process::secret()?;
            file.write_all(key.as_bytes())?;
            file.sync_all()?;
            Ok(key)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let key = fs::read_to_string(path)?.trim().to_owned();
            if key.is_empty() {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the file is empty; remove it to get a new key",
                ));
            }
            Ok(key)
        }
        Err(error) => Err(error),
    }
}

/// The names under which this server may be asked. A page whose own name was made to point
/// here (DNS rebinding) asks under another.
#[derive(Clone)]
pub struct Hosts {
    names: Vec<String>,
    /// On an address that others reach, any address in figures is ours: rebinding needs a name.
    any_address: bool,
}

impl Hosts {
    /// The names of a server with these settings.
    #[must_use]
    pub fn new(server: &Server) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.extend(server.allowed_hosts.iter().map(|name| name.to_lowercase()));
        names.push(process::host_name().to_lowercase());
        Self { names, any_address: !server.host.is_loopback() }
    }

    fn include(&self, host: &str) -> bool {
        let host = host.to_lowercase();
        // The port may be another one in front of us; the name decides.
        let name = match host.rsplit_once(':') {
            Some((name, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        self.names.iter().any(|ours| ours == name) || (self.any_address && address.is_ok())
    }
}

/// Every request goes through here first.
pub async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(shared) = request.app_data::<web::Data<Shared>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError("no state"));
    };
    let origin = match check(&request, &shared) {
        Ok(origin) => origin,
        Err(error) => return Ok(request.into_response(error.error_response())),
    };
    let mut response = if origin.is_some() && request.method() == Method::OPTIONS {
        request.into_response(HttpResponse::NoContent().finish())
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    if let Some(origin) = origin {
        allow_origin(response.headers_mut(), origin);
    }
    Ok(response)
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
    let open = request.path() == "/health" || request.path().starts_with("/health/");
    let preflight = allowed.is_some() && request.method() == Method::OPTIONS;
    if !open && !preflight {
        check_key(request.headers(), shared)?;
    }
    Ok(allowed)
}

fn check_key(headers: &HeaderMap, shared: &Shared) -> Result<(), ApiError> {
    let Some(key) = &shared.key else { return Ok(()) };
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|value| value.strip_prefix("Bearer "));
    let shown = headers.get("x-api-key").and_then(|value| value.to_str().ok()).or(bearer);
    if shown.is_some_and(|shown| key.is(shown.trim())) {
        return Ok(());
    }
    let message = "show the key, as X-API-Key or as Authorization: Bearer; without API_KEY it is in data/api-key";
    Err(ApiError::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message))
}

fn allow_origin(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    let methods = HeaderValue::from_static("GET, POST, PUT, DELETE");
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    let names = HeaderValue::from_static("content-type, x-api-key, authorization, idempotency-key, last-event-id");
    headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names);
}
