//! Webhooks and their deliveries.

use async_trait::async_trait;

use crate::store::error::StoreError;
use crate::store::rows::{ClaimDeliveriesRow, DeliveryEnd, WebhookRow};
use crate::store::views::Dispatch;
use domain::{TaskId, Timestamp};

/// See the [module](self).
#[async_trait(?Send)]
pub trait Hooks {
    /// Inserts a webhook.
    async fn insert_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError>;

    /// Removes a registered webhook; with `key`, only one of that key. Returns whether there was one.
    async fn remove_webhook(&mut self, id: &str, key: Option<&str>) -> Result<bool, StoreError>;

    /// Returns a registered webhook.
    async fn webhook(&mut self, id: &str) -> Result<Option<WebhookRow>, StoreError>;

    /// Number of registered webhooks of a key.
    async fn count_webhooks(&mut self, key: &str) -> Result<i64, StoreError>;

    /// Returns the registered webhook that a delivery is for.
    async fn webhook_of(&mut self, delivery: &str) -> Result<Option<WebhookRow>, StoreError>;

    /// Writes since when a webhook fails, and whether it is disabled.
    async fn update_webhook(&mut self, row: &WebhookRow) -> Result<(), StoreError>;

    /// Inserts a delivery of this event for each enabled webhook that is told of it.
    async fn queue_deliveries(&mut self, task: TaskId, event: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Takes deliveries that are due, some of each host.
    async fn claim_deliveries(&mut self, claim: &ClaimDeliveriesRow<'_>) -> Result<Vec<Dispatch>, StoreError>;

    /// Writes what became of an attempt, if it is the newest of its delivery.
    async fn end_delivery(&mut self, end: &DeliveryEnd<'_>) -> Result<(), StoreError>;

    /// Fails all deliveries that wait for a webhook.
    async fn fail_deliveries(&mut self, webhook: &str, error: &str, now: Timestamp) -> Result<(), StoreError>;

    /// Makes a delivery of a task due again. Returns whether there is one.
    async fn retry_delivery(&mut self, task: TaskId, id: &str, now: Timestamp) -> Result<bool, StoreError>;
}
