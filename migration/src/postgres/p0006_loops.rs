//! How the attempt that runs goes round in circles.

use super::Step;

/// The sixth step.
pub const STEP: Step = Step { name: "p0006_loops", up: UP, down: DOWN };

const UP: &[&str] = &["ALTER TABLE tasks ADD COLUMN looping TEXT"];

const DOWN: &[&str] = &["ALTER TABLE tasks DROP COLUMN looping"];
