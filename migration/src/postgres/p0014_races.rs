//! Races: tasks that do the same, of which one wins.

use super::Step;

/// The fourteenth step.
pub const STEP: Step = Step { name: "p0014_races", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE race_entries (
        task_id UUID NOT NULL PRIMARY KEY,
        race_id UUID NOT NULL,
        place BIGINT NOT NULL,
        won BOOLEAN
    )",
    "CREATE INDEX race_entries_race ON race_entries (race_id)",
];

const DOWN: &[&str] = &["DROP TABLE race_entries"];
