//! The history of a task's attempts. Each change of the task writes here in its own transaction.

use super::Unit;
use crate::store::StoreError;
use crate::store::rows::{AttemptRow, TaskRow};
use domain::Usd;

/// Inserts the attempt of a claimed task.
pub async fn begin(unit: &mut Unit<'_>, row: &TaskRow, reserved_usd: Option<Usd>) -> Result<(), StoreError> {
    let attempt = AttemptRow {
        task_id: row.id,
        number: row.attempt,
        epoch: row.epoch,
        worker: row.worker.clone(),
        started_at: unit.now.0,
        ended_at: None,
        outcome: None,
        error_class: None,
        error_code: None,
        error_message: None,
        session_id: row.session_id.clone(),
        cost_usd: None,
        key_name: row.key_name.clone(),
        reserved_usd,
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        cost_set_aside: false,
    };
    unit.tx.insert_attempt(&attempt).await
}
