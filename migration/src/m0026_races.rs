//! Races: tasks that do the same, of which one wins.

use sea_orm_migration::prelude::*;

/// The twenty-sixth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE race_entries (
        task_id BLOB NOT NULL PRIMARY KEY,
        race_id BLOB NOT NULL,
        place BIGINT NOT NULL,
        won BOOLEAN
    ) WITHOUT ROWID",
    "CREATE INDEX race_entries_race ON race_entries (race_id)",
];

const DOWN: &[&str] = &["DROP TABLE race_entries"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
