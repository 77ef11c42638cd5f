//! Which task a client's key stands for.

use sea_orm::entity::prelude::*;

/// One row a key.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// What the client sent as `Idempotency-Key`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the request, in hexadecimal.
    pub fingerprint: String,
    /// The task that it made.
    pub task_id: Uuid,
    /// When it was first used.
    pub created_at: i64,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
