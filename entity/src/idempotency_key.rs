//! Idempotency keys and their tasks.

use sea_orm::entity::prelude::*;

/// One row a key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The client's `Idempotency-Key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    /// The task that it made.
    pub task_id: Uuid,
    /// Time of its first use.
    pub created_at: i64,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
