//! Who asks for a page.

use std::fmt;

use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Data;
use actix_web::{FromRequest, HttpRequest, HttpResponse, ResponseError};
use futures_util::future::LocalBoxFuture;

use super::page;
use crate::api::{ApiError, COOKIE, OURS, Shared, cookie_of};
use crate::process::wall_now;
use crate::service::{COOKIE_MS, Caller};
use domain::Timestamp;
use wire::KeyScope;

/// Age of a cookie after which a visit renews it, in milliseconds.
const RENEW_MS: i64 = Timestamp::DAY_MS;

/// A visitor of a page, with a key that is good.
pub struct Visitor {
    /// The key.
    pub caller: Caller,
    /// Token of the forms of this page.
    pub token: String,
    /// True if nobody needs a key here.
    pub is_open: bool,
    /// The same cookie with a new end.
    pub renewed: Option<String>,
}

impl Visitor {
    /// Checks that the key may do this.
    ///
    /// # Errors
    /// It may not.
    pub fn check(&self, scope: KeyScope) -> Result<(), Turned> {
        if self.caller.may(scope) {
            return Ok(());
        }
        let message = format!("this key has not the scope {}", domain::Named::name(scope));
        Err(ApiError::forbidden("SCOPE_MISSING", message).into())
    }
}

impl FromRequest for Visitor {
    type Error = Turned;
    type Future = LocalBoxFuture<'static, Result<Self, Turned>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { visitor(&request).await })
    }
}

async fn visitor(request: &HttpRequest) -> Result<Visitor, Turned> {
    let Some(shared) = request.app_data::<Data<Shared>>() else { return Err(ApiError::unauthorized().into()) };
    if is_from_elsewhere(request.headers()) {
        return Err(Turned::Bounce(request.uri().to_string()));
    }
    if shared.keys.is_open() {
        let caller = Caller::operator();
        return Ok(Visitor { caller, token: String::new(), is_open: true, renewed: None });
    }
    let now = wall_now();
    let session = match cookie_of(request.headers()) {
        Some(cookie) => shared.keys.session(cookie, now).await.map_err(ApiError::from)?,
        None => None,
    };
    let Some(session) = session else { return Err(Turned::SignIn(request.uri().to_string(), is_ours(request))) };
    let renewed = if session.expires_at.since_ms(now) < COOKIE_MS - RENEW_MS {
        shared.keys.cookie(&session.caller, now).await.map_err(ApiError::from)?
    } else {
        None
    };
    Ok(Visitor { caller: session.caller, token: session.token, is_open: false, renewed })
}

/// True if one of our scripts asks.
pub fn is_ours(request: &HttpRequest) -> bool {
    request.headers().contains_key(OURS)
}

/// A link on another site leads here. Its request comes without our cookie.
fn is_from_elsewhere(headers: &HeaderMap) -> bool {
    headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site")
}

/// The header that sets a cookie; an empty one is removed.
pub fn set_cookie(request: &HttpRequest, cookie: &str) -> (header::HeaderName, String) {
    let is_https = request.connection_info().scheme() == "https";
    let secure = if is_https { "; Secure" } else { "" };
    let age = if cookie.is_empty() { 0 } else { COOKIE_MS / 1_000 };
    let text = format!("{COOKIE}={cookie}; Path=/; HttpOnly; SameSite=Strict; Max-Age={age}{secure}");
    (header::SET_COOKIE, text)
}

/// Reason for which somebody gets another page than asked for.
#[derive(Debug)]
pub enum Turned {
    /// No cookie that is good; with where to go on, and whether a script asks.
    SignIn(String, bool),
    /// A link of another site has led here: the page asks for itself, with its cookie.
    Bounce(String),
    /// Something is wrong.
    Failed(ApiError),
}

impl From<ApiError> for Turned {
    fn from(error: ApiError) -> Self {
        Self::Failed(error)
    }
}

impl From<crate::queue::QueueError> for Turned {
    fn from(error: crate::queue::QueueError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<crate::service::Refusal> for Turned {
    fn from(refusal: crate::service::Refusal) -> Self {
        Self::Failed(refusal.into())
    }
}

impl fmt::Display for Turned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SignIn(..) => f.write_str("sign in first"),
            Self::Bounce(_) => f.write_str("from another site"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl ResponseError for Turned {
    fn status_code(&self) -> StatusCode {
        match self {
            Self::SignIn(_, true) => StatusCode::UNAUTHORIZED,
            Self::SignIn(_, false) => StatusCode::SEE_OTHER,
            Self::Bounce(_) => StatusCode::OK,
            Self::Failed(error) => error.status_code(),
        }
    }

    fn error_response(&self) -> HttpResponse {
        match self {
            Self::SignIn(next, false) => {
                let next = percent_encoding::utf8_percent_encode(next, percent_encoding::NON_ALPHANUMERIC);
                HttpResponse::SeeOther().insert_header((header::LOCATION, format!("/in?next={next}"))).finish()
            }
            Self::SignIn(_, true) => HttpResponse::Unauthorized().body("sign in again"),
            Self::Bounce(to) => page::bounce(to),
            Self::Failed(error) => page::failure(error.status_code(), error.message()),
        }
    }
}
