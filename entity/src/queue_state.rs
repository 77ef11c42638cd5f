//! State of the whole queue, as operators have set it.

use sea_orm::entity::prelude::*;

/// The one row.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "queue_state")]
pub struct Model {
    /// Always 1.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: i32,
    /// True if claims are held back.
    pub paused: bool,
    /// Tasks at a time in each worker, where it was changed while running.
    pub concurrency: Option<i32>,
    /// The turn that it is now, among shares.
    pub turn: i64,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
