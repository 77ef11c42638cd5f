//! The place of a task in the trace that its client, or its submit, began.

use sea_orm_migration::prelude::*;

/// The twentieth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &["ALTER TABLE tasks ADD COLUMN trace_parent TEXT"];

const DOWN: &[&str] = &["ALTER TABLE tasks DROP COLUMN trace_parent"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
