//! `GET /api/events`: what happens to all tasks, as a stream or in pages.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};

use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::feed::{Feed, Wanted};
use super::super::follow;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use super::resource;
use wire::response::{EventView, FeedPage};

/// Maximum size of the events in one answer, in bytes.
const PAGE_BYTES: u64 = 2 << 20;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/events").get(events)).service(resource("/api/events/page").get(page));
}

/// The parameters of a query: the events that are wanted, and the number behind which they begin.
fn query(request: &HttpRequest, caller: &Caller) -> Result<(Params, Wanted, Option<i64>), ApiError> {
    let known: Vec<&str> = Wanted::PARAMS.into_iter().chain(["after", "limit"]).collect();
    let params = Params::read(request, &known)?;
    let (wanted, after) = (Wanted::read(&params, caller)?, input::after(request, &params)?);
    Ok((params, wanted, after))
}

/// A stream. A client that accepts JSON only gets the page, as it did before that had a path of its own.
async fn events(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    if input::wants_json(&request) {
        return page(request, caller, shared).await;
    }
    let (_, wanted, after) = query(&request, &caller)?;
    let permit = shared.streams.open(&shared.keys, &caller)?;
    let follower = shared.tail.follow(after).await?;
    Ok(follow::answer(Feed::of(&shared, wanted, follower), permit, shared.phase.clone()))
}

/// The events behind `after`: at most `limit` are looked at, of which those that are wanted are shown.
async fn page(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (params, mut wanted, after) = query(&request, &caller)?;
    let (after, limit) = (after.unwrap_or(0), params.number("limit", 1, 1_000, 200)?.unsigned_abs());
    let found = shared.tail.page(after, limit, PAGE_BYTES).await?;
    let last = found.events.last().map_or(after, |event| event.n);
    let mut events = Vec::new();
    for event in &found.events {
        if wanted.has(event, &shared.queue).await? {
            events.extend(EventView::numbered(event.n, &event.event));
        }
    }
    Ok(HttpResponse::Ok().json(FeedPage { events, last, has_more: found.more }))
}
