//! `/api/queue/limits`: how many tasks of a group run at a time, how many start in a time, or none for now.

use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::body::body;
use super::super::error::ApiError;
use super::super::input::{self, Params};
use super::super::shared::Shared;
use crate::queue::{ReadLimits, SetLimit};
use domain::{Group, GroupKind, Limit, LimitChange, MAX_NAME, Named as _};
use wire::request::{Members, NewLimit};
use wire::response::{LimitState, LimitUse, Limits};

/// `GET`: those that are set.
pub async fn list(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let limits = shared.queue.ask(ReadLimits).await?;
    let limits = limits.iter().map(|known| LimitUse::of(&known.group, known.limit, known.waiting)).collect();
    Ok(answer::list(&Limits { limits }))
}

/// `PUT`: sets the limit of a group in place of the one before.
pub async fn set(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let NewLimit { group, name, concurrency, rate, paused } =
        input::json(&request, &body(payload, &shared.bodies).await?)?;
    Limit { concurrency, rate, paused }.validate()?;
    if paused && group == GroupKind::Queue {
        // One switch for one thing: what this holds back, that would not let go.
        return Err(ApiError::invalid("paused", "can't be set on the queue, which POST /api/queue/pause holds back"));
    }
    let whole = LimitChange { concurrency: Some(concurrency), rate: Some(rate), paused: Some(paused) };
    change(&shared, checked(group, name)?, whole).await
}

/// `DELETE ?group=…&name=…`: what holds by itself holds again.
pub async fn remove(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["group", "name"])?;
    let known = GroupKind::names();
    let kind = params.text("group").and_then(GroupKind::from_name);
    let kind = kind.ok_or_else(|| ApiError::invalid("group", format!("must be one of {known}")))?;
    let group = checked(kind, params.text("name").unwrap_or_default().to_owned())?;
    let limit = shared.queue.ask(SetLimit { group: group.clone(), change: None }).await?;
    Ok(HttpResponse::Ok().json(LimitState::of(&group, limit)))
}

/// Changes the limit of a group, and answers with it.
pub async fn change(shared: &Shared, group: Group, change: LimitChange) -> Result<HttpResponse, ApiError> {
    let limit = shared.queue.ask(SetLimit { group: group.clone(), change: Some(change) }).await?;
    Ok(HttpResponse::Ok().json(LimitState::of(&group, limit)))
}

fn checked(kind: GroupKind, name: String) -> Result<Group, ApiError> {
    match (kind, name.len()) {
        (GroupKind::Queue, 0) => Ok(Group::new(kind, "")),
        (GroupKind::Queue, _) => Err(ApiError::invalid("name", "must not be set for the queue, which is one")),
        (_, 1..=MAX_NAME) => Ok(Group::new(kind, name)),
        _ => Err(ApiError::invalid("name", format!("must name the {} with 1 to {MAX_NAME} bytes", kind.name()))),
    }
}

/// The group that is named; `None` is the whole queue.
pub fn group(members: Members) -> Result<Option<Group>, ApiError> {
    let Members { tag, key, concurrency_key, .. } = members;
    let named = [(GroupKind::Tag, tag), (GroupKind::Key, key), (GroupKind::ConcurrencyKey, concurrency_key)];
    let mut named = named.into_iter().filter_map(|(kind, name)| Some((kind, name?)));
    match (named.next(), named.next()) {
        (Some((kind, name)), None) => checked(kind, name).map(Some),
        (None, _) => Ok(None),
        _ => Err(ApiError::invalid("body", "must name one of tag, key and concurrencyKey")),
    }
}
