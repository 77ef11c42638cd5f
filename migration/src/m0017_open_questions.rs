//! Questions that wait for an answer, in the order in which they were asked.

use sea_orm_migration::prelude::*;

/// The seventeenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// The index has only what waits, which is little.
const UP: &[&str] =
    &["CREATE INDEX questions_open ON questions (asked_at, task_id, request_id) WHERE answer IS NULL AND NOT closed"];

const DOWN: &[&str] = &["DROP INDEX questions_open"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
