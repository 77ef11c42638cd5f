//! What was spent: by attempt, by task, by key and day. A cost counts once.

use entity::{attempt, task};
use rusqlite::params;
use sea_orm::ActiveValue::Set;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter};

use super::row::sql;
use super::{Reader, StoreError, Tx};
use crate::process::wall_now;
use crate::queue::reads::{ReadUsage, Usage, UsageDay};
use crate::task::{LeaseKey, Spent, Tokens};

const SPEND: &str = "INSERT INTO spending
        (day, key_name, cost_usd, attempts, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    VALUES (?, (SELECT key_name FROM tasks WHERE id = ?), ?, 1, ?, ?, ?, ?)
    ON CONFLICT (day, key_name) DO UPDATE SET cost_usd = cost_usd + excluded.cost_usd, attempts = attempts + 1,
        input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens";

fn costs(spent: Spent) -> attempt::ActiveModel {
    attempt::ActiveModel {
        cost_usd: Set(spent.cost_usd),
        cost_set_aside: Set(spent.set_aside),
        input_tokens: Set(spent.tokens.input),
        output_tokens: Set(spent.tokens.output),
        cache_read_tokens: Set(spent.tokens.cache_read),
        cache_write_tokens: Set(spent.tokens.cache_write),
        ..Default::default()
    }
}

fn to_the_day(tx: &Tx<'_>, key: LeaseKey, cost: f64, tokens: Tokens) -> Result<(), StoreError> {
    let (day, Tokens { input, output, cache_read, cache_write }) = (tx.now.day(), tokens);
    tx.execute(SPEND, params![day, key.task, cost, input, output, cache_read, cache_write])?;
    Ok(())
}

/// Writes down what the attempt that ends has cost: nobody else can have done so. Returns the columns with
/// the sum.
pub fn spend(
    tx: &Tx<'_>,
    row: &task::Model,
    columns: task::ActiveModel,
    key: LeaseKey,
    spent: Spent,
) -> Result<task::ActiveModel, StoreError> {
    if spent == Spent::NONE {
        return Ok(columns);
    }
    let update = attempt::Entity::update_many()
        .set(costs(spent))
        .filter(attempt::Column::TaskId.eq(key.task))
        .filter(attempt::Column::Epoch.eq(key.epoch));
    tx.run(&update)?;
    // What was set aside is marked with the attempt, and counts in no sum.
    let Some(cost) = spent.cost_usd else { return Ok(columns) };
    to_the_day(tx, key, cost, spent.tokens)?;
    Ok(task::ActiveModel { cost_usd: Set(Some(row.cost_usd.unwrap_or_default() + cost)), ..columns })
}

/// Writes down what an attempt has cost, whether its report came in time or late. A cost that is
/// there is not changed.
pub fn settle(tx: &Tx<'_>, key: LeaseKey, spent: Spent) -> Result<(), StoreError> {
    if spent.set_aside {
        let text = "UPDATE attempts SET cost_set_aside = TRUE WHERE task_id = ?1 AND epoch = ?2";
        tx.execute(text, rusqlite::params![key.task, key.epoch])?;
    }
    let Some(cost) = spent.cost_usd else { return Ok(()) };
    let update = attempt::Entity::update_many()
        .set(costs(spent))
        .filter(attempt::Column::TaskId.eq(key.task))
        .filter(attempt::Column::Epoch.eq(key.epoch))
        .filter(attempt::Column::CostUsd.is_null());
    if tx.run(&update)? == 0 {
        return Ok(());
    }
    to_the_day(tx, key, cost, spent.tokens)?;
    let total = "UPDATE tasks SET cost_usd = (SELECT SUM(cost_usd) FROM attempts WHERE task_id = ?1) WHERE id = ?1";
    tx.execute(total, [key.task])?;
    Ok(())
}

#[derive(FromQueryResult)]
struct Row {
    day: String,
    key_name: String,
    cost_usd: f64,
    attempts: i64,
    input_tokens: i64,
    output_tokens: i64,
    cache_read_tokens: i64,
    cache_write_tokens: i64,
}

impl Reader {
    /// What was spent, by key and day.
    pub async fn usage(&self, read: &ReadUsage) -> Result<Usage, StoreError> {
        let text = "SELECT * FROM spending WHERE day >= ?1 AND day <= ?2 AND (?3 IS NULL OR key_name = ?3)
            ORDER BY day, key_name";
        let values = [read.from.clone().into(), read.to.clone().into(), read.key.clone().into()];
        let rows = Row::find_by_statement(sql(text, values)).all(self.db()).await?;
        let reserved = "SELECT key_name, SUM(reserved_usd) FROM attempts
            WHERE ended_at IS NULL AND reserved_usd IS NOT NULL GROUP BY key_name";
        let reserved = self.db().query_all_raw(sql(reserved, [])).await?;
        let today = wall_now().day();
        let spent = "SELECT key_name, cost_usd FROM spending WHERE day = ?1";
        let spent = self.db().query_all_raw(sql(spent, [today.clone().into()])).await?;
        let pair = |row: &sea_orm::QueryResult| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?));
        Ok(Usage {
            days: rows.into_iter().map(day).collect(),
            today,
            spent: spent.iter().map(pair).collect::<Result<_, StoreError>>()?,
            reserved: reserved.iter().map(pair).collect::<Result<_, StoreError>>()?,
        })
    }
}

fn day(row: Row) -> UsageDay {
    UsageDay {
        day: row.day,
        key: row.key_name,
        cost_usd: row.cost_usd,
        attempts: row.attempts,
        tokens: Tokens {
            input: row.input_tokens,
            output: row.output_tokens,
            cache_read: row.cache_read_tokens,
            cache_write: row.cache_write_tokens,
        },
    }
}
