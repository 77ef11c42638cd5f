//! Columns get the names of what they hold.

use sea_orm_migration::prelude::*;

/// The thirteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// A session, a count of messages that wait, and a count of attempts.
const UP: &[&str] = &[
    "ALTER TABLE tasks RENAME COLUMN resumes TO resume_session_id",
    "ALTER TABLE tasks RENAME COLUMN said TO pending_messages",
    "ALTER TABLE tasks RENAME COLUMN ended TO finished_attempts",
];

const DOWN: &[&str] = &[
    "ALTER TABLE tasks RENAME COLUMN finished_attempts TO ended",
    "ALTER TABLE tasks RENAME COLUMN pending_messages TO said",
    "ALTER TABLE tasks RENAME COLUMN resume_session_id TO resumes",
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
