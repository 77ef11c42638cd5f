//! Secrets of keys, sealed.

use super::Step;

/// The twelfth step.
pub const STEP: Step = Step { name: "p0012_secrets", up: UP, down: DOWN };

const UP: &[&str] = &["CREATE TABLE secrets (
        key_name TEXT NOT NULL,
        name TEXT NOT NULL,
        sealed BYTEA NOT NULL,
        created_at BIGINT NOT NULL,
        updated_at BIGINT NOT NULL,
        PRIMARY KEY (key_name, name)
    )"];

const DOWN: &[&str] = &["DROP TABLE secrets"];
