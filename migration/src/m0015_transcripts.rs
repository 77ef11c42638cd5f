//! Transcripts of sessions, so that a conversation goes on where its files are not.

use sea_orm_migration::prelude::*;

/// The fifteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// A part is what the CLI has added to a transcript at a time, lines of JSON, numbered within its attempt.
const UP: &[&str] = &[
    "CREATE TABLE transcripts (
        n INTEGER NOT NULL PRIMARY KEY,
        session_id BLOB NOT NULL,
        task_id BLOB NOT NULL,
        epoch BIGINT NOT NULL,
        part BIGINT NOT NULL,
        entries TEXT NOT NULL
    )",
    "CREATE INDEX transcripts_session ON transcripts (session_id, n)",
    "CREATE UNIQUE INDEX transcripts_part ON transcripts (task_id, epoch, part)",
];

const DOWN: &[&str] = &["DROP TABLE transcripts"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
