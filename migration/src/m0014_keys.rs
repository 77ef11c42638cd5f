//! API keys that are stored, what each key has, and the audit log.

use sea_orm_migration::prelude::*;

/// The fourteenth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// Counts and bytes are kept by key, so that a key's own figures and limits cost no more than the server's. `rights` is
/// JSON; the budget stands beside it, because every claim asks for it.
const UP: &[&str] = &[
    "CREATE TABLE api_keys (
        name TEXT NOT NULL PRIMARY KEY,
        hash TEXT NOT NULL,
        previous_hash TEXT,
        previous_until BIGINT,
        rights TEXT NOT NULL,
        daily_budget_usd DOUBLE,
        created_at BIGINT NOT NULL,
        expires_at BIGINT,
        revoked_at BIGINT,
        last_used_at BIGINT
    )",
    "CREATE UNIQUE INDEX api_keys_hash ON api_keys (hash)",
    "CREATE INDEX api_keys_budget ON api_keys (name) WHERE daily_budget_usd IS NOT NULL",
    "CREATE TABLE audit_log (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        at BIGINT NOT NULL,
        key_name TEXT NOT NULL,
        address TEXT,
        action TEXT NOT NULL,
        path TEXT NOT NULL,
        status INTEGER NOT NULL,
        detail TEXT NOT NULL
    )",
    "ALTER TABLE webhooks ADD COLUMN key_name TEXT",
    "CREATE INDEX tasks_key ON tasks (key_name, id)",
    "CREATE TABLE key_bytes (key_name TEXT NOT NULL PRIMARY KEY, bytes BIGINT NOT NULL) WITHOUT ROWID",
    "INSERT INTO key_bytes (key_name, bytes)
        SELECT key_name, SUM(octet_length(spec) + COALESCE(
            (SELECT SUM(octet_length(data)) FROM events WHERE task_id = tasks.id), 0)) FROM tasks GROUP BY key_name",
    "DROP TRIGGER tasks_count_insert",
    "DROP TRIGGER tasks_count_delete",
    "DROP TRIGGER tasks_count_update",
    "DROP TABLE task_counts",
    "CREATE TABLE task_counts (
        key_name TEXT NOT NULL,
        status TEXT NOT NULL,
        count BIGINT NOT NULL,
        PRIMARY KEY (key_name, status)
    ) WITHOUT ROWID",
    "INSERT INTO task_counts (key_name, status, count)
        SELECT keys.key_name, column1, COALESCE(known.count, 0)
        FROM (SELECT 'default' AS key_name UNION SELECT key_name FROM tasks) keys
        CROSS JOIN (VALUES ('pending'), ('running'), ('completed'), ('failed'), ('cancelled'))
        LEFT JOIN (SELECT key_name, status, COUNT(*) AS count FROM tasks GROUP BY key_name, status) known
            ON known.key_name = keys.key_name AND known.status = column1",
    "CREATE TRIGGER tasks_count_insert AFTER INSERT ON tasks BEGIN
        INSERT INTO task_counts (key_name, status, count) VALUES (NEW.key_name, NEW.status, 1)
            ON CONFLICT (key_name, status) DO UPDATE SET count = count + 1;
    END",
    "CREATE TRIGGER tasks_count_delete AFTER DELETE ON tasks BEGIN
        UPDATE task_counts SET count = count - 1 WHERE key_name = OLD.key_name AND status = OLD.status;
    END",
    "CREATE TRIGGER tasks_count_update AFTER UPDATE OF status ON tasks WHEN OLD.status <> NEW.status BEGIN
        UPDATE task_counts SET count = count - 1 WHERE key_name = OLD.key_name AND status = OLD.status;
        INSERT INTO task_counts (key_name, status, count) VALUES (NEW.key_name, NEW.status, 1)
            ON CONFLICT (key_name, status) DO UPDATE SET count = count + 1;
    END",
];

const DOWN: &[&str] = &[
    "DROP TRIGGER tasks_count_insert",
    "DROP TRIGGER tasks_count_delete",
    "DROP TRIGGER tasks_count_update",
    "DROP TABLE task_counts",
    "CREATE TABLE task_counts (status TEXT NOT NULL PRIMARY KEY, count BIGINT NOT NULL) WITHOUT ROWID",
    "INSERT INTO task_counts (status, count)
        SELECT column1, (SELECT COUNT(*) FROM tasks WHERE status = column1)
        FROM (VALUES ('pending'), ('running'), ('completed'), ('failed'), ('cancelled'))",
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
    "DROP TABLE key_bytes",
    "DROP INDEX tasks_key",
    // A webhook of one key would be told of all tasks by the version before.
    "DELETE FROM webhooks WHERE key_name IS NOT NULL",
    "ALTER TABLE webhooks DROP COLUMN key_name",
    "DROP TABLE audit_log",
    "DROP TABLE api_keys",
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
