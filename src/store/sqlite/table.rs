//! Rows of the tables that commands read and write, column by column.

use entity::{attempt, idempotency_key, message, question, task, worker};
use rusqlite::{Row, ToSql};

/// A whole row of a table.
pub trait Table: Sized {
    /// All columns, as they stand in a statement.
    const COLUMNS: &'static str;
    /// How many they are.
    const WIDTH: usize;
    /// The statement that inserts a row.
    const INSERT: &'static str;

    /// Reads the row from the first columns of a result.
    ///
    /// # Errors
    /// A value is not of the column's kind.
    fn read(row: &Row<'_>) -> rusqlite::Result<Self>;

    /// The values of the columns, in order.
    fn values(&self) -> Vec<&dyn ToSql>;
}

macro_rules! a_value {
    ($column:ident) => {
        ", ?"
    };
}

macro_rules! table {
    ($name:literal, $model:ty { $first:ident, $($column:ident),* $(,)? }) => {
        impl Table for $model {
            const COLUMNS: &'static str = concat!(stringify!($first) $(, ", ", stringify!($column))*);
            const WIDTH: usize = 1 + [$(stringify!($column)),*].len();
            const INSERT: &'static str = concat!(
                "INSERT INTO ", $name, " (", stringify!($first) $(, ", ", stringify!($column))*,
                ") VALUES (?" $(, a_value!($column))*, ")"
            );

            fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
                let mut at = 0;
                Ok(Self {
                    $first: row.get(at)?,
                    $($column: {
                        at += 1;
                        row.get(at)?
                    }),*
                })
            }

            fn values(&self) -> Vec<&dyn ToSql> {
                vec![&self.$first $(, &self.$column)*]
            }
        }
    };
}

table!(
    "tasks",
    task::Model {
        id,
        status,
        spec,
        priority,
        created_at,
        due_at,
        started_at,
        completed_at,
        attempt,
        ended,
        crashes,
        max_attempts,
        epoch,
        holder,
        lease_ms,
        lease_boot,
        worker,
        working_directory,
        retry_of,
        last_event,
        attempt_events,
        session_id,
        resumes,
        continued_from,
        key_name,
        max_budget_usd,
        own_directory,
        exclusive,
        concurrency_key,
        held,
        waiting_for,
        said,
        result,
        structured_output,
        error_class,
        error_code,
        error_message,
        cost_usd,
        usage,
        num_turns,
        duration_ms,
        permission_denials,
        remarks,
    }
);

table!(
    "attempts",
    attempt::Model {
        task_id,
        number,
        epoch,
        worker,
        started_at,
        ended_at,
        outcome,
        error_class,
        error_code,
        error_message,
        session_id,
        cost_usd,
        key_name,
        reserved_usd,
        input_tokens,
        output_tokens,
        cache_read_tokens,
        cache_write_tokens,
        cost_set_aside,
    }
);

table!(
    "questions",
    question::Model { task_id, request_id, tool, input, suggestions, asked_at, deadline, answer, answered_at, closed }
);

table!("messages", message::Model { id, task_id, kind, text, at, epoch, done_at });

table!("workers", worker::Model { holder, name, host, process, started_at, beat_at, running, concurrency });

table!("idempotency_keys", idempotency_key::Model { key, fingerprint, task_id, created_at });

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_statements() {
        type Key = idempotency_key::Model;
        assert_eq!((Key::COLUMNS, Key::WIDTH), ("key, fingerprint, task_id, created_at", 4));
        assert_eq!(
            Key::INSERT,
            "INSERT INTO idempotency_keys (key, fingerprint, task_id, created_at) VALUES (?, ?, ?, ?)"
        );
    }
}
