//! `/api/search`

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::resource;
use crate::service::{Hit, Hits};
use wire::response::{SearchHit, SearchPage};

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/search").get(search));
}

/// `GET /api/search`
async fn search(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["q", "limit", "cursor"])?;
    let limit = params.number("limit", 1, 100, 20)?.unsigned_abs();
    let before = params.number("cursor", 0, i64::MAX, i64::MAX)?;
    let question = params.text("q").unwrap_or_default();
    let Hits { terms, hits, next } = shared.search.find(&caller, question, before, limit).await?;
    let hits = hits.into_iter().map(view).collect();
    Ok(answer::list(&SearchPage { terms, hits, next_cursor: next }))
}

fn view(hit: Hit) -> SearchHit {
    let Hit { task, event, excerpt } = hit;
    SearchHit {
        task_id: task.id,
        title: task.spec.title(),
        status: task.status,
        seq: event.seq,
        at: event.at,
        kind: event.kind,
        excerpt,
    }
}
