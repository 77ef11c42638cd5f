//! The index of words of events. On SQLite it is a file of its own.

use super::Step;

/// The eighth step.
pub const STEP: Step = Step { name: "p0008_words", up: UP, down: DOWN };

/// No foreign key: the index follows behind the events, and forgets what is gone by itself.
const UP: &[&str] = &[
    "CREATE TABLE event_words (n BIGINT PRIMARY KEY, task_id UUID NOT NULL, seq BIGINT NOT NULL, words TSVECTOR NOT NULL)",
    "CREATE INDEX event_words_words ON event_words USING GIN (words)",
    "CREATE INDEX event_words_task ON event_words (task_id)",
    "CREATE TABLE event_words_place (one BOOLEAN PRIMARY KEY DEFAULT TRUE CHECK (one), n BIGINT NOT NULL, task_id UUID NOT NULL, seq BIGINT NOT NULL)",
    "INSERT INTO event_words_place (n, task_id, seq) VALUES (0, '00000000-0000-0000-0000-000000000000', 0)",
];

const DOWN: &[&str] = &["DROP TABLE event_words_place", "DROP TABLE event_words"];
