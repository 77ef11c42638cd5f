//! Tasks that wait for others.

use sea_orm_migration::prelude::*;

/// The twenty-first step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN dependencies INTEGER NOT NULL DEFAULT 0",
    "CREATE TABLE dependencies (
        task_id BLOB NOT NULL,
        n INTEGER NOT NULL,
        on_task BLOB NOT NULL,
        name TEXT,
        condition TEXT NOT NULL,
        on_failure TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (task_id, n)
    ) WITHOUT ROWID",
    "CREATE INDEX dependencies_on ON dependencies (on_task, state)",
    "CREATE TABLE waits (task_id BLOB NOT NULL PRIMARY KEY, open INTEGER NOT NULL, run_at BIGINT) WITHOUT ROWID",
    "CREATE TABLE unsettled (task_id BLOB NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "CREATE INDEX tasks_retry_of ON tasks (retry_of) WHERE retry_of IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX tasks_retry_of",
    "DROP TABLE unsettled",
    "DROP TABLE waits",
    "DROP TABLE dependencies",
    "ALTER TABLE tasks DROP COLUMN dependencies",
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
