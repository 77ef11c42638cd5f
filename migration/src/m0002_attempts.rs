//! The history of each task's attempts, and their costs.

use sea_orm_migration::prelude::*;

/// The second step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Adds the attempts. Of tasks that ran before this step only the newest attempt is known.
const UP: &[&str] = &[
    "CREATE TABLE attempts (
        task_id BLOB NOT NULL,
        number INTEGER NOT NULL,
        epoch BIGINT NOT NULL,
        worker TEXT,
        started_at BIGINT NOT NULL,
        ended_at BIGINT,
        outcome TEXT CHECK (outcome IN ('completed','failed','crashed','released','cancelled')),
        error_class TEXT,
        error_code TEXT,
        error_message TEXT,
        session_id TEXT,
        cost_usd DOUBLE,
        PRIMARY KEY (task_id, number),
        CHECK ((outcome IS NULL) = (ended_at IS NULL))
    ) WITHOUT ROWID",
    "INSERT INTO attempts (task_id, number, epoch, worker, started_at, ended_at, outcome,
            error_class, error_code, error_message, session_id, cost_usd)
        SELECT id, attempt, CASE status WHEN 'cancelled' THEN epoch - 1 ELSE epoch END, worker, started_at,
            CASE status WHEN 'running' THEN NULL ELSE COALESCE(completed_at, started_at) END,
            CASE status WHEN 'running' THEN NULL WHEN 'pending' THEN 'released' ELSE status END,
            error_class, error_code, error_message, session_id, cost_usd
        FROM tasks WHERE attempt > 0",
];

const DOWN: &[&str] = &["DROP TABLE attempts"];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, UP).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        crate::run(manager, DOWN).await
    }
}
