//! Rules of keys: calls of tools that need no answer of a person.

use sea_orm_migration::prelude::*;

/// The twenty-eighth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

const UP: &[&str] = &[
    "CREATE TABLE rules (
        id BLOB NOT NULL PRIMARY KEY,
        key_name TEXT NOT NULL,
        rule TEXT NOT NULL,
        tag TEXT,
        folder TEXT,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL
    ) WITHOUT ROWID",
    "CREATE INDEX rules_key ON rules (key_name)",
    // Those of people's newest answers, to learn rules from.
    "CREATE INDEX questions_by_answer ON questions (answered_at) WHERE answer IS NOT NULL",
];

const DOWN: &[&str] = &["DROP INDEX questions_by_answer", "DROP TABLE rules"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
