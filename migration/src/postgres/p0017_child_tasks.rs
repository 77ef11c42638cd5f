//! Tasks that were made from inside a running task.

use super::Step;

/// The seventeenth step.
pub const STEP: Step = Step { name: "p0017_child_tasks", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE child_tasks (
        task_id UUID NOT NULL PRIMARY KEY,
        parent_id UUID NOT NULL,
        depth BIGINT NOT NULL
    )",
    "CREATE INDEX child_tasks_parent ON child_tasks (parent_id)",
];

const DOWN: &[&str] = &["DROP TABLE child_tasks"];
