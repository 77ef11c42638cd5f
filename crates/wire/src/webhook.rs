//! Webhooks: receivers of messages over HTTP, and the kinds of messages.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::HookFormat;
use crate::spec::{invalid, text, texts};
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
    /// Its model goes round in circles.
    Looping,
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
    /// Kinds that are sent to people by default.
    pub const FOR_PEOPLE: [Self; 4] = [Self::Waiting, Self::Looping, Self::Completed, Self::Failed];
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
    /// Kinds of messages. Where it isn't set: each way to end; for people, questions and the ends that matter.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<HookEvent>,
    /// Shape of the messages.
    #[serde(default, skip_serializing_if = "is_standard")]
    pub format: HookFormat,
    /// Only tasks with one of these tags; all where it isn't set.
    #[schema(max_items = 20)]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
    /// True if nothing is sent while somebody with the task's key has a page of the dashboard open; a question that is older
    /// than five minutes is sent nevertheless.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub quiet: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_standard(format: &HookFormat) -> bool {
    *format == HookFormat::Standard
}

impl WebhookOptions {
    /// Kinds of messages.
    #[must_use]
    pub fn events(&self) -> &[HookEvent] {
        match (self.events.is_empty(), self.format.is_for_people()) {
            (false, _) => &self.events,
            (true, false) => &HookEvent::ENDS,
            (true, true) => &HookEvent::FOR_PEOPLE,
        }
    }

    /// Checks what needs nothing but the request.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        const URL: &str = "options.webhook.url";
        const TAGS: &str = "options.webhook.tags";
        if !(self.url.starts_with("https://") || self.url.starts_with("http://")) || self.url.len() > MAX_URL {
            invalid(URL, format!("must begin with https:// or http://, and have at most {MAX_URL} bytes"))?;
        }
        let (_, topic) = self.format.place(&self.url);
        let is_topic = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if self.format == HookFormat::Ntfy && (topic.is_empty() || topic.len() > 64 || !topic.bytes().all(is_topic)) {
            invalid(URL, "must end with the topic: 1 to 64 letters, digits, - and _")?;
        }
        texts(TAGS, &self.tags, 20)?;
        if self.tags.iter().any(|tag| tag.len() > 64 || tag.chars().any(char::is_control)) {
            invalid(TAGS, "each must have 1 to 64 bytes, and no control characters")?;
        }
        if self.secret.as_ref().is_some_and(|secret| secret.len() < 16) {
            invalid("options.webhook.secret", "must have at least 16 characters")?;
        }
        text("options.webhook.secret", self.secret.as_ref())
    }
}
