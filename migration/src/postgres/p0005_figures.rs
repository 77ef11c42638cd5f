//! What a running attempt has cost so far, the tasks that go on with a session, and the words of a request.

use super::Step;

/// The fifth step.
pub const STEP: Step = Step { name: "p0005_figures", up: UP, down: DOWN };

/// The instruction of a request; null where that can't be read, which must not fail the query.
const INSTRUCTION_OF: &str =
    "CREATE FUNCTION instruction_of(spec TEXT) RETURNS TEXT LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS
    $$ BEGIN RETURN spec::json ->> 'instruction'; EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$";

/// The first task of a session is not in the index: nearly all sessions have no other.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN cost_so_far DOUBLE PRECISION",
    "CREATE INDEX tasks_conversation ON tasks (session_id, id) WHERE resume_session_id IS NOT NULL",
    INSTRUCTION_OF,
];

const DOWN: &[&str] = &[
    "DROP FUNCTION instruction_of(TEXT)",
    "DROP INDEX tasks_conversation",
    "ALTER TABLE tasks DROP COLUMN cost_so_far",
];
