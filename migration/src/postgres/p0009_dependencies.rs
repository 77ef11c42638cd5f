//! Tasks that wait for others.

use super::Step;

/// The ninth step.
pub const STEP: Step = Step { name: "p0009_dependencies", up: UP, down: DOWN };

const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN dependencies BIGINT NOT NULL DEFAULT 0",
    "CREATE TABLE dependencies (
        task_id UUID NOT NULL,
        n BIGINT NOT NULL,
        on_task UUID NOT NULL,
        name TEXT,
        condition TEXT NOT NULL,
        on_failure TEXT NOT NULL,
        state TEXT NOT NULL,
        PRIMARY KEY (task_id, n)
    )",
    "CREATE INDEX dependencies_on ON dependencies (on_task, state)",
    "CREATE TABLE waits (task_id UUID NOT NULL PRIMARY KEY, open BIGINT NOT NULL, run_at BIGINT)",
    "CREATE TABLE unsettled (task_id UUID NOT NULL PRIMARY KEY)",
    "CREATE INDEX tasks_retry_of ON tasks (retry_of) WHERE retry_of IS NOT NULL",
];

const DOWN: &[&str] = &[
    "DROP INDEX tasks_retry_of",
    "DROP TABLE unsettled",
    "DROP TABLE waits",
    "DROP TABLE dependencies",
    "ALTER TABLE tasks DROP COLUMN dependencies",
];
