//! Statements on attempts and events.

use async_trait::async_trait;

use super::tx::PostgresTx;
use super::value::params;
use crate::store::StoreError;
use crate::store::rows::{AttemptEnd, AttemptRow, EventRow};
use crate::store::tx::{Attempts, Events};
use domain::{LeaseKey, Named as _, SessionId, Spent, TaskId};

const END: &str = "UPDATE attempts SET ended_at = new.ended_at, outcome = new.outcome, error_class = new.error_class,
        error_code = new.error_code, error_message = new.error_message,
        session_id = COALESCE(new.session_id, attempts.session_id)
    FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[])
        AS new(task, number, ended_at, outcome, error_class, error_code, error_message, session_id)
    WHERE attempts.task_id = new.task AND attempts.number = new.number";

const COST: &str = "UPDATE attempts SET cost_usd = $3, cost_set_aside = $4, input_tokens = $5, output_tokens = $6,
        cache_read_tokens = $7, cache_write_tokens = $8
    WHERE task_id = $1 AND epoch = $2 AND (NOT $9 OR cost_usd IS NULL) RETURNING 1";

#[async_trait(?Send)]
impl Attempts for PostgresTx<'_> {
    async fn insert_attempt(&mut self, row: &AttemptRow) -> Result<(), StoreError> {
        self.insert(row);
        Ok(())
    }

    async fn set_attempt_session(&mut self, task: TaskId, number: i32, session: SessionId) -> Result<(), StoreError> {
        let text = "UPDATE attempts SET session_id = $3 WHERE task_id = $1 AND number = $2";
        self.defer_of(task, text, params![task, number, session.to_string()]);
        Ok(())
    }

    async fn end_attempt(&mut self, task: TaskId, number: i32, end: &AttemptEnd) -> Result<(), StoreError> {
        let error = end.error.as_ref();
        let (class, code) = (error.map(|error| error.class.name()), error.map(|error| &error.code));
        let session = end.session_id.map(|session| session.to_string());
        let message = error.map(|error| &error.message);
        let values = params![task, number, end.at, end.outcome.name(), class, code, message, session];
        self.defer_row(task, END, values);
        Ok(())
    }

    async fn set_attempt_cost(&mut self, key: LeaseKey, spent: Spent, once: bool) -> Result<bool, StoreError> {
        let Spent { cost_usd, set_aside, tokens } = spent;
        let (input, output) = (tokens.input, tokens.output);
        let (cache_read, cache_write) = (tokens.cache_read, tokens.cache_write);
        let values = params![key.task, key.epoch, cost_usd, set_aside, input, output, cache_read, cache_write, once];
        if once {
            return self.any(COST, values).await;
        }
        self.defer_of(key.task, COST, values);
        Ok(true)
    }

    async fn mark_cost_set_aside(&mut self, key: LeaseKey) -> Result<(), StoreError> {
        let text = "UPDATE attempts SET cost_set_aside = TRUE WHERE task_id = $1 AND epoch = $2";
        self.defer_of(key.task, text, params![key.task, key.epoch]);
        Ok(())
    }
}

#[async_trait(?Send)]
impl Events for PostgresTx<'_> {
    async fn insert_event(&mut self, row: &EventRow) -> Result<(), StoreError> {
        let values = params![row.task_id, row.seq, row.at, row.kind.name(), &row.data];
        self.insert_values("events", "task_id, seq, at, kind, data", values.into());
        Ok(())
    }
}
