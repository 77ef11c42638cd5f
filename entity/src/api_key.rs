//! API keys.

use sea_orm::entity::prelude::*;

/// One row an API key.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// Name under which its tasks are counted.
    #[sea_orm(primary_key, auto_increment = false)]
    pub name: String,
    /// SHA-256 of the secret, in hexadecimal.
    pub hash: String,
    /// Hash of the secret before the last rotation.
    pub previous_hash: Option<String>,
    /// Time until which that one works.
    pub previous_until: Option<i64>,
    /// Rights, as JSON.
    pub rights: String,
    /// US dollars that its tasks may cost on a day.
    pub daily_budget_usd: Option<f64>,
    /// Time at which it was created.
    pub created_at: i64,
    /// Time at which it expires.
    pub expires_at: Option<i64>,
    /// Time at which it was revoked.
    pub revoked_at: Option<i64>,
    /// Time of its last use, to the minute.
    pub last_used_at: Option<i64>,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
