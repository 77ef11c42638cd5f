//! Changes of a task in its worktree.

use sea_orm::entity::prelude::*;

/// One row a task with a worktree.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "changes")]
pub struct Model {
    /// The task.
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Uuid,
    /// Branch, commits and files, as JSON.
    pub summary: String,
    /// The patch; empty where it would be too large.
    pub patch: Vec<u8>,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
