//! Rights of an API key: what it may do, where, and how much of it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::PermissionMode;
use crate::spec::{invalid, texts, within};
use domain::{Invalid, Usd};

/// Maximum length of a name, in bytes.
const MAX_NAME: usize = 64;
/// Maximum number of folders of a key.
const MAX_ROOTS: usize = 100;
/// Highest number of anything that is counted.
const MAX_COUNT: u32 = 1_000_000_000;

/// Scope of a key: a part of the API.
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
pub enum KeyScope {
    /// Reading the key's own tasks, schedules, webhooks and spending.
    Read,
    /// Submitting tasks, and changing what is the key's own.
    Submit,
    /// Answering questions of the key's own tasks.
    Decide,
    /// Everything, of all keys: workers, the queue, limits, keys, the audit log.
    Admin,
}

/// Rights of a key.
///
/// Read strictly from the database as well: a right that this version doesn't know must not be ignored.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct KeyRights {
    /// Parts of the API that it may use.
    pub scopes: Vec<KeyScope>,
    /// Folders below which its tasks work; those of the server where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roots: Vec<String>,
    /// Highest permission mode of its tasks; the server's where it isn't set, and never above that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_permission_mode: Option<PermissionMode>,
    /// Limits.
    #[serde(default)]
    pub limits: KeyLimits,
}

/// Limits of a key; one that isn't set is none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct KeyLimits {
    /// Maximum number of running tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
    /// Maximum number of pending tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_pending: Option<u32>,
    /// Maximum number of tasks submitted on a day in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tasks_per_day: Option<u32>,
    /// US dollars that its tasks may cost on a day in UTC.
    #[schema(value_type = Option<f64>, minimum = 0.0001, maximum = 100000)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub daily_budget_usd: Option<Usd>,
    /// Maximum number of schedules.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_schedules: Option<u32>,
    /// Maximum number of webhooks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_webhooks: Option<u32>,
    /// Maximum number of open streams of one server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Maximum number of stored bytes: requests and events of its tasks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_stored_bytes: Option<u64>,
}

impl KeyRights {
    /// Rights without any limit.
    #[must_use]
    pub fn of(scopes: &[KeyScope]) -> Self {
        Self { scopes: scopes.to_vec(), ..Self::default() }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The field that breaks a rule.
    pub fn validate(&self) -> Result<(), Invalid> {
        if self.scopes.is_empty() {
            return invalid("scopes", "must have at least one of read, submit, decide, admin");
        }
        texts("roots", &self.roots, MAX_ROOTS)?;
        if self.roots.iter().any(|root| !root.starts_with('/')) {
            return invalid("roots", "must be absolute paths");
        }
        let limits = &self.limits;
        within("limits.maxRunning", limits.max_running, 0, MAX_COUNT)?;
        within("limits.maxPending", limits.max_pending, 0, MAX_COUNT)?;
        within("limits.maxTasksPerDay", limits.max_tasks_per_day, 0, MAX_COUNT)?;
        within("limits.maxSchedules", limits.max_schedules, 0, MAX_COUNT)?;
        within("limits.maxWebhooks", limits.max_webhooks, 0, MAX_COUNT)?;
        within("limits.maxStreams", limits.max_streams, 0, MAX_COUNT)?;
        within("limits.dailyBudgetUsd", limits.daily_budget_usd, Usd::of(0.0001), Usd::of(100_000.0))
    }
}

/// Checks the name of a key: it stands in lists of settings, in names of idempotency keys and of folders.
///
/// # Errors
/// The name breaks the rule.
pub fn check_key_name(name: &str) -> Result<(), Invalid> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    match name.len() {
        1..=MAX_NAME if name.bytes().all(is_fit) => Ok(()),
        _ => invalid("name", format!("must have 1 to {MAX_NAME} letters, digits, dashes or underscores")),
    }
}
