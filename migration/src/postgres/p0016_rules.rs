//! Rules of keys: calls of tools that need no answer of a person.

use super::Step;

/// The sixteenth step.
pub const STEP: Step = Step { name: "p0016_rules", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE rules (
        id UUID NOT NULL PRIMARY KEY,
        key_name TEXT NOT NULL,
        rule TEXT NOT NULL,
        tag TEXT,
        folder TEXT,
        created_at BIGINT NOT NULL,
        created_by TEXT NOT NULL
    )",
    "CREATE INDEX rules_key ON rules (key_name)",
    "CREATE INDEX questions_by_answer ON questions (answered_at) WHERE answer IS NOT NULL",
];

const DOWN: &[&str] = &["DROP INDEX questions_by_answer", "DROP TABLE rules"];
