//! Labels of workers, and tasks that need some; and attempts that end where they stand.

use super::Step;

/// The third step.
pub const STEP: Step = Step { name: "p0003_labels", up: UP, down: DOWN };

/// The tasks with the same requirements are a lane, which has a line of its own in the index. An attempt that ends is written
/// anew in its page, without a word in any index, for which none may name its end.
const UP: &[&str] = &[
    "ALTER TABLE tasks ADD COLUMN lane TEXT NOT NULL DEFAULT ''",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (lane, priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "ALTER TABLE workers ADD COLUMN labels TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE workers ADD COLUMN version TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE workers ADD COLUMN drain BOOLEAN NOT NULL DEFAULT FALSE",
    "DROP INDEX attempts_reserved",
    "ALTER TABLE attempts SET (fillfactor = 60)",
];

const DOWN: &[&str] = &[
    "ALTER TABLE attempts SET (fillfactor = 90)",
    "CREATE INDEX attempts_reserved ON attempts (key_name) WHERE ended_at IS NULL AND reserved_usd IS NOT NULL",
    "ALTER TABLE workers DROP COLUMN drain",
    "ALTER TABLE workers DROP COLUMN version",
    "ALTER TABLE workers DROP COLUMN labels",
    "DROP INDEX tasks_ready",
    "CREATE INDEX tasks_ready ON tasks (priority DESC, id) WHERE status = 'pending' AND due_at IS NULL",
    "ALTER TABLE tasks DROP COLUMN lane",
];
