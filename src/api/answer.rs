//! Answers that are lists.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use serde::Serialize;
use serde_json::json;
use wire::response::{LIST_BYTES, bounded};

/// A list as JSON; the longest texts of one that is too long are cut.
pub fn list(page: &impl Serialize) -> HttpResponse {
    match serde_json::to_string(page) {
        Ok(text) if text.len() <= LIST_BYTES => HttpResponse::Ok().content_type(ContentType::json()).body(text),
        _ => HttpResponse::Ok().json(bounded(json!(page))),
    }
}
