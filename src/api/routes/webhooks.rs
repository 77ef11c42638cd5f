//! `/api/webhooks`, and the deliveries of a task.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::super::error::ApiError;
use super::super::input::{self, task_id};
use super::super::shared::Shared;
use super::resource;
use super::tasks::find;
use crate::queue::{
    AddWebhook, Delivery, EnableWebhook, ReadDeliveries, ReadWebhooks, RemoveWebhook, RetryDelivery, Webhook,
};
use crate::service::check_webhook;
use wire::WebhookOptions;
use wire::view::bounded;

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/webhooks").get(list).post(add))
        .service(resource("/api/webhooks/{id}").patch(enable).delete(remove))
        .service(resource("/api/tasks/{id}/deliveries").get(deliveries))
        .service(resource("/api/tasks/{id}/deliveries/{delivery}/retry").post(retry));
}

fn view(webhook: &Webhook) -> Value {
    let events: Vec<_> = webhook.events.iter().map(|name| json!(name)).collect();
    let disabled = webhook.disabled.as_ref();
    json!({
        "webhookId": webhook.id,
        "url": webhook.url,
        "events": events,
        "createdAt": webhook.created_at,
        "enabled": disabled.is_none(),
        "failingSince": webhook.failing_since,
        "disabledAt": disabled.map(|(at, _)| at),
        "disabledReason": disabled.map(|(_, why)| why),
    })
}

async fn list(shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let webhooks = shared.queue.ask(ReadWebhooks).await?;
    Ok(HttpResponse::Ok().json(bounded(json!({ "webhooks": webhooks.iter().map(view).collect::<Vec<_>>() }))))
}

async fn add(request: HttpRequest, payload: Payload, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let webhook: WebhookOptions = input::json(&request, &input::body(payload).await?)?;
    webhook
        .validate()
        .map_err(|wrong| ApiError::invalid(wrong.field.trim_start_matches("options.webhook."), wrong.message))?;
    check_webhook(&shared, "url", &webhook)?;
    Ok(HttpResponse::Created().json(view(&shared.queue.ask(AddWebhook(webhook)).await?)))
}

/// What `PATCH` takes.
#[derive(Deserialize, ToSchema)]
#[schema(as = WebhookChanges)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Changes {
    /// `true`: it is told again. `false`: nothing more.
    enabled: bool,
}

async fn enable(
    id: Path<String>,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let Changes { enabled } = input::json(&request, &input::body(payload).await?)?;
    let webhook = shared.queue.ask(EnableWebhook { id: id.clone(), enabled }).await?;
    webhook.map(|webhook| HttpResponse::Ok().json(view(&webhook))).ok_or_else(|| unknown(&id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "WEBHOOK_NOT_FOUND", format!("there is no webhook {id}"))
}

async fn remove(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    match shared.queue.ask(RemoveWebhook(id.clone())).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(unknown(&id)),
    }
}

async fn deliveries(id: Path<String>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = find(&shared, &id).await?.id;
    let deliveries = shared.queue.ask(ReadDeliveries(task)).await?;
    let view = |delivery: &Delivery| {
        json!({
            "deliveryId": delivery.id,
            "event": format!("task.{}", delivery.event),
            "url": delivery.url,
            "state": delivery.state,
            "attempts": delivery.attempts,
            "nextAttemptAt": (delivery.state == "pending").then_some(delivery.next_at.max(delivery.created_at)),
            "lastStatus": delivery.last_status,
            "lastError": delivery.last_error,
            "createdAt": delivery.created_at,
            "endedAt": delivery.ended_at,
        })
    };
    let deliveries: Vec<_> = deliveries.iter().map(view).collect();
    Ok(HttpResponse::Ok().json(bounded(json!({ "taskId": task, "deliveries": deliveries }))))
}

async fn retry(path: Path<(String, String)>, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = path.into_inner();
    let task = task_id(&id)?;
    if shared.queue.ask(RetryDelivery { task, id: delivery.clone() }).await? {
        return Ok(HttpResponse::Accepted().json(json!({ "taskId": task, "deliveryId": delivery })));
    }
    let message = format!("task {id} has no delivery {delivery}; see GET /api/tasks/{id}/deliveries");
    Err(ApiError::new(StatusCode::NOT_FOUND, "DELIVERY_NOT_FOUND", message))
}
