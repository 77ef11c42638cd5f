//! Limits on groups of tasks.

use sea_orm_migration::prelude::*;

/// The eighth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `limits` has a row for each group on which somebody has set something, `starts` one for each start of a
/// group with a rate, for as long as it counts.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN concurrency_key TEXT",
    "CREATE INDEX tasks_concurrency_key ON tasks (concurrency_key)
        WHERE concurrency_key IS NOT NULL AND status IN ('pending','running')",
    "CREATE TABLE limits (
        kind TEXT NOT NULL CHECK (kind IN ('queue','key','concurrencyKey','tag')),
        name TEXT NOT NULL,
        concurrency BIGINT,
        rate_starts BIGINT,
        rate_ms BIGINT,
        paused BOOLEAN NOT NULL,
        PRIMARY KEY (kind, name),
        CHECK ((rate_starts IS NULL) = (rate_ms IS NULL))
    ) WITHOUT ROWID",
    "CREATE TABLE starts (kind TEXT NOT NULL, name TEXT NOT NULL, at BIGINT NOT NULL)",
    "CREATE INDEX starts_group ON starts (kind, name, at)",
];

const DOWN: &[&str] = &[
    "DROP TABLE starts",
    "DROP TABLE limits",
    "DROP INDEX tasks_concurrency_key",
    "ALTER TABLE tasks DROP COLUMN concurrency_key",
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
