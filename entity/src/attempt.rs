//! Attempts and their cost.

use sea_orm::entity::prelude::*;

/// One row a start.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "attempts")]
pub struct Model {
    /// The task.
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Uuid,
    /// 1, 2, 3 …
    #[sea_orm(primary_key, auto_increment = false)]
    pub number: i32,
    /// The epoch under which it was claimed.
    pub epoch: i64,
    /// The worker's name.
    pub worker: Option<String>,
    /// Time of the claim.
    pub started_at: i64,
    /// Time of its end; null while it runs.
    pub ended_at: Option<i64>,
    /// `completed`, `failed`, `crashed`, `released` or `cancelled`; null while it runs.
    pub outcome: Option<String>,
    /// The class of the failure.
    pub error_class: Option<String>,
    /// The code of the failure.
    pub error_code: Option<String>,
    /// The failure, or the reason of the release, in words.
    pub error_message: Option<String>,
    /// The Claude session.
    pub session_id: Option<String>,
    /// US dollars, as the CLI reported them; also where the report came too late to count.
    pub cost_usd: Option<f64>,
    /// Name of the client's key.
    pub key_name: String,
    /// The most that it may cost, in US dollars, where there is a limit.
    pub reserved_usd: Option<f64>,
    /// Tokens read, not from the cache.
    pub input_tokens: i64,
    /// Tokens written.
    pub output_tokens: i64,
    /// Tokens read from the cache.
    pub cache_read_tokens: i64,
    /// Tokens put into the cache.
    pub cache_write_tokens: i64,
    /// True if the CLI reported a cost that can't be one.
    pub cost_set_aside: bool,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
