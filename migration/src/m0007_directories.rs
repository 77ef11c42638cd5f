//! An index of the folders that are named, without those that tasks get for themselves.

use sea_orm_migration::prelude::*;

/// The seventh step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// A folder of a task's own has its id in its name, and is found by that: a page less for each submit to
/// write. Of tasks before this step it is not known which folders are that.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN own_directory BOOLEAN NOT NULL DEFAULT FALSE",
    "DROP INDEX tasks_directory",
    "CREATE INDEX tasks_directory ON tasks (working_directory, id) WHERE NOT own_directory",
];

const DOWN: &[&str] = &[
    "DROP INDEX tasks_directory",
    "CREATE INDEX tasks_directory ON tasks (working_directory, id)",
    "ALTER TABLE tasks DROP COLUMN own_directory",
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
