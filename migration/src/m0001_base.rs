//! Tasks, their events, the workers, and the counts that statistics read.

use sea_orm_migration::prelude::*;

/// The first step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `CHECK` repeats the statuses of the domain (a test compares them), the partial indexes are
/// what the claim, the reaper and `oldestPendingMs` walk, so their cost does not depend on how
/// many tasks have ended.
const UP: &[&str] = &[
    "CREATE TABLE tasks (
        id BLOB NOT NULL PRIMARY KEY,
        status TEXT NOT NULL CHECK (status IN ('pending','running','completed','failed','cancelled')),
        spec TEXT NOT NULL,
        priority BIGINT NOT NULL,
        created_at BIGINT NOT NULL,
        due_at BIGINT,
        started_at BIGINT,
        completed_at BIGINT,
        attempt INTEGER NOT NULL,
        ended INTEGER NOT NULL CHECK (ended <= max_attempts),
        crashes INTEGER NOT NULL,
        max_attempts INTEGER NOT NULL,
        epoch BIGINT NOT NULL,
        holder BLOB,
        lease_ms BIGINT,
        lease_boot BLOB,
        worker TEXT,
        working_directory TEXT,
        retry_of BLOB,
        last_event BIGINT NOT NULL,
        session_id TEXT,
        result TEXT,
        structured_output TEXT,
        error_class TEXT,
        error_code TEXT,
        error_message TEXT,
        cost_usd DOUBLE,
        usage TEXT,
        num_turns BIGINT,
        duration_ms BIGINT,
        permission_denials TEXT,
        CHECK ((status = 'running') = (holder IS NOT NULL))
    )",
    "CREATE INDEX tasks_ready ON tasks (priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "CREATE INDEX tasks_due ON tasks (due_at) WHERE status = 'pending' AND due_at IS NOT NULL",
    "CREATE INDEX tasks_oldest ON tasks (created_at) WHERE status = 'pending'",
    "CREATE INDEX tasks_running ON tasks (holder) WHERE status = 'running'",
    "CREATE INDEX tasks_status ON tasks (status, id)",
    "CREATE INDEX tasks_directory ON tasks (working_directory, id)",
    "CREATE TABLE task_tags (
        tag TEXT NOT NULL,
        task_id BLOB NOT NULL,
        PRIMARY KEY (tag, task_id)
    ) WITHOUT ROWID",
    "CREATE TABLE events (
        task_id BLOB NOT NULL,
        seq BIGINT NOT NULL,
        at BIGINT NOT NULL,
        kind TEXT NOT NULL,
        data TEXT NOT NULL,
        PRIMARY KEY (task_id, seq)
    ) WITHOUT ROWID",
    "CREATE TABLE workers (
        holder BLOB NOT NULL PRIMARY KEY,
        name TEXT NOT NULL,
        host TEXT NOT NULL,
        process TEXT NOT NULL,
        started_at BIGINT NOT NULL,
        beat_at BIGINT NOT NULL,
        running BIGINT NOT NULL,
        concurrency BIGINT NOT NULL
    )",
    "CREATE TABLE queue_state (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
        paused BOOLEAN NOT NULL,
        concurrency INTEGER
    )",
    "INSERT INTO queue_state (id, paused) VALUES (1, FALSE)",
    "CREATE TABLE idempotency_keys (
        key TEXT NOT NULL PRIMARY KEY,
        fingerprint TEXT NOT NULL,
        task_id BLOB NOT NULL,
        created_at BIGINT NOT NULL
    )",
    // Kept by the database itself, so that no statement can forget them.
    "CREATE TABLE task_counts (status TEXT NOT NULL PRIMARY KEY, count BIGINT NOT NULL) WITHOUT ROWID",
    "INSERT INTO task_counts (status, count)
        VALUES ('pending', 0), ('running', 0), ('completed', 0), ('failed', 0), ('cancelled', 0)",
    "CREATE TRIGGER tasks_count_insert AFTER INSERT ON tasks BEGIN
        UPDATE task_counts SET count = count + 1 WHERE status = NEW.status;
    END",
    "CREATE TRIGGER tasks_count_delete AFTER DELETE ON tasks BEGIN
        UPDATE task_counts SET count = count - 1 WHERE status = OLD.status;
    END",
    "CREATE TRIGGER tasks_count_update AFTER UPDATE OF status ON tasks WHEN OLD.status <> NEW.status BEGIN
        UPDATE task_counts SET count = count - 1 WHERE status = OLD.status;
        UPDATE task_counts SET count = count + 1 WHERE status = NEW.status;
    END",
];

const DOWN: &[&str] = &[
    "DROP TABLE task_counts",
    "DROP TABLE idempotency_keys",
    "DROP TABLE queue_state",
    "DROP TABLE workers",
    "DROP TABLE events",
    "DROP TABLE task_tags",
    "DROP TABLE tasks",
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
