//! The history of what was done, and how many events of an attempt are stored, and
//! which credentials wait.

use sea_orm_migration::prelude::*;

/// The third step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Adds the history. Changes before this step are not known.
const UP: &[&str] = &[
    "CREATE TABLE history (
        seq INTEGER NOT NULL PRIMARY KEY,
        at BIGINT NOT NULL,
        boot_ms BIGINT NOT NULL,
        done TEXT NOT NULL
    )",
    // With which nothing is started for a time.
    "CREATE TABLE credentials (
        id TEXT NOT NULL PRIMARY KEY,
        parked_until BIGINT NOT NULL,
        class TEXT NOT NULL,
        message TEXT NOT NULL
    ) WITHOUT ROWID",
    // An append that is repeated because its answer was lost adds nothing twice.
    "ALTER TABLE tasks ADD COLUMN attempt_events BIGINT NOT NULL DEFAULT 0",
    // For the removal of old tasks.
    "CREATE INDEX idempotency_task ON idempotency_keys (task_id)",
    // Ids sort by time: the oldest pending task is found through tasks_status.
    "DROP INDEX tasks_oldest",
];

const DOWN: &[&str] = &[
    "DROP TABLE credentials",
    "ALTER TABLE tasks DROP COLUMN attempt_events",
    "DROP INDEX idempotency_task",
    "CREATE INDEX tasks_oldest ON tasks (created_at) WHERE status = 'pending'",
    "DROP TABLE history",
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
