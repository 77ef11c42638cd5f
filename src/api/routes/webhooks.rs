//! `/api/webhooks`, and the deliveries of a task.

use actix_web::http::StatusCode;
use actix_web::web::{self, Data, Path, Payload};
use actix_web::{HttpRequest, HttpResponse};

use super::super::answer;
use super::super::body::body;
use super::super::caller::{Caller, own_task};
use super::super::error::ApiError;
use super::super::input;
use super::super::shared::Shared;
use super::resource;
use crate::queue::{self, AddWebhook, EnableWebhook, ReadDeliveries, ReadWebhooks, RemoveWebhook, RetryDelivery};
use crate::service::{check_webhook, key_limit};
use wire::request::WebhookChanges;
use wire::response::{Deliveries, Delivery, DeliveryReceipt, Webhook, Webhooks};
use wire::{DeliveryState, WebhookOptions};

pub fn routes(config: &mut web::ServiceConfig) {
    config
        .service(resource("/api/webhooks").get(list).post(add))
        .service(resource("/api/webhooks/{id}").patch(enable).delete(remove))
        .service(resource("/api/tasks/{id}/deliveries").get(deliveries))
        .service(resource("/api/tasks/{id}/deliveries/{delivery}/retry").post(retry));
}

fn view(webhook: queue::Webhook) -> Webhook {
    let (disabled_at, disabled_reason) = webhook.disabled.unzip();
    Webhook {
        webhook_id: webhook.id,
        key: webhook.key,
        url: webhook.url,
        events: webhook.events,
        format: webhook.format,
        tags: webhook.tags,
        quiet: webhook.quiet,
        created_at: webhook.created_at,
        enabled: disabled_at.is_none(),
        failing_since: webhook.failing_since,
        disabled_at,
        disabled_reason,
    }
}

async fn list(caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let webhooks = shared.queue.ask(ReadWebhooks(caller.own())).await?;
    Ok(answer::list(&Webhooks { webhooks: webhooks.into_iter().map(view).collect() }))
}

/// `POST`: of all tasks, or, where the caller is no admin, of its own.
async fn add(
    request: HttpRequest,
    payload: Payload,
    caller: Caller,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let webhook: WebhookOptions = input::json(&request, &body(payload, &shared.bodies).await?)?;
    webhook
        .validate()
        .map_err(|wrong| ApiError::invalid(wrong.field.trim_start_matches("options.webhook."), wrong.rule))?;
    check_webhook(&shared, "url", &webhook)?;
    let most = caller.limits().max_webhooks;
    match shared.queue.ask(AddWebhook { webhook, key: caller.own(), most }).await? {
        Some(webhook) => Ok(HttpResponse::Created().json(view(webhook))),
        None => Err(key_limit("maxWebhooks", most.unwrap_or_default().into()).into()),
    }
}

async fn enable(
    id: Path<String>,
    caller: Caller,
    request: HttpRequest,
    payload: Payload,
    shared: Data<Shared>,
) -> Result<HttpResponse, ApiError> {
    let WebhookChanges { enabled } = input::json(&request, &body(payload, &shared.bodies).await?)?;
    let webhook = shared.queue.ask(EnableWebhook { id: id.clone(), key: caller.own(), enabled }).await?;
    webhook.map(|webhook| HttpResponse::Ok().json(view(webhook))).ok_or_else(|| unknown(&id))
}

fn unknown(id: &str) -> ApiError {
    ApiError::new(StatusCode::NOT_FOUND, "WEBHOOK_NOT_FOUND", format!("there is no webhook {id}"))
}

async fn remove(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    match shared.queue.ask(RemoveWebhook { id: id.clone(), key: caller.own() }).await? {
        true => Ok(HttpResponse::NoContent().finish()),
        false => Err(unknown(&id)),
    }
}

async fn deliveries(id: Path<String>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let task = own_task(&shared, &caller, &id).await?;
    let deliveries = shared.queue.ask(ReadDeliveries(task)).await?;
    let view = |delivery: queue::Delivery| {
        let is_pending = delivery.state.known() == Some(DeliveryState::Pending);
        Delivery {
            delivery_id: delivery.id,
            event: format!("task.{}", delivery.event),
            url: delivery.url,
            state: delivery.state,
            attempts: delivery.attempts,
            next_attempt_at: is_pending.then_some(delivery.next_at.max(delivery.created_at)),
            last_status: delivery.last_status,
            last_error: delivery.last_error,
            created_at: delivery.created_at,
            ended_at: delivery.ended_at,
        }
    };
    Ok(answer::list(&Deliveries { task_id: task, deliveries: deliveries.into_iter().map(view).collect() }))
}

async fn retry(path: Path<(String, String)>, caller: Caller, shared: Data<Shared>) -> Result<HttpResponse, ApiError> {
    let (id, delivery) = path.into_inner();
    let task = own_task(&shared, &caller, &id).await?;
    if shared.queue.ask(RetryDelivery { task, id: delivery.clone() }).await? {
        return Ok(HttpResponse::Accepted().json(DeliveryReceipt { task_id: task, delivery_id: delivery }));
    }
    let message = format!("task {id} has no delivery {delivery}; see GET /api/tasks/{id}/deliveries");
    Err(ApiError::new(StatusCode::NOT_FOUND, "DELIVERY_NOT_FOUND", message))
}
