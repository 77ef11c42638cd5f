//! Money, worktrees, and folders that tasks have for themselves.

use sea_orm_migration::prelude::*;

/// The sixth step.
#[derive(DeriveMigrationName)]
pub struct Migration;

/// `held` names what a pending task waits for besides its time, so that a task that makes room finds it.
/// What was spent stays in its own table: it outlives the tasks.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN key_name TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE tasks ADD COLUMN max_budget_usd DOUBLE",
    "ALTER TABLE tasks ADD COLUMN exclusive BOOLEAN NOT NULL DEFAULT FALSE",
    "ALTER TABLE tasks ADD COLUMN held TEXT",
    "CREATE INDEX tasks_held ON tasks (held, priority DESC, id) WHERE status = 'pending' AND held IS NOT NULL",
    "CREATE INDEX tasks_exclusive ON tasks (id) WHERE exclusive AND status IN ('pending','running')",
    "ALTER TABLE attempts ADD COLUMN key_name TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE attempts ADD COLUMN reserved_usd DOUBLE",
    "CREATE INDEX attempts_reserved ON attempts (key_name) WHERE ended_at IS NULL AND reserved_usd IS NOT NULL",
    "CREATE TABLE spending (
        day TEXT NOT NULL,
        key_name TEXT NOT NULL,
        cost_usd DOUBLE NOT NULL,
        attempts BIGINT NOT NULL,
        input_tokens BIGINT NOT NULL,
        output_tokens BIGINT NOT NULL,
        cache_read_tokens BIGINT NOT NULL,
        cache_write_tokens BIGINT NOT NULL,
        PRIMARY KEY (day, key_name)
    ) WITHOUT ROWID",
    "CREATE TABLE changes (task_id BLOB NOT NULL PRIMARY KEY, summary TEXT NOT NULL, patch BLOB NOT NULL)",
    // What was spent before this step is known by attempt.
    "INSERT INTO spending SELECT date(ended_at / 1000, 'unixepoch'), 'default', SUM(cost_usd), COUNT(*),
            SUM(input_tokens), SUM(output_tokens), SUM(cache_read_tokens), SUM(cache_write_tokens)
        FROM attempts WHERE cost_usd IS NOT NULL AND ended_at IS NOT NULL GROUP BY 1",
];

const DOWN: &[&str] = &[
    "DROP TABLE changes",
    "DROP TABLE spending",
    "DROP INDEX attempts_reserved",
    "ALTER TABLE attempts DROP COLUMN reserved_usd",
    "ALTER TABLE attempts DROP COLUMN key_name",
    "DROP INDEX tasks_exclusive",
    "DROP INDEX tasks_held",
    "ALTER TABLE tasks DROP COLUMN held",
    "ALTER TABLE tasks DROP COLUMN exclusive",
    "ALTER TABLE tasks DROP COLUMN max_budget_usd",
    "ALTER TABLE tasks DROP COLUMN key_name",
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
