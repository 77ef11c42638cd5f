//! `GET /api/usage`: what was spent, and what is left today.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::resource;
use crate::process::wall_now;
use crate::queue::ReadUsage;
use domain::Wall;
use wire::view::bounded;

/// Days that are shown where nothing else is asked for.
const DAYS: i64 = 30;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/usage").get(usage));
}

async fn usage(request: HttpRequest, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["from", "to", "key"])?;
    let now = wall_now();
    let read = ReadUsage {
        from: day(&params, "from", now.plus_ms(-(DAYS - 1) * Wall::DAY_MS))?,
        to: day(&params, "to", now)?,
        key: params.text("key").map(str::to_owned),
    };
    let usage = shared.queue.ask(read).await?;
    let sum = |of: &[(String, f64)], key: Option<&str>| -> f64 {
        of.iter().filter(|(name, _)| key.is_none_or(|key| key == name)).fold(0.0, |sum, (_, usd)| sum + usd)
    };
    let left = |limit: Option<f64>, key: Option<&str>| -> Value {
        let (spent, reserved) = (sum(&usage.spent, key), sum(&usage.reserved, key));
        let left = limit.map(|limit| (limit - spent - reserved).max(0.0));
        json!({ "limitUsd": limit, "spentUsd": spent, "reservedUsd": reserved, "leftUsd": left })
    };
    let mut names: Vec<&str> = usage.spent.iter().chain(&usage.reserved).map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let keys: serde_json::Map<String, Value> =
        names.into_iter().map(|name| (name.to_owned(), left(shared.budgets.key, Some(name)))).collect();
    Ok(HttpResponse::Ok().json(bounded(json!({
        "days": usage.days,
        "totalUsd": usage.days.iter().fold(0.0, |sum, day| sum + day.cost_usd),
        "today": { "day": usage.today, "server": left(shared.budgets.server, None), "keys": keys },
    }))))
}

/// A day in UTC, such as `2026-01-31`.
fn day(params: &Params, name: &str, default: Wall) -> Result<String, ApiError> {
    let text = params.text(name).map_or_else(|| default.day(), str::to_owned);
    match serde_json::from_value::<Wall>(json!(format!("{text}T00:00:00Z"))) {
        Ok(_) if text.len() == 10 => Ok(text),
        _ => Err(ApiError::invalid(name, format!("must be a day such as 2026-01-31, got \"{text}\""))),
    }
}
