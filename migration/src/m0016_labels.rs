//! Labels of workers, and tasks that need some.

use sea_orm_migration::prelude::*;

/// The sixteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// The tasks with the same requirements are a lane, which has a line of its own in the index.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN lane TEXT NOT NULL DEFAULT ''",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (lane, priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "ALTER TABLE workers ADD COLUMN labels TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE workers ADD COLUMN version TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE workers ADD COLUMN drain BOOLEAN NOT NULL DEFAULT FALSE",
];

const DOWN: &[&str] = &[
    "ALTER TABLE workers DROP COLUMN drain",
    "ALTER TABLE workers DROP COLUMN version",
    "ALTER TABLE workers DROP COLUMN labels",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "ALTER TABLE tasks DROP COLUMN lane",
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
