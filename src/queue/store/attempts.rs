//! The history of a task's attempts. Each change of the task writes here in its own transaction.

use entity::{attempt, task};
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, ConnectionTrait, DatabaseConnection, EntityTrait, QueryFilter, QueryOrder, Value};

use super::insert::{Target, insert};
use super::{StoreError, Tx};
use crate::task::{Attempt, AttemptOutcome, LeaseKey, Spent, TaskError, TaskId, Tokens, Wall};

/// How an attempt ended, and what it left.
pub struct AttemptEnd {
    pub outcome: AttemptOutcome,
    pub error: Option<TaskError>,
    pub session_id: Option<String>,
    pub spent: Spent,
}

const BEGUN: Target = Target {
    head: "INSERT INTO attempts (task_id, number, epoch, worker, started_at, session_id)",
    width: 6,
    tail: "",
};

/// These tasks were claimed.
pub async fn begin(tx: &mut Tx, claimed: &[task::Model]) -> Result<(), StoreError> {
    let now = tx.now.0;
    let values = claimed.iter().flat_map(|row| -> [Value; BEGUN.width] {
        [
            row.id.into(),
            row.attempt.into(),
            row.epoch.into(),
            row.worker.clone().into(),
            now.into(),
            row.session_id.clone().into(),
        ]
    });
    insert(tx.db().await?, [(&BEGUN, values.collect())]).await
}

/// The conversation of the attempt is known.
pub async fn set_session(tx: &mut Tx, task: TaskId, number: i32, session_id: &str) -> Result<(), StoreError> {
    attempt::Entity::update_many()
        .set(attempt::ActiveModel { session_id: Set(Some(session_id.to_owned())), ..Default::default() })
        .filter(attempt::Column::TaskId.eq(task))
        .filter(attempt::Column::Number.eq(number))
        .exec(tx.db().await?)
        .await?;
    Ok(())
}

/// The attempt of this number is over.
pub async fn end(tx: &mut Tx, task: TaskId, number: i32, end: AttemptEnd) -> Result<(), StoreError> {
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
    if end.spent.cost_usd.is_some() {
        columns = with_spent(columns, end.spent);
    }
    attempt::Entity::update_many()
        .set(columns)
        .filter(attempt::Column::TaskId.eq(task))
        .filter(attempt::Column::Number.eq(number))
        .exec(tx.db().await?)
        .await?;
    Ok(())
}

fn with_spent(columns: attempt::ActiveModel, spent: Spent) -> attempt::ActiveModel {
    attempt::ActiveModel {
        cost_usd: Set(spent.cost_usd),
        input_tokens: Set(spent.tokens.input),
        output_tokens: Set(spent.tokens.output),
        cache_read_tokens: Set(spent.tokens.cache_read),
        cache_write_tokens: Set(spent.tokens.cache_write),
        ..columns
    }
}

/// A report that came too late to decide anything still says what the attempt cost. Once: a
/// cost that is there is not changed.
pub async fn late_cost(tx: &mut Tx, key: LeaseKey, spent: Spent) -> Result<(), StoreError> {
    attempt::Entity::update_many()
        .set(with_spent(attempt::ActiveModel::default(), spent))
        .filter(attempt::Column::TaskId.eq(key.task))
        .filter(attempt::Column::Epoch.eq(key.epoch))
        .filter(attempt::Column::CostUsd.is_null())
        .exec(tx.db().await?)
        .await?;
    total_cost(tx, key.task).await
}

/// The cost of the task is that of all its attempts.
pub async fn total_cost(tx: &mut Tx, task: TaskId) -> Result<(), StoreError> {
    let text = "UPDATE tasks SET cost_usd = (SELECT SUM(cost_usd) FROM attempts WHERE task_id = ?1) WHERE id = ?1";
    tx.db().await?.execute_raw(super::row::sql(text, [task.into()])).await?;
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
            tokens: Tokens {
                input: row.input_tokens,
                output: row.output_tokens,
                cache_read: row.cache_read_tokens,
                cache_write: row.cache_write_tokens,
            },
        },
    }
}
