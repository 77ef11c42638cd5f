//! `GET /api/usage`: what was spent, and what is left today.

use actix_web::web::{self, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::super::answer;
use super::super::caller::Caller;
use super::super::error::ApiError;
use super::super::input::Params;
use super::super::shared::Shared;
use super::resource;
use crate::process::wall_now;
use crate::queue::ReadUsage;
use crate::service;
use domain::Timestamp;

/// Days that are shown where nothing else is asked for.
const DAYS: i64 = 30;

pub fn routes(config: &mut web::ServiceConfig) {
    config.service(resource("/api/usage").get(usage));
}

async fn usage(request: HttpRequest, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let params = Params::read(&request, &["from", "to", "key"])?;
    let now = wall_now();
    let read = ReadUsage {
        from: day(&params, "from", now.plus_ms(-(DAYS - 1) * Timestamp::DAY_MS))?,
        to: day(&params, "to", now)?,
        key: params.text("key").map(str::to_owned),
    };
    Ok(answer::list(&service::usage(&shared, &caller, read).await?))
}

/// A day in UTC, such as `2026-01-31`.
fn day(params: &Params, name: &str, default: Timestamp) -> Result<String, ApiError> {
    let text = params.text(name).map_or_else(|| default.day(), str::to_owned);
    match serde_json::from_value::<Timestamp>(json!(format!("{text}T00:00:00Z"))) {
        Ok(_) if text.len() == 10 => Ok(text),
        _ => Err(ApiError::invalid(name, format!("must be a day such as 2026-01-31, got \"{text}\""))),
    }
}
