//! Sessions: the conversation that a task goes on with.

use sea_orm_migration::prelude::*;

/// The fourth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Adds the columns. Few tasks go on with another's conversation: the indexes have only those.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN resumes TEXT",
    "ALTER TABLE tasks ADD COLUMN continued_from BLOB",
    "CREATE INDEX tasks_resumes ON tasks (resumes) WHERE resumes IS NOT NULL AND status IN ('pending', 'running')",
    "CREATE INDEX tasks_continued ON tasks (continued_from) WHERE continued_from IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX tasks_continued",
    "DROP INDEX tasks_resumes",
    "ALTER TABLE tasks DROP COLUMN continued_from",
    "ALTER TABLE tasks DROP COLUMN resumes",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
