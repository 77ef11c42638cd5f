//! JSON and queries, with errors that name the field.

use std::collections::HashMap;

use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, CONTENT_TYPE};
use actix_web::{HttpRequest, web};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::error::ApiError;
use domain::TaskId;

/// Reads a JSON body.
pub fn json<T: DeserializeOwned>(request: &HttpRequest, body: &[u8]) -> Result<T, ApiError> {
    let kind = request.headers().get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("application/json") {
        let message = "send the body as JSON, with the header Content-Type: application/json";
        return Err(ApiError::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "UNSUPPORTED_MEDIA_TYPE", message));
    }
    match read(body) {
        // JavaScript programs cut texts in the middle of a character; it is replaced, as everywhere.
        Err((_, error)) if is_of_half_a_character(&error) => {
            let text = String::from_utf8_lossy(body);
            let mended = domain::json::clean(&text);
            read(mended.as_deref().unwrap_or_default().as_bytes())
        }
        read => read,
    }
    .map_err(|(path, error)| fault(&path, &error))
}

/// True if it is an escape of half a character that can't be read; serde_json tells only in words.
fn is_of_half_a_character(error: &serde_json::Error) -> bool {
    let error = error.to_string();
    ["surrogate", "hex escape"].iter().any(|words| error.contains(words))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, (String, serde_json::Error)> {
    let reader = &mut serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut *reader).map_err(|error| {
        let path = error.path().to_string();
        (path, error.into_inner())
    })?;
    reader.end().map_err(|error| (".".to_owned(), error))?;
    Ok(value)
}

fn fault(path: &str, error: &serde_json::Error) -> ApiError {
    match error.classify() {
        Category::Data => {
            let text = error.to_string();
            let rule = text.split(" at line ").next().unwrap_or_default();
            ApiError::invalid(&field_of(path, rule), rule)
        }
        _ => ApiError::new(StatusCode::BAD_REQUEST, "INVALID_JSON", format!("the body is no JSON: {error}")),
    }
}

/// The path of the field; an unknown or missing one stands in serde's message only.
fn field_of(path: &str, rule: &str) -> String {
    let quoted = rule.split('`').nth(1);
    let named = if rule.starts_with("missing field") { quoted } else { None };
    match (path, named) {
        (".", Some(name)) => name.to_owned(),
        (".", None) => "body".to_owned(),
        (path, Some(name)) => format!("{path}.{name}"),
        (path, None) => path.to_owned(),
    }
}

/// The parameters of a query; unknown ones are refused.
pub struct Params(HashMap<String, String>);

impl Params {
    /// Reads the query of a request.
    pub fn read(request: &HttpRequest, known: &[&str]) -> Result<Self, ApiError> {
        let params = web::Query::<HashMap<String, String>>::from_query(request.query_string())
            .map_err(|error| ApiError::invalid("query", error.to_string()))?
            .into_inner();
        match params.keys().find(|name| !known.contains(&name.as_str())) {
            Some(unknown) => {
                Err(ApiError::invalid(unknown, format!("unknown parameter, expected one of {}", known.join(", "))))
            }
            None => Ok(Self(params)),
        }
    }

    /// The same without those that are empty, as a form sends fields that nobody has filled in.
    #[must_use]
    pub fn filled(mut self) -> Self {
        self.0.retain(|_, value| !value.trim().is_empty());
        self
    }

    /// The same with another value of one; an empty one takes it away.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        let mut params = self.0.clone();
        params.insert(name.to_owned(), value.to_owned());
        Self(params).filled()
    }

    /// The parameters as they stand in an address, in the order of their names.
    #[must_use]
    pub fn query(&self) -> String {
        let value = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let mut all: Vec<_> = self.0.iter().map(|(name, text)| format!("{name}={}", value(text))).collect();
        all.sort();
        all.join("&")
    }

    /// A parameter, where it was sent.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// A whole number within a range.
    pub fn number(&self, name: &str, low: i64, high: i64, default: i64) -> Result<i64, ApiError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        match text.parse::<i64>() {
            Ok(number) if (low..=high).contains(&number) => Ok(number),
            _ => Err(ApiError::invalid(name, format!("must be a whole number from {low} to {high}, got \"{text}\""))),
        }
    }
}

/// The id in a path. What is no id names no task.
pub fn task_id(text: &str) -> Result<TaskId, ApiError> {
    str::parse::<TaskId>(text).map_err(|_| ApiError::no_task(text))
}

/// The number behind which the client wants events: `Last-Event-ID`, else `after`.
pub fn after(request: &HttpRequest, params: &Params) -> Result<Option<i64>, ApiError> {
    let last = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or_default().trim());
    let rule = || ApiError::invalid("Last-Event-ID", "must be the id of an event");
    match (last, params.text("after")) {
        (Some(last), _) => last.parse().ok().filter(|last| *last >= 0).map(Some).ok_or_else(rule),
        (None, Some(_)) => params.number("after", 0, i64::MAX, 0).map(Some),
        (None, None) => Ok(None),
    }
}

/// True if the client wants JSON, where there is a stream as well.
pub fn wants_json(request: &HttpRequest) -> bool {
    let accept = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok());
    accept.is_some_and(|accept| accept.starts_with("application/json"))
}
