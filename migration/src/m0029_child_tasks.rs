//! Tasks that were made from inside a running task.

use sea_orm_migration::prelude::*;

/// The twenty-ninth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE child_tasks (
        task_id BLOB NOT NULL PRIMARY KEY,
        parent_id BLOB NOT NULL,
        depth BIGINT NOT NULL
    ) WITHOUT ROWID",
    "CREATE INDEX child_tasks_parent ON child_tasks (parent_id)",
];

const DOWN: &[&str] = &["DROP TABLE child_tasks"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
