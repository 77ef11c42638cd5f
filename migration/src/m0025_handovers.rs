//! Attempts that one worker has handed over to the next.

use sea_orm_migration::prelude::*;

/// The twenty-fifth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &["CREATE TABLE handovers (
        task_id BLOB NOT NULL PRIMARY KEY,
        epoch BIGINT NOT NULL,
        tree_holder BLOB NOT NULL
    ) WITHOUT ROWID"];

const DOWN: &[&str] = &["DROP TABLE handovers"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
