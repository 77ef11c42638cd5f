//! Files that clients send, and files that tasks leave. Their content stands beside the database.

use sea_orm_migration::prelude::*;

/// The twenty-third step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE files (
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        blob BLOB NOT NULL,
        bytes BIGINT NOT NULL,
        complete BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (key_name, id)
    ) WITHOUT ROWID",
    "CREATE INDEX files_blob ON files (blob)",
    "CREATE INDEX files_used ON files (used_at)",
    "CREATE TABLE task_files (
        task_id BLOB NOT NULL,
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (task_id, key_name, id)
    ) WITHOUT ROWID",
    "CREATE INDEX task_files_id ON task_files (key_name, id)",
    "CREATE TABLE artifacts (
        task_id BLOB NOT NULL,
        path TEXT NOT NULL,
        blob BLOB NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (task_id, path)
    ) WITHOUT ROWID",
    "CREATE INDEX artifacts_blob ON artifacts (blob, bytes)",
];

const DOWN: &[&str] = &["DROP TABLE artifacts", "DROP TABLE task_files", "DROP TABLE files"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
