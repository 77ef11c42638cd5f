//! Statements on what was spent.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::connection::Connection;
use super::read_state::now;
use super::tx::PostgresTx;
use super::value::{Unread, get, params};
use crate::store::StoreError;
use crate::store::tx::Money;
use crate::store::views::{ReadUsage, Usage, UsageDay};
use domain::{TaskId, Tokens, Usd};

const SPEND: &str = "INSERT INTO spending
        (day, key_name, cost_usd, attempts, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    VALUES ($1, (SELECT key_name FROM tasks WHERE id = $2), $3, 1, $4, $5, $6, $7)
    ON CONFLICT (day, key_name) DO UPDATE SET cost_usd = spending.cost_usd + excluded.cost_usd, attempts = spending.attempts + 1,
        input_tokens = spending.input_tokens + excluded.input_tokens, output_tokens = spending.output_tokens + excluded.output_tokens,
        cache_read_tokens = spending.cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = spending.cache_write_tokens + excluded.cache_write_tokens";

const SUM: &str = "UPDATE tasks SET cost_usd = (SELECT SUM(cost_usd) FROM attempts WHERE task_id = $1) WHERE id = $1";

/// US dollars spent today and reserved by running tasks, by key.
const USED: &str = "SELECT key_name, SUM(usd) FROM
        (SELECT key_name, cost_usd AS usd FROM spending WHERE day = $1
        UNION ALL SELECT a.key_name, a.reserved_usd FROM tasks t JOIN attempts a ON a.task_id = t.id
            WHERE t.status = 'running' AND a.ended_at IS NULL AND a.reserved_usd IS NOT NULL) used
    GROUP BY key_name";

const DAYS: &str = "SELECT day, key_name, cost_usd, attempts, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens
    FROM spending WHERE day >= $1 AND day <= $2 AND ($3::text IS NULL OR key_name = $3) ORDER BY day, key_name";

const RESERVED: &str = "SELECT a.key_name, SUM(a.reserved_usd) FROM tasks t JOIN attempts a ON a.task_id = t.id
    WHERE t.status = 'running' AND a.ended_at IS NULL AND a.reserved_usd IS NOT NULL GROUP BY a.key_name";

/// Reads the spending by key and day.
pub async fn usage(db: &Connection, read: &ReadUsage) -> Result<Usage, StoreError> {
    let today = now(db).await?.day();
    let spent = "SELECT key_name, cost_usd FROM spending WHERE day = $1";
    Ok(Usage {
        days: db.readable(DAYS, &params![&read.from, &read.to, &read.key], "day of spending", day).await?,
        spent: db.readable(spent, &params![&today], "day of spending", pair).await?,
        reserved: db.readable(RESERVED, &[], "reservation", pair).await?,
        today,
    })
}

fn pair(row: &Row) -> Result<(String, Usd), Unread> {
    Ok((get(row, 0)?, get(row, 1)?))
}

fn day(row: &Row) -> Result<UsageDay, Unread> {
    Ok(UsageDay {
        day: get(row, 0)?,
        key: get(row, 1)?,
        cost_usd: get(row, 2)?,
        attempts: get(row, 3)?,
        tokens: Tokens {
            input: get(row, 4)?,
            output: get(row, 5)?,
            cache_read: get(row, 6)?,
            cache_write: get(row, 7)?,
        },
    })
}

#[async_trait(?Send)]
impl Money for PostgresTx<'_> {
    async fn add_spending(&mut self, day: &str, task: TaskId, cost: Usd, tokens: Tokens) -> Result<(), StoreError> {
        let Tokens { input, output, cache_read, cache_write } = tokens;
        self.defer(SPEND, params![day, task, cost, input, output, cache_read, cache_write]);
        Ok(())
    }

    async fn sum_cost(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.forget(&[task]);
        self.defer_of(task, SUM, params![task]);
        Ok(())
    }

    async fn used_budgets(&mut self, day: &str) -> Result<Vec<(String, Usd)>, StoreError> {
        self.all(USED, params![day], pair).await
    }
}
