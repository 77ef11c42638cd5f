//! Webhooks: receivers of messages over HTTP, and the kinds of messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::spec::{invalid, text};
use domain::Invalid;

/// The longest address, in bytes.
const MAX_URL: usize = 2_048;

/// Kind of a message.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum HookEvent {
    /// The first attempt began.
    Started,
    /// The task asks a question.
    Waiting,
    /// The task has completed.
    Completed,
    /// The task has failed for good.
    Failed,
    /// The task was cancelled.
    Cancelled,
}

impl HookEvent {
    /// Kinds that are sent by default: each way to end.
    pub const ENDS: [Self; 3] = [Self::Completed, Self::Failed, Self::Cancelled];
}

/// State of a delivery.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum DeliveryState {
    /// The message is to be sent, now or again.
    Pending,
    /// The receiver has taken it.
    Delivered,
    /// The message is given up.
    Failed,
}

/// A webhook, as a client asks for it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WebhookOptions {
    /// Address: `http` or `https`.
    pub url: String,
    /// Secret with which messages are signed; the server's own where it isn't set. Never shown.
    #[schema(min_length = 16)]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// Kinds of messages; each way to end where it isn't set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<HookEvent>,
}

impl WebhookOptions {
    /// Kinds of messages.
    #[must_use]
    pub fn events(&self) -> &[HookEvent] {
        if self.events.is_empty() { &HookEvent::ENDS } else { &self.events }
    }

    /// Checks what needs nothing but the request.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        const URL: &str = "options.webhook.url";
        if !(self.url.starts_with("https://") || self.url.starts_with("http://")) || self.url.len() > MAX_URL {
            invalid(URL, format!("must begin with https:// or http://, and have at most {MAX_URL} bytes"))?;
        }
        if self.secret.as_ref().is_some_and(|secret| secret.len() < 16) {
            invalid("options.webhook.secret", "must have at least 16 characters")?;
        }
        text("options.webhook.secret", self.secret.as_ref())
    }
}
