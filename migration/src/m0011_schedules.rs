//! Tasks that are submitted by the clock.

use sea_orm_migration::prelude::*;

/// The eleventh step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `next_at` is the firing to come: the submit of its task moves it ahead in the same transaction.
const UP: &[&str] = &[
    "CREATE TABLE schedules (
        id BLOB NOT NULL PRIMARY KEY,
        name TEXT,
        cron TEXT NOT NULL,
        time_zone TEXT NOT NULL,
        spec TEXT NOT NULL,
        key_name TEXT NOT NULL,
        missed TEXT NOT NULL CHECK (missed IN ('skip','once')),
        overlap TEXT NOT NULL CHECK (overlap IN ('allow','skip')),
        continue_session BOOLEAN NOT NULL,
        enabled BOOLEAN NOT NULL,
        next_at BIGINT,
        created_at BIGINT NOT NULL
    )",
    "CREATE INDEX schedules_due ON schedules (next_at) WHERE enabled AND next_at IS NOT NULL",
    "CREATE TABLE schedule_runs (
        n INTEGER NOT NULL PRIMARY KEY,
        schedule_id BLOB NOT NULL,
        due_at BIGINT,
        fired_at BIGINT NOT NULL,
        outcome TEXT NOT NULL CHECK (outcome IN ('submitted','missed','skipped','refused')),
        task_id BLOB,
        detail TEXT
    )",
    "CREATE INDEX schedule_runs_of ON schedule_runs (schedule_id, n)",
];

const DOWN: &[&str] = &["DROP TABLE schedule_runs", "DROP TABLE schedules"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
