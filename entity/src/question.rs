//! What a running task asked, and what it was answered.

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
    /// What the tool is to be called with, as JSON.
    pub input: String,
    /// What the CLI suggests to allow, as JSON.
    pub suggestions: String,
    /// When it was first asked.
    pub asked_at: i64,
    /// When the question is answered with no by itself.
    pub deadline: i64,
    /// What was decided, as JSON.
    pub answer: Option<String>,
    /// When it was answered.
    pub answered_at: Option<i64>,
    /// True if the task has heard the answer, or needs none any more.
    pub closed: bool,
}

/// None that the queries need.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
