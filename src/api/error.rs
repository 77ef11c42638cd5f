//! The one place where a failure becomes a status and a body.

use actix_web::http::StatusCode;
use actix_web::http::header::{ALLOW, RETRY_AFTER};
use actix_web::{HttpResponse, ResponseError};
use serde_json::{Value, json};

use super::guard::harden;
use crate::queue::QueueError;
use crate::service::{Kind, Refusal};
use domain::Invalid;
use wire::response::{ErrorBody, Failed};

/// Seconds after which a client may try again.
const RETRY_AFTER_SECONDS: u32 = 2;

/// A failure as the client sees it: `{"error":{"code","message","details"}}`.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    details: Value,
}

impl ApiError {
    /// A failure with that status and code; the message says what to do.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), details: json!({}) }
    }

    /// The same with details for programs.
    #[must_use]
    pub fn with(mut self, details: Value) -> Self {
        self.details = details;
        self
    }

    /// True if no good key was shown.
    pub fn is_unauthorized(&self) -> bool {
        self.status == StatusCode::UNAUTHORIZED
    }

    /// A stable name for programs.
    pub const fn code(&self) -> &'static str {
        self.code
    }

    /// A sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// A field that breaks a rule.
    pub fn invalid(field: &str, message: impl Into<String>) -> Self {
        Refusal::invalid(field, message).into()
    }

    /// The same about one task of several.
    #[must_use]
    pub fn of_task(mut self, n: usize) -> Self {
        self.message = format!("tasks[{n}]: {}", self.message);
        if let Some(field) = self.details["field"].as_str() {
            self.details["field"] = json!(format!("tasks[{n}].{field}"));
        }
        self.details["index"] = json!(n);
        self
    }

    /// Answer where there is no such task.
    pub fn no_task(id: &str) -> Self {
        Refusal::no_task(id).into()
    }

    /// Answer where no good key was shown.
    pub fn unauthorized() -> Self {
        let message = "show the key, as X-API-Key or as Authorization: Bearer; without API_KEY it is in the data folder (cc-anywhere keys show)";
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message)
    }

    /// The server accepts nothing new.
    pub fn draining() -> Self {
        Refusal::draining().into()
    }

    /// A fault of ours, which has been logged with its place.
    pub fn panicked() -> Self {
        let message = "the server failed at this request; its log has the place. Others are answered";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL", message)
    }

    /// Answer where the server forbids a request.
    pub fn forbidden(code: &'static str, message: impl Into<String>) -> Self {
        Refusal::forbidden(code, message).into()
    }
}

impl std::fmt::Display for ApiError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let status = match refusal.kind {
            Kind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Forbidden => StatusCode::FORBIDDEN,
            Kind::Unknown => StatusCode::NOT_FOUND,
            Kind::Conflict => StatusCode::CONFLICT,
            Kind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Kind::Full => StatusCode::TOO_MANY_REQUESTS,
            Kind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        };
        Self::new(status, refusal.code, refusal.message).with(refusal.details)
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        Refusal::from(invalid).into()
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        Refusal::from(error).into()
    }
}

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.status
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status);
        if matches!(self.status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) {
            response.insert_header((RETRY_AFTER, RETRY_AFTER_SECONDS));
        }
        if let Some(methods) = self.details["allow"].as_str() {
            response.insert_header((ALLOW, methods));
        }
        let Self { code, message, details, .. } = self;
        let error = ErrorBody { code: (*code).to_owned(), message: message.clone(), details: details.clone() };
        let mut response = response.json(Failed { error });
        // That of a panic goes past the guard.
        harden(response.headers_mut());
        response
    }
}
