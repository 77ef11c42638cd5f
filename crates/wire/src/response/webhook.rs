//! Webhooks and their deliveries.

use domain::{Name, TaskId, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{DeliveryState, HookEvent, HookFormat};

/// A webhook of all tasks, or of those of a key.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Webhook {
    /// The webhook.
    pub webhook_id: String,
    /// Name of the key whose tasks it is told of; `null`: of all tasks.
    #[serde(default)]
    pub key: Option<String>,
    /// Address of the receiver.
    pub url: String,
    /// Events that are sent.
    #[schema(value_type = Vec<String>)]
    pub events: Vec<Name<HookEvent>>,
    /// Shape of the messages.
    #[schema(value_type = HookFormat)]
    #[serde(default = "standard")]
    pub format: Name<HookFormat>,
    /// Tags, one of which a task must have; all tasks where there are none.
    #[serde(default)]
    pub tags: Vec<String>,
    /// True if nothing is sent while somebody has a page open.
    #[serde(default)]
    pub quiet: bool,
    /// Time at which it was created.
    pub created_at: Timestamp,
    /// True if messages are sent.
    pub enabled: bool,
    /// Time since which each message to it has failed.
    pub failing_since: Option<Timestamp>,
    /// Time at which it was disabled.
    pub disabled_at: Option<Timestamp>,
    /// Reason for which it was disabled.
    pub disabled_reason: Option<String>,
}

fn standard() -> Name<HookFormat> {
    HookFormat::Standard.into()
}

/// The webhooks of all tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Webhooks {
    /// The webhooks.
    pub webhooks: Vec<Webhook>,
}

/// The messages about a task.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Deliveries {
    /// The task.
    pub task_id: TaskId,
    /// The messages, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// A message to a receiver.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Delivery {
    /// The message, as `webhook-id` has it.
    pub delivery_id: String,
    /// Kind of the message, such as `task.completed`.
    pub event: String,
    /// Address of the receiver.
    pub url: String,
    /// `pending`, `delivered` or `failed`.
    #[schema(value_type = String)]
    pub state: Name<DeliveryState>,
    /// Number of attempts.
    pub attempts: i32,
    /// Time of the next attempt; `null` where it has ended.
    pub next_attempt_at: Option<Timestamp>,
    /// Status of the last answer.
    pub last_status: Option<i32>,
    /// Error of the last attempt.
    pub last_error: Option<String>,
    /// Time at which it was stored.
    pub created_at: Timestamp,
    /// Time at which it was delivered or given up.
    pub ended_at: Option<Timestamp>,
}

/// A message that is sent again.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeliveryReceipt {
    /// The task.
    pub task_id: TaskId,
    /// The message.
    pub delivery_id: String,
}
