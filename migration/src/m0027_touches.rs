//! Files that running tasks change.

use sea_orm_migration::prelude::*;

/// The twenty-seventh step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE touches (
        task_id BLOB NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (task_id, place)
    ) WITHOUT ROWID",
    "CREATE INDEX touches_place ON touches (place)",
];

const DOWN: &[&str] = &["DROP TABLE touches"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
