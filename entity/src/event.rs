//! Events of tasks, numbered without gap.

use sea_orm::entity::prelude::*;

/// One row an event.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "events")]
pub struct Model {
    /// The task.
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Uuid,
    /// 1, 2, 3 …
    #[sea_orm(primary_key, auto_increment = false)]
    pub seq: i64,
    /// Time at which it was stored.
    pub at: i64,
    /// Kind.
    pub kind: String,
    /// A JSON object.
    pub data: String,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
