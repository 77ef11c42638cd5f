//! Webhooks and their deliveries.

use sea_orm_migration::prelude::*;

/// The tenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// A webhook without a task hears of all tasks. A delivery is made in the transaction of what it tells, and
/// keeps what it needs, should its webhook be removed.
const UP: &[&str] = &[
    "CREATE TABLE webhooks (
        id TEXT NOT NULL PRIMARY KEY,
        task_id BLOB,
        url TEXT NOT NULL,
        secret TEXT,
        events TEXT NOT NULL,
        created_at BIGINT NOT NULL
    )",
    "CREATE INDEX webhooks_task ON webhooks (task_id)",
    "CREATE TABLE deliveries (
        id TEXT NOT NULL PRIMARY KEY,
        task_id BLOB NOT NULL,
        url TEXT NOT NULL,
        secret TEXT,
        event TEXT NOT NULL,
        body TEXT,
        created_at BIGINT NOT NULL,
        state TEXT NOT NULL CHECK (state IN ('pending','delivered','failed')),
        attempts INTEGER NOT NULL,
        next_at BIGINT NOT NULL,
        last_status INTEGER,
        last_error TEXT,
        ended_at BIGINT
    )",
    "CREATE INDEX deliveries_due ON deliveries (next_at) WHERE state = 'pending'",
    "CREATE INDEX deliveries_task ON deliveries (task_id, created_at)",
];

const DOWN: &[&str] = &["DROP TABLE deliveries", "DROP TABLE webhooks"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
