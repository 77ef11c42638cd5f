//! One order of all events, whichever task they are of.

use sea_orm_migration::prelude::*;

/// The ninth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `n` grows in the order of the commits: who writes is alone. The newest event is never removed, so no number
/// comes again. Events before this step are in the order of their times.
const UP: &[&str] = &[
    "CREATE TABLE ordered_events (
        n INTEGER NOT NULL PRIMARY KEY,
        task_id BLOB NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL
    )",
    "INSERT INTO ordered_events (task_id, seq, at, kind, data)
        SELECT task_id, seq, at, kind, data FROM events ORDER BY at, task_id, seq",
    "DROP TABLE events",
    "ALTER TABLE ordered_events RENAME TO events",
    "CREATE UNIQUE INDEX events_of_task ON events (task_id, seq)",
];

const DOWN: &[&str] = &[
    "CREATE TABLE unordered_events (
        task_id BLOB NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (task_id, seq)
    ) WITHOUT ROWID",
    "INSERT INTO unordered_events SELECT task_id, seq, at, kind, data FROM events",
    "DROP TABLE events",
    "ALTER TABLE unordered_events RENAME TO events",
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
