//! The history of a task's attempts. Each change of the task writes here in its own transaction.

use entity::{attempt, task};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder};

use super::gate::reserves;
use super::{StoreError, Tx};
use crate::queue::messages::Claim;
use crate::task::{Attempt, AttemptOutcome, Spent, TaskError, TaskId, Tokens, Wall};

/// How an attempt ended, and what it left.
pub struct AttemptEnd {
    pub outcome: AttemptOutcome,
    pub error: Option<TaskError>,
    pub session_id: Option<String>,
}

/// This task was claimed.
pub fn begin(tx: &Tx<'_>, claim: &Claim, row: &task::Model) -> Result<(), StoreError> {
    tx.insert(&attempt::Model {
        task_id: row.id,
        number: row.attempt,
        epoch: row.epoch,
        worker: row.worker.clone(),
        started_at: tx.now.0,
        ended_at: None,
        outcome: None,
        error_class: None,
        error_code: None,
        error_message: None,
        session_id: row.session_id.clone(),
        cost_usd: None,
        key_name: row.key_name.clone(),
        reserved_usd: reserves(claim, row.max_budget_usd, row.cost_usd),
        input_tokens: 0,
        output_tokens: 0,
        cache_read_tokens: 0,
        cache_write_tokens: 0,
        cost_set_aside: false,
    })
}

/// The conversation of the attempt is known.
pub fn set_session(tx: &Tx<'_>, task: TaskId, number: i32, session_id: &str) -> Result<(), StoreError> {
    let update = attempt::Entity::update_many()
        .set(attempt::ActiveModel { session_id: Set(Some(session_id.to_owned())), ..Default::default() })
        .filter(attempt::Column::TaskId.eq(task))
        .filter(attempt::Column::Number.eq(number));
    tx.run(&update)?;
    Ok(())
}

/// The attempt of this number is over.
pub fn end(tx: &Tx<'_>, task: TaskId, number: i32, end: AttemptEnd) -> Result<(), StoreError> {
    let mut columns = attempt::ActiveModel {
        ended_at: Set(Some(tx.now.0)),
        outcome: Set(Some(end.outcome.name().to_owned())),
        error_class: Set(end.error.as_ref().map(|error| error.class.clone())),
        error_code: Set(end.error.as_ref().map(|error| error.code.clone())),
        error_message: Set(end.error.map(|error| error.message)),
        ..Default::default()
    };
    if end.session_id.is_some() {
        columns.session_id = Set(end.session_id);
    }
    let update = attempt::Entity::update_many()
        .set(columns)
        .filter(attempt::Column::TaskId.eq(task))
        .filter(attempt::Column::Number.eq(number));
    tx.run(&update)?;
    Ok(())
}

/// The attempts of a task, in order.
pub async fn of(db: &DatabaseConnection, task: TaskId) -> Result<Vec<Attempt>, StoreError> {
    let rows = attempt::Entity::find()
        .filter(attempt::Column::TaskId.eq(task))
        .order_by_asc(attempt::Column::Number)
        .all(db)
        .await?;
    Ok(rows.into_iter().map(attempt_of).collect())
}

fn attempt_of(row: attempt::Model) -> Attempt {
    Attempt {
        number: row.number,
        worker: row.worker,
        started_at: Wall(row.started_at),
        ended_at: row.ended_at.map(Wall),
        outcome: row.outcome,
        error: row.error_message.map(|message| TaskError {
            class: row.error_class.unwrap_or_default(),
            code: row.error_code.unwrap_or_default(),
            message,
        }),
        session_id: row.session_id,
        spent: Spent {
            cost_usd: row.cost_usd,
            set_aside: row.cost_set_aside,
            tokens: Tokens {
                input: row.input_tokens,
                output: row.output_tokens,
                cache_read: row.cache_read_tokens,
                cache_write: row.cache_write_tokens,
            },
        },
    }
}
