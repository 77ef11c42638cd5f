//! Groups of tasks, and the limits that are set on them: how many at a time, how many starts in a time, or none
//! at all for now. Pure.

use crate::Named as _;
use serde::{Deserialize, Serialize};

use crate::Invalid;

/// The longest name of a group, in bytes.
pub const MAX_NAME: usize = 128;
/// The most starts of a [`Rate`].
const MAX_STARTS: u32 = 10_000;
/// The longest time of a [`Rate`]: a day, in milliseconds.
const MAX_PERIOD_MS: i64 = 86_400_000;

/// Kind of a group.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::Display,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase")]
#[strum(serialize_all = "camelCase")]
pub enum GroupKind {
    /// All tasks.
    Queue,
    /// The client's key that they came with.
    Key,
    /// Tasks with one `concurrencyKey`.
    ConcurrencyKey,
    /// A tag.
    Tag,
}

/// A group of tasks.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Group {
    /// Kind.
    #[serde(rename = "group")]
    pub kind: GroupKind,
    /// Name of the key or tag; empty for the queue.
    #[serde(default)]
    pub name: String,
}

impl Group {
    /// The group of that kind and name.
    pub fn new(kind: GroupKind, name: impl Into<String>) -> Self {
        Self { kind, name: name.into() }
    }

    /// The groups of a task. Those of which a limit is seldom set come last.
    pub fn of(key: &str, concurrency_key: Option<&str>, tags: &[String]) -> Vec<Self> {
        let concurrency_key = concurrency_key.map(|key| Self::new(GroupKind::ConcurrencyKey, key));
        let own = [Self::new(GroupKind::Queue, ""), Self::new(GroupKind::Key, key)];
        let tags = tags.iter().map(|tag| Self::new(GroupKind::Tag, tag));
        own.into_iter().chain(concurrency_key).chain(tags).collect()
    }

    /// Returns the limit where none is set: tasks with one `concurrencyKey` run one at a time.
    #[must_use]
    pub fn default_limit(&self) -> Limit {
        Limit { concurrency: (self.kind == GroupKind::ConcurrencyKey).then_some(1), ..Limit::default() }
    }
}

impl std::fmt::Display for Group {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(to, "{}:{}", self.kind.name(), self.name)
    }
}

/// Maximum number of starts in a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Rate {
    /// Starts of an attempt, at most, in any time of that length.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 10000))]
    pub starts: u32,
    /// Milliseconds.
    #[cfg_attr(feature = "schema", schema(minimum = 1, maximum = 86400000))]
    pub period_ms: i64,
}

/// Limit of a group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Maximum number at a time, in all workers together.
    pub concurrency: Option<u32>,
    /// Maximum number of starts in a time.
    pub rate: Option<Rate>,
    /// True if no task of the group starts.
    pub paused: bool,
}

impl Limit {
    /// Checks the ranges.
    ///
    /// # Errors
    /// The first field that breaks one.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.concurrency.is_some_and(|most| !(1..=100_000).contains(&most)) {
            return Err(Invalid::new("concurrency", "must be from 1 to 100000; paused: true lets none start"));
        }
        let Some(Rate { starts, period_ms }) = self.rate else { return Ok(()) };
        if !(1..=MAX_STARTS).contains(&starts) {
            return Err(Invalid::new("rate.starts", format!("must be from 1 to {MAX_STARTS}, got {starts}")));
        }
        if !(1..=MAX_PERIOD_MS).contains(&period_ms) {
            return Err(Invalid::new("rate.periodMs", format!("must be from 1 to {MAX_PERIOD_MS}, got {period_ms}")));
        }
        Ok(())
    }
}

/// A change of a limit: what is `None` stays.
#[derive(Clone, Copy, Debug, Default)]
pub struct LimitChange {
    /// Maximum number at a time; `Some(None)`: no limit.
    pub concurrency: Option<Option<u32>>,
    /// Maximum number of starts in a time; `Some(None)`: no limit.
    pub rate: Option<Option<Rate>>,
    /// True if none starts.
    pub paused: Option<bool>,
}

impl LimitChange {
    /// Returns the limit with this change applied.
    #[must_use]
    pub fn applied_to(self, limit: Limit) -> Limit {
        Limit {
            concurrency: self.concurrency.unwrap_or(limit.concurrency),
            rate: self.rate.unwrap_or(limit.rate),
            paused: self.paused.unwrap_or(limit.paused),
        }
    }
}
