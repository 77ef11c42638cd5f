//! Questions of running tasks, with their answers.

use sea_orm::entity::prelude::*;

/// One row a question.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "questions")]
pub struct Model {
    /// The task.
    #[sea_orm(primary_key, auto_increment = false)]
    pub task_id: Uuid,
    /// The CLI's name for it, from when it was first asked.
    #[sea_orm(primary_key, auto_increment = false)]
    pub request_id: String,
    /// The tool.
    pub tool: String,
    /// Input of the tool, as JSON.
    pub input: String,
    /// Rules that the CLI suggests to allow, as JSON.
    pub suggestions: String,
    /// Time at which it was first asked.
    pub asked_at: i64,
    /// Time at which it is denied automatically.
    pub deadline: i64,
    /// Answer, as JSON.
    pub answer: Option<String>,
    /// Time of the answer.
    pub answered_at: Option<i64>,
    /// True if the task has heard the answer, or needs none any more.
    pub closed: bool,
}

/// No relation is needed by the queries.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
