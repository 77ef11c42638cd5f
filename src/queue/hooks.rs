//! What [`QueueActor`](super::QueueActor) is asked about webhooks and what they are told.

use std::time::Duration;

use super::messages::answers;
use crate::task::{TaskId, Wall, WebhookOptions};

answers! {
    AddWebhook => Webhook;
    RemoveWebhook => bool;
    ReadWebhooks => Vec<Webhook>;
    EnableWebhook => Option<Webhook>;
    ClaimDeliveries => Vec<Dispatch>;
    Attempted => ();
    RetryDelivery => bool;
    ReadDeliveries => Vec<Delivery>;
}

/// Tells this address of all tasks.
#[derive(Clone, Debug)]
pub struct AddWebhook(pub WebhookOptions);

/// Tells it no more. What is on its way is delivered. Answered with whether there was one.
#[derive(Clone, Debug)]
pub struct RemoveWebhook(pub String);

/// Reads the webhooks of all tasks.
#[derive(Clone, Copy, Debug)]
pub struct ReadWebhooks;

/// A webhook of all tasks.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// Its name.
    pub id: String,
    /// Where to.
    pub url: String,
    /// Of what.
    pub events: Vec<String>,
    /// Since when.
    pub created_at: Wall,
    /// Since when each message to it has failed.
    pub failing_since: Option<Wall>,
    /// Since when it is told nothing, and why.
    pub disabled: Option<(Wall, String)>,
}

/// Takes deliveries that are due, some of each host. One whose sender is not heard of is due again after a time.
#[derive(Clone, Debug)]
pub struct ClaimDeliveries {
    /// Maximum number of deliveries.
    pub limit: u32,
    /// Maximum number of each host.
    pub per_host: u32,
    /// Hosts that have enough to do.
    pub busy: Vec<String>,
    /// How long a claimed delivery stays invisible to other senders.
    pub patience: Duration,
}

/// Lets a webhook of all tasks be told again, or no more. Answered with the webhook, if there is one.
#[derive(Clone, Debug)]
pub struct EnableWebhook {
    /// The webhook.
    pub id: String,
    /// True if it is told.
    pub enabled: bool,
}

/// A delivery to be sent.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Its name, the same at each attempt.
    pub id: String,
    /// Of which task.
    pub task: TaskId,
    /// Where to.
    pub url: String,
    /// Its host, as in [`ClaimDeliveries::busy`].
    pub host: String,
    /// What it is signed with, where it is not the server's secret.
    pub secret: Option<String>,
    /// What is told.
    pub event: String,
    /// When it happened.
    pub created_at: Wall,
    /// The number of this attempt.
    pub attempt: i32,
    /// What was sent before.
    pub body: Option<String>,
}

/// What became of an attempt.
#[derive(Clone, Debug)]
pub struct Attempted {
    /// Of which delivery.
    pub id: String,
    /// The number of the attempt; one that is not the newest changes nothing.
    pub attempt: i32,
    /// What was sent.
    pub body: String,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why it was no success.
    pub error: Option<String>,
    /// After a failure: try again after so long; `None`: never.
    pub again: Option<Duration>,
    /// True if the receiver says that it is gone for good.
    pub gone: bool,
    /// A webhook of all tasks that has failed for so long is disabled.
    pub disable_after: Duration,
}

/// Delivers again, at once. Answered with whether there is such a delivery of this task.
#[derive(Clone, Debug)]
pub struct RetryDelivery {
    /// The task.
    pub task: TaskId,
    /// The delivery.
    pub id: String,
}

/// Reads the deliveries of a task, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadDeliveries(pub TaskId);

/// A delivery, as it stands.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Its name.
    pub id: String,
    /// What is told.
    pub event: String,
    /// Where to.
    pub url: String,
    /// `pending`, `delivered` or `failed`.
    pub state: String,
    /// How often it was tried.
    pub attempts: i32,
    /// When it is tried next, or taken from a sender that is not heard of.
    pub next_at: Wall,
    /// The status of the last answer.
    pub last_status: Option<i32>,
    /// Why the last attempt was no success.
    pub last_error: Option<String>,
    /// When it happened.
    pub created_at: Wall,
    /// When it was delivered, or given up.
    pub ended_at: Option<Wall>,
}
