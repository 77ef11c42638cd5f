//! The place of a task in the trace that its client, or its submit, began.

use super::Step;

/// The seventh step.
pub const STEP: Step = Step { name: "p0007_traces", up: UP, down: DOWN };

const UP: &[&str] = &["ALTER TABLE tasks ADD COLUMN trace_parent TEXT"];

const DOWN: &[&str] = &["ALTER TABLE tasks DROP COLUMN trace_parent"];
