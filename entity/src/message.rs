//! Messages of people to a task.

use sea_orm::entity::prelude::*;

/// One row a message or an interrupt.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    /// Grows in the order of their coming.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// The task.
    pub task_id: Uuid,
    /// `message` or `interrupt`.
    pub kind: String,
    /// The message, word for word.
    pub text: String,
    /// Time at which it was stored.
    pub at: i64,
    /// Of a message: the attempt that was given it; of an interrupt: the attempt that is meant.
    pub epoch: Option<i64>,
    /// End of its turn.
    pub done_at: Option<i64>,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
