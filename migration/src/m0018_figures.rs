//! What a running attempt has cost so far, and the tasks that go on with a session.

use sea_orm_migration::prelude::*;

/// The eighteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// The first task of a session is not in the index: nearly all sessions have no other.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN cost_so_far REAL",
    "CREATE INDEX tasks_conversation ON tasks (session_id, id) WHERE resume_session_id IS NOT NULL",
];

const DOWN: &[&str] = &["DROP INDEX tasks_conversation", "ALTER TABLE tasks DROP COLUMN cost_so_far"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
