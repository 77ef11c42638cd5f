//! Changes, in the order of the commits.

use sea_orm::entity::prelude::*;

/// One row a commit.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "history")]
pub struct Model {
    /// Grows with every commit.
    #[sea_orm(primary_key)]
    pub seq: i64,
    /// Wall time of the process that wrote it.
    pub at: i64,
    /// Time since the boot.
    pub boot_ms: i64,
    /// Changes of the commit, as a JSON array.
    pub done: String,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
