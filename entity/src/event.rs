//! What happened to a task, numbered without gap.

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
    /// When it was stored.
    pub at: i64,
    /// What it tells.
    pub kind: String,
    /// A JSON object.
    pub data: String,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
