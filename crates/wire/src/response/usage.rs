//! Spending.

use std::collections::BTreeMap;

use domain::{Tokens, Usd};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Spending by day and key, and what is left today.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Spending by day, then key.
    pub days: Vec<UsageDay>,
    /// Sum of the days, in US dollars.
    pub total_usd: Usd,
    /// Budgets of today.
    pub today: Today,
}

/// Spending of one key on one day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UsageDay {
    /// Day in UTC, such as `2026-01-31`.
    pub day: String,
    /// Name of the key.
    pub key: String,
    /// US dollars.
    pub cost_usd: Usd,
    /// Attempts that reported what they cost.
    pub attempts: i64,
    /// Tokens.
    pub tokens: Tokens,
}

/// Budgets of the day.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Today {
    /// Day in UTC.
    pub day: String,
    /// Budget of the server.
    pub server: Left,
    /// Budget of each key that spent something today.
    pub keys: BTreeMap<String, Left>,
}

/// Rest of a budget, in US dollars.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Left {
    /// The budget; `null` where there is none.
    pub limit_usd: Option<Usd>,
    /// US dollars spent.
    pub spent_usd: Usd,
    /// Reserved by attempts that run.
    pub reserved_usd: Usd,
    /// US dollars left; `null` where there is no budget.
    pub left_usd: Option<Usd>,
}
