//! Tasks that others depend on.

use sea_orm::entity::prelude::*;

/// One row a task that another one depends on.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "dependencies")]
pub struct Model {
    /// The dependent.
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Uuid,
    /// Place among the dependencies of its task, from 0 on.
    #[sea_orm(primary_key, auto_increment = false)]
    pub n: i64,
    /// The task that it depends on.
    pub on_task: Uuid,
    /// Name that the dependent uses for it.
    pub name: Option<String>,
    /// `completed` or `ended`.
    pub condition: String,
    /// `cancel`, `run` or `wait`.
    pub on_failure: String,
    /// `open`, `met`, `failed` or `waived`.
    pub state: String,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
