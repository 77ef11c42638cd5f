//! Files that clients send, files that tasks leave, and the content of both.

use super::Step;

/// The eleventh step.
pub const STEP: Step = Step { name: "p0011_files", up: UP, down: DOWN };

const UP: &[&str] = &[
    "CREATE TABLE files (
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        blob UUID NOT NULL,
        bytes BIGINT NOT NULL,
        complete BOOLEAN NOT NULL,
        created_at BIGINT NOT NULL,
        used_at BIGINT NOT NULL,
        PRIMARY KEY (key_name, id)
    )",
    "CREATE INDEX files_blob ON files (blob)",
    "CREATE INDEX files_used ON files (used_at)",
    "CREATE TABLE task_files (
        task_id UUID NOT NULL,
        key_name TEXT NOT NULL,
        id TEXT NOT NULL,
        PRIMARY KEY (task_id, key_name, id)
    )",
    "CREATE INDEX task_files_id ON task_files (key_name, id)",
    "CREATE TABLE artifacts (
        task_id UUID NOT NULL,
        path TEXT NOT NULL,
        blob UUID NOT NULL,
        bytes BIGINT NOT NULL,
        sha256 TEXT NOT NULL,
        PRIMARY KEY (task_id, path)
    )",
    "CREATE INDEX artifacts_blob ON artifacts (blob) INCLUDE (bytes)",
    "CREATE TABLE blob_pieces (blob UUID NOT NULL, at BIGINT NOT NULL, bytes BYTEA NOT NULL, PRIMARY KEY (blob, at))",
    // Files are compressed already, or large.
    "ALTER TABLE blob_pieces ALTER COLUMN bytes SET STORAGE EXTERNAL",
];

const DOWN: &[&str] = &["DROP TABLE blob_pieces", "DROP TABLE artifacts", "DROP TABLE task_files", "DROP TABLE files"];
