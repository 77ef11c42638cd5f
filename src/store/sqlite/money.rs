//! Statements on what was spent.

use async_trait::async_trait;
use rusqlite::{Row, params};

use super::query::Db;
use super::tx::SqliteTx;
use crate::process::wall_now;
use crate::store::StoreError;
use crate::store::tx::Money;
use crate::store::views::{ReadUsage, Usage, UsageDay};
use domain::{TaskId, Tokens, Usd};

const SPEND: &str = "INSERT INTO spending
        (day, key_name, cost_usd, attempts, input_tokens, output_tokens, cache_read_tokens, cache_write_tokens)
    VALUES (?1, (SELECT key_name FROM tasks WHERE id = ?2), ?3, 1, ?4, ?5, ?6, ?7)
    ON CONFLICT (day, key_name) DO UPDATE SET cost_usd = cost_usd + excluded.cost_usd, attempts = attempts + 1,
        input_tokens = input_tokens + excluded.input_tokens, output_tokens = output_tokens + excluded.output_tokens,
        cache_read_tokens = cache_read_tokens + excluded.cache_read_tokens,
        cache_write_tokens = cache_write_tokens + excluded.cache_write_tokens";

const SUM: &str = "UPDATE tasks SET cost_usd = (SELECT SUM(cost_usd) FROM attempts WHERE task_id = ?1) WHERE id = ?1";

/// US dollars spent today and reserved by running tasks, by key.
const USED: &str = "SELECT key_name, SUM(usd) FROM
        (SELECT key_name, cost_usd AS usd FROM spending WHERE day = ?1
        UNION ALL SELECT key_name, reserved_usd FROM attempts WHERE ended_at IS NULL AND reserved_usd IS NOT NULL)
    GROUP BY key_name";

const DAYS: &str = "SELECT day, key_name, cost_usd, attempts, input_tokens, output_tokens, cache_read_tokens,
        cache_write_tokens
    FROM spending WHERE day >= ?1 AND day <= ?2 AND (?3 IS NULL OR key_name = ?3) ORDER BY day, key_name";

const RESERVED: &str = "SELECT key_name, SUM(reserved_usd) FROM attempts
    WHERE ended_at IS NULL AND reserved_usd IS NOT NULL GROUP BY key_name";

/// Reads the spending by key and day.
pub fn usage(db: Db<'_>, read: &ReadUsage) -> Result<Usage, StoreError> {
    let today = wall_now().day();
    let spent = "SELECT key_name, cost_usd FROM spending WHERE day = ?1";
    Ok(Usage {
        days: db.readable(DAYS, params![read.from, read.to, read.key], "day of spending", day)?,
        spent: db.readable(spent, [&today], "day of spending", pair)?,
        reserved: db.readable(RESERVED, [], "reservation", pair)?,
        today,
    })
}

fn pair(row: &Row<'_>) -> rusqlite::Result<(String, Usd)> {
    Ok((row.get(0)?, row.get(1).map(Usd::of)?))
}

fn day(row: &Row<'_>) -> rusqlite::Result<UsageDay> {
    Ok(UsageDay {
        day: row.get(0)?,
        key: row.get(1)?,
        cost_usd: row.get(2).map(Usd::of)?,
        attempts: row.get(3)?,
        tokens: Tokens { input: row.get(4)?, output: row.get(5)?, cache_read: row.get(6)?, cache_write: row.get(7)? },
    })
}

#[async_trait(?Send)]
impl Money for SqliteTx<'_> {
    async fn add_spending(&mut self, day: &str, task: TaskId, cost: Usd, tokens: Tokens) -> Result<(), StoreError> {
        let Tokens { input, output, cache_read, cache_write } = tokens;
        self.db()?
            .execute(SPEND, params![day, task.as_bytes(), cost.dollars(), input, output, cache_read, cache_write])?;
        Ok(())
    }

    async fn sum_cost(&mut self, task: TaskId) -> Result<(), StoreError> {
        self.db()?.execute(SUM, [task.as_bytes()])?;
        Ok(())
    }

    async fn used_budgets(&mut self, day: &str) -> Result<Vec<(String, Usd)>, StoreError> {
        self.db()?.all(USED, [day], pair)
    }
}
