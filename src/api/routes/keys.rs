//! `/api/keys` and `/api/audit`.

use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::answer;
use super::super::audit::Detail;
use super::super::body::body;
use super::super::error::ApiError;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::resource;
use crate::queue::{AuditRecord, ReadAudit, ReadKeys};
use crate::service::{self, Caller, KeySecret};
use wire::request::{NewKey, Rotation};
use wire::response::{AuditEntry, AuditPage, Key, KeySecret as Secret, Keys};

/// Longest time for which two secrets of a key work, in milliseconds.
const MAX_GRACE_MS: i64 = 30 * 86_400_000;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/keys").get(list).post(create))
        .service(resource("/api/keys/{name}").delete(revoke))
        .service(resource("/api/keys/{name}/rotate").post(rotate))
        .service(resource("/api/audit").get(audit));
}

async fn list(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let stored = shared.queue.ask(ReadKeys).await?;
    let mut keys: Vec<Key> = shared.keys.of_settings().map(of_settings).collect();
    keys.extend(stored.iter().map(service::key_view));
    keys.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(answer::list(&Keys { keys }))
}

fn of_settings(caller: &Caller) -> Key {
    let rights = caller.rights();
    Key {
        name: caller.name().to_owned(),
        scopes: rights.scopes.iter().copied().map(Into::into).collect(),
        roots: Vec::new(),
        max_permission_mode: None,
        limits: rights.limits.clone(),
        from_settings: true,
        created_at: None,
        expires_at: None,
        revoked_at: None,
        last_used_at: None,
        unreadable: None,
    }
}

async fn create(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let new: NewKey = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let secret = service::create_key(&shared, new).await?;
    Ok(shown(HttpResponse::Created().json(view(&secret)), &secret.name))
}

async fn rotate(
    name: Path<String>,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let body = body(payload, &shared.bodies).await?;
    let Rotation { grace_ms } = if body.is_empty() { Rotation::default() } else { input::json(&request, &body)? };
    if !(0..=MAX_GRACE_MS).contains(&grace_ms) {
        return Err(ApiError::invalid("graceMs", format!("must be from 0 to {MAX_GRACE_MS}, got {grace_ms}")));
    }
    let secret = service::rotate_key(&shared, &name, grace_ms).await?;
    Ok(shown(HttpResponse::Ok().json(view(&secret)), &name))
}

async fn revoke(name: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let key = service::revoke_key(&shared, &name).await?;
    Ok(shown(HttpResponse::Ok().json(key), &name))
}

fn view(secret: &KeySecret) -> Secret {
    let KeySecret { name, key, expires_at } = secret;
    Secret { name: name.clone(), key: key.clone(), expires_at: *expires_at }
}

/// The answer with the name of the key for the audit log. No cache keeps it.
fn shown(mut response: HttpResponse, name: &str) -> HttpResponse {
    response.extensions_mut().insert(Detail(json!({ "name": name })));
    let no_store = actix_web::http::header::HeaderValue::from_static("no-store");
    response.headers_mut().insert(actix_web::http::header::CACHE_CONTROL, no_store);
    response
}

/// `GET /api/audit`: newest first.
async fn audit(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["before", "limit"])?;
    let limit = params.number("limit", 1, 1_000, 100)?.unsigned_abs();
    let before = params.number("before", 1, i64::MAX, i64::MAX)?;
    let records = shared.queue.ask(ReadAudit { before, limit }).await?;
    let next_before = records.last().filter(|_| records.len() as u64 == limit).map(|record| record.id);
    Ok(answer::list(&AuditPage { entries: records.into_iter().map(entry).collect(), next_before }))
}

fn entry(record: AuditRecord) -> AuditEntry {
    let AuditRecord { id, at, key, address, action, path, status, detail } = record;
    let detail = serde_json::from_str(&detail).unwrap_or_else(|_| json!({}));
    AuditEntry { id, at, key, address, action, path, status, detail }
}
