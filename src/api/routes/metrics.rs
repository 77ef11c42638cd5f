//! `GET /metrics`

use actix_web::http::header::{ACCEPT, CACHE_CONTROL};
use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::super::metrics;
use super::super::shared::Shared;
use super::resource;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/metrics").get(show));
}

async fn show(request: HttpRequest, shared: Data<Shared>) -> HttpResponse {
    let wanted = request.headers().get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    let found = metrics::gather(&shared).await;
    let (kind, text) = if wanted.contains("application/openmetrics-text") {
        ("application/openmetrics-text; version=1.0.0; charset=utf-8", found)
    } else {
        ("text/plain; version=0.0.4; charset=utf-8", metrics::as_text(&found))
    };
    HttpResponse::Ok().content_type(kind).insert_header((CACHE_CONTROL, "no-store")).body(text)
}
