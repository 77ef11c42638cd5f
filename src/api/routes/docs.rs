//! `GET /api/openapi.json` and `GET /api/docs`: the contract, for programs and for people. Both need no key.

use actix_web::HttpResponse;
use actix_web::web;

use super::super::openapi::{DOCUMENT, HTML};
use super::resource;

/// The page has its style, and makes no request of its own.
const POLICY: (&str, &str) = ("content-security-policy", "default-src 'none'; style-src 'unsafe-inline'");

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/openapi.json").get(document)).service(resource("/api/docs").get(page));
}

async fn document() -> HttpResponse {
    HttpResponse::Ok().json(&*DOCUMENT)
}

async fn page() -> HttpResponse {
    HttpResponse::Ok().content_type("text/html; charset=utf-8").insert_header(POLICY).body(HTML.as_str())
}
