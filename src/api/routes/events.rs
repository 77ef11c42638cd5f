//! `GET /api/events`: what happens to all tasks, as a stream or in pages.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::super::error::ApiError;
use super::super::feed::{self, Wanted};
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::super::stream;
use super::resource;
use wire::view::{AllEventsView, EventView};

/// Most bytes of events in one answer.
const PAGE_BYTES: u64 = 2 << 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/events").get(events));
}

async fn events(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let known: Vec<&str> = Wanted::PARAMS.into_iter().chain(["after", "limit"]).collect();
    let params = Params::read(&request, &known)?;
    let (wanted, after) = (Wanted::read(&params)?, input::after(&request, &params)?);
    if input::wants_json(&request) {
        let limit = params.number("limit", 1, 1_000, 200)?;
        return page(&shared, wanted, after.unwrap_or(0), limit.unsigned_abs()).await;
    }
    let follower = shared.tail.follow(after).await?;
    Ok(stream::answer(feed::events(&shared, wanted, follower)))
}

/// What is there behind `after`: at most `limit` events are looked at, of which those that are wanted are shown.
async fn page(shared: &Shared, mut wanted: Wanted, after: i64, limit: u64) -> Result<HttpResponse, ApiError> {
    let found = shared.tail.page(after, limit, PAGE_BYTES).await?;
    let last = found.events.last().map_or(after, |event| event.n);
    let mut events = Vec::new();
    for event in &found.events {
        if wanted.has(event, &shared.queue).await? {
            events.extend(EventView::numbered(event.n, &event.event));
        }
    }
    Ok(HttpResponse::Ok().json(AllEventsView { events, last, has_more: found.more }))
}
