//! Questions that wait for an answer, in the order in which they were asked.

use super::Step;

/// The fourth step.
pub const STEP: Step = Step { name: "p0004_open_questions", up: UP, down: DOWN };

/// The index has only what waits, which is little.
const UP: &[&str] =
    &["CREATE INDEX questions_open ON questions (asked_at, task_id, request_id) WHERE answer IS NULL AND NOT closed"];

const DOWN: &[&str] = &["DROP INDEX questions_open"];
