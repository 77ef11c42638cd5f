//! The audit log: every change of an admin, every answer to a question and every change of a secret, with the key and the address that asked.

use std::net::IpAddr;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::{Error, HttpRequest};
use serde_json::{Value, json};

use super::caller::Caller;
use super::openapi::{Access, Operation};
use super::shared::Shared;
use crate::queue::{AuditRow, NoteAudit};
use wire::KeyScope;

/// Longest path of an entry, in bytes.
const MAX_PATH: usize = 1_024;

/// Facts for the log that a handler knows. It adds them to its answer.
pub struct Detail(pub Value);

/// A request that is noted in the log.
pub struct Audited {
    key: String,
    address: Option<IpAddr>,
    action: &'static str,
    path: String,
}

impl Audited {
    /// The request, if it is one that is noted.
    pub fn of(
        request: &ServiceRequest,
        operation: &Operation,
        caller: &Caller,
        address: Option<IpAddr>,
    ) -> Option<Self> {
        let is_noted = match operation.access {
            Access::Key(KeyScope::Admin) => operation.method != "GET",
            Access::Key(KeyScope::Decide) => true,
            Access::Key(_) => operation.path.starts_with("/api/secrets/"),
            _ => false,
        };
        is_noted.then(|| Self {
            key: caller.name().to_owned(),
            address,
            action: operation.id,
            path: request.path().chars().take(MAX_PATH).collect(),
        })
    }

    /// Notes the answer. It has been given already: where the log can't be written, the server's says so.
    pub async fn note(self, shared: &Shared, answered: &Result<ServiceResponse<impl MessageBody>, Error>) {
        let (status, detail) = match answered {
            Ok(response) => {
                let extensions = response.response().extensions();
                let detail = extensions.get::<Detail>().map(|detail| detail.0.to_string());
                (response.status(), detail)
            }
            Err(error) => (error.as_response_error().status_code(), None),
        };
        self.write(shared, status.as_u16(), detail.unwrap_or_else(|| json!({}).to_string())).await;
    }

    async fn write(self, shared: &Shared, status: u16, detail: String) {
        let row = AuditRow {
            key_name: self.key,
            address: self.address.map(|address| address.to_string()),
            action: self.action.to_owned(),
            path: self.path,
            status,
            detail,
        };
        tracing::info!(key = row.key_name, action = row.action, path = row.path, status = row.status, "Audit");
        if let Err(error) = shared.queue.ask(NoteAudit(row)).await {
            tracing::error!(error = crate::telemetry::chain(&error), "The audit log could not be written");
        }
    }
}

/// Notes what was done by a form, under the name of the operation that does the same.
pub async fn note_action(shared: &Shared, caller: &Caller, request: &HttpRequest, action: &'static str, detail: Value) {
    note_at(shared, caller, request, request.path().to_owned(), action, detail).await;
}

/// The same, under a path of the API: that of the request is a secret.
pub async fn note_at(
    shared: &Shared,
    caller: &Caller,
    request: &HttpRequest,
    path: String,
    action: &'static str,
    detail: Value,
) {
    let (key, address) = (caller.name().to_owned(), request.peer_addr().map(|address| address.ip()));
    let path = path.chars().take(MAX_PATH).collect();
    Audited { key, address, action, path }.write(shared, 200, detail.to_string()).await;
}
