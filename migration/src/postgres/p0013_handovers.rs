//! Attempts that one worker has handed over to the next.

use super::Step;

/// The thirteenth step.
pub const STEP: Step = Step { name: "p0013_handovers", up: UP, down: DOWN };

const UP: &[&str] = &["CREATE TABLE handovers (
        task_id UUID NOT NULL PRIMARY KEY,
        epoch BIGINT NOT NULL,
        tree_holder UUID NOT NULL
    )"];

const DOWN: &[&str] = &["DROP TABLE handovers"];
