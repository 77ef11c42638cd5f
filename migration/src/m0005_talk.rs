//! Questions and messages of running tasks, and the tokens of each attempt.

use sea_orm_migration::prelude::*;

/// The fifth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// The partial indexes have only what nobody has heard yet, which is next to nothing.
const UP: &[&str] = &[
    "CREATE TABLE questions (
        task_id BLOB NOT NULL,
        request_id TEXT NOT NULL,
        tool TEXT NOT NULL,
        input TEXT NOT NULL,
        suggestions TEXT NOT NULL,
        asked_at BIGINT NOT NULL,
        deadline BIGINT NOT NULL,
        answer TEXT,
        answered_at BIGINT,
        closed BOOLEAN NOT NULL,
        PRIMARY KEY (task_id, request_id),
        CHECK ((answer IS NULL) = (answered_at IS NULL))
    ) WITHOUT ROWID",
    "CREATE INDEX questions_answered ON questions (task_id) WHERE answer IS NOT NULL AND NOT closed",
    "CREATE TABLE messages (
        id INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
        task_id BLOB NOT NULL,
        kind TEXT NOT NULL CHECK (kind IN ('message','interrupt')),
        text TEXT NOT NULL,
        at BIGINT NOT NULL,
        epoch BIGINT,
        done_at BIGINT
    )",
    "CREATE INDEX messages_task ON messages (task_id, id)",
    "CREATE INDEX messages_open ON messages (task_id, id) WHERE done_at IS NULL",
    "ALTER TABLE attempts ADD COLUMN input_tokens BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN output_tokens BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN cache_read_tokens BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE attempts ADD COLUMN cache_write_tokens BIGINT NOT NULL DEFAULT 0",
    "ALTER TABLE tasks ADD COLUMN waiting_for TEXT",
    "ALTER TABLE tasks ADD COLUMN said INTEGER NOT NULL DEFAULT 0",
];

const DOWN: &[&str] = &[
    "ALTER TABLE tasks DROP COLUMN said",
    "ALTER TABLE tasks DROP COLUMN waiting_for",
    "ALTER TABLE attempts DROP COLUMN cache_write_tokens",
    "ALTER TABLE attempts DROP COLUMN cache_read_tokens",
    "ALTER TABLE attempts DROP COLUMN output_tokens",
    "ALTER TABLE attempts DROP COLUMN input_tokens",
    "DROP TABLE messages",
    "DROP TABLE questions",
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
