//! What people said to a task.

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
    /// When it was stored.
    pub at: i64,
    /// Of a message: the attempt that was given it; of an interrupt: the attempt that is meant.
    pub epoch: Option<i64>,
    /// When its turn was over.
    pub done_at: Option<i64>,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
