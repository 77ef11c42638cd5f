//! Files that running tasks change.

use super::Step;

/// The fifteenth step.
pub const STEP: Step = Step { name: "p0015_touches", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE touches (
        task_id UUID NOT NULL,
        place TEXT NOT NULL,
        PRIMARY KEY (task_id, place)
    )",
    "CREATE INDEX touches_place ON touches (place)",
];

const DOWN: &[&str] = &["DROP TABLE touches"];
