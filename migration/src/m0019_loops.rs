//! How the attempt that runs goes round in circles.

use sea_orm_migration::prelude::*;

/// The nineteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &["ALTER TABLE tasks ADD COLUMN looping TEXT"];

const DOWN: &[&str] = &["ALTER TABLE tasks DROP COLUMN looping"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
