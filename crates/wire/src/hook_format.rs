//! Shapes of messages: JSON for programs, and what services expect that notify people.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Shape of the messages of a webhook.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    ToSchema,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum HookFormat {
    /// The task as JSON, signed as Standard Webhooks has it.
    #[default]
    Standard,
    /// A notification of ntfy; the address ends with the topic.
    Ntfy,
    /// A message of an incoming webhook of Slack, or of what takes the same.
    Slack,
    /// A message of a webhook of Discord.
    Discord,
    /// A notification of an Apprise API, which passes it on to one of many services.
    Apprise,
}

impl HookFormat {
    /// True if a person reads the messages.
    #[must_use]
    pub fn is_for_people(self) -> bool {
        self != Self::Standard
    }

    /// Where messages to an address go, and the topic that is named in them: ntfy takes JSON at its root alone.
    ///
    /// ```
    /// use wire::HookFormat;
    /// assert_eq!(HookFormat::Ntfy.place("https://ntfy.sh/my-topic?auth=x"), ("https://ntfy.sh/?auth=x".into(), "my-topic"));
    /// assert_eq!(HookFormat::Slack.place("https://a.b/c"), ("https://a.b/c".into(), ""));
    /// ```
    #[must_use]
    pub fn place(self, url: &str) -> (String, &str) {
        if self != Self::Ntfy {
            return (url.to_owned(), "");
        }
        let (path, query) = url.split_once('?').map_or((url, None), |(path, query)| (path, Some(query)));
        let path = path.trim_end_matches('/');
        let (root, topic) = path.rsplit_once('/').filter(|(root, _)| !root.ends_with('/')).unwrap_or((path, ""));
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        (format!("{root}/{query}"), topic)
    }
}
