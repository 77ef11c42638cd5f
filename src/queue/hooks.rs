//! Messages to [`QueueActor`](super::QueueActor) about webhooks and their deliveries.

use std::time::Duration;

use super::messages::answers;
use crate::store::views::{Delivery, Dispatch, Webhook};
use domain::{TaskId, Timestamp};
use wire::WebhookOptions;

answers! {
    AddWebhook => Option<Webhook>;
    RemoveWebhook => bool;
    ReadWebhooks => Vec<Webhook>;
    EnableWebhook => Option<Webhook>;
    ClaimDeliveries => Vec<Dispatch>;
    ReportDelivery => ();
    RetryDelivery => bool;
    ReadDeliveries => Vec<Delivery>;
    NextDelivery => (Timestamp, Option<Timestamp>);
}

/// Adds a webhook of all tasks, or of those of a key. Answered with `None` where the key has the most already.
#[derive(Clone, Debug)]
pub struct AddWebhook {
    pub webhook: WebhookOptions,
    /// Name of the key; `None`: of all tasks.
    pub key: Option<String>,
    /// Maximum number of webhooks of the key.
    pub most: Option<u32>,
}

/// Removes a webhook. Deliveries that are queued are still sent. Answered with whether there was one.
#[derive(Clone, Debug)]
pub struct RemoveWebhook {
    /// The webhook.
    pub id: String,
    /// Name of the key that it must be of, where one asks that sees its own only.
    pub key: Option<String>,
}

/// Reads the registered webhooks, of all keys or of one.
#[derive(Clone, Debug)]
pub struct ReadWebhooks(pub Option<String>);

/// Asks for the clock of the store, and for the time at which the next delivery is due.
#[derive(Clone, Copy, Debug)]
pub struct NextDelivery;

/// Takes deliveries that are due, some of each host. One whose sender is not heard of is due again after a time.
#[derive(Clone, Debug)]
pub struct ClaimDeliveries {
    /// Maximum number of deliveries.
    pub limit: u32,
    /// Maximum number of each host.
    pub per_host: u32,
    /// Hosts that have enough to do.
    pub busy: Vec<String>,
    /// Time for which a claimed delivery stays invisible to other senders.
    pub patience: Duration,
    /// Minimum time since a delivery was due; zero for every due one.
    pub overdue: Duration,
}

/// Lets a webhook of all tasks be told again, or no more. Answered with the webhook, if there is one.
#[derive(Clone, Debug)]
pub struct EnableWebhook {
    /// The webhook.
    pub id: String,
    /// Name of the key that it must be of, where one asks that sees its own only.
    pub key: Option<String>,
    /// True if it is told.
    pub enabled: bool,
}

/// Reports an attempt at a delivery.
#[derive(Clone, Debug)]
pub struct ReportDelivery {
    /// Id of the delivery.
    pub id: String,
    /// The number of the attempt; one that is not the newest changes nothing.
    pub attempt: i32,
    /// Body that was sent, where one was.
    pub body: Option<String>,
    /// The status of the answer.
    pub status: Option<u16>,
    /// What became of it.
    pub sent: Sent,
    /// Time after which a webhook of all tasks that has failed throughout is disabled.
    pub disable_after: Duration,
}

/// What became of an attempt at a delivery.
#[derive(Clone, Debug)]
pub enum Sent {
    /// The receiver has taken it.
    Delivered,
    /// It has not.
    Failed {
        /// Why not.
        error: String,
        /// Delay of the next attempt; `None`: there is none.
        again: Option<Duration>,
        /// True if the receiver says that it is gone for good.
        gone: bool,
    },
    /// It was not sent, by its webhook's own rules.
    Not {
        /// Why not.
        why: String,
        /// Time after which that is looked at again; `None`: it never is.
        again: Option<Duration>,
    },
}

/// Delivers again, at once. Answered with whether there is such a delivery of this task.
#[derive(Clone, Debug)]
pub struct RetryDelivery {
    pub task: TaskId,
    /// The delivery.
    pub id: String,
}

/// Reads the deliveries of a task, oldest first.
#[derive(Clone, Copy, Debug)]
pub struct ReadDeliveries(pub TaskId);
