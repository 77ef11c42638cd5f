//! What [`QueueActor`](super::QueueActor) is asked about webhooks and what they are told.

use std::time::Duration;

use super::messages::answers;
use crate::task::{TaskId, Wall, WebhookOptions};

answers! {
    AddWebhook => Webhook;
    RemoveWebhook => bool;
    ReadWebhooks => Vec<Webhook>;
    AreDue => bool;
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
}

/// Whether anything is to be delivered now.
#[derive(Clone, Copy, Debug)]
pub struct AreDue;

/// Takes deliveries that are due. One whose sender is not heard of is due again after a time.
#[derive(Clone, Copy, Debug)]
pub struct ClaimDeliveries {
    /// At most so many.
    pub limit: u32,
    /// That time.
    pub patience: Duration,
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
