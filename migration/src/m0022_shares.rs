//! Shares take turns within a priority.

use sea_orm_migration::prelude::*;

/// The twenty-second step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN share TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE queue_state ADD COLUMN turn BIGINT NOT NULL DEFAULT 0",
    "CREATE TABLE shares (name TEXT NOT NULL PRIMARY KEY, weight BIGINT NOT NULL, pass BIGINT NOT NULL) WITHOUT ROWID",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (lane, share, priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "DROP INDEX tasks_held",
    "CREATE INDEX tasks_held ON tasks (held, share, priority DESC, id) WHERE status = 'pending' AND held IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX tasks_held",
    "CREATE INDEX tasks_held ON tasks (held, priority DESC, id) WHERE status = 'pending' AND held IS NOT NULL",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (lane, priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "DROP TABLE shares",
    "ALTER TABLE queue_state DROP COLUMN turn",
    "ALTER TABLE tasks DROP COLUMN share",
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
