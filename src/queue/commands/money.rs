//! Ledger of costs: by attempt, by task, by key and day. A cost counts once.

use super::Unit;
use crate::store::StoreError;
use crate::store::rows::TaskRow;
use domain::{LeaseKey, Spent};

/// Writes down what the attempt that ends has cost: nothing else can have done so. Adds it to the row.
pub async fn spend(unit: &mut Unit<'_>, row: &mut TaskRow, key: LeaseKey, spent: Spent) -> Result<(), StoreError> {
    if spent == Spent::NONE {
        return Ok(());
    }
    unit.tx.set_attempt_cost(key, spent, false).await?;
    // What was set aside is marked with the attempt, and counts in no sum.
    let Some(cost) = spent.cost_usd else { return Ok(()) };
    unit.tx.add_spending(&unit.now.day(), key.task, cost, spent.tokens).await?;
    row.cost_usd = Some(row.cost_usd.unwrap_or_default() + cost);
    Ok(())
}

/// Writes down what an attempt has cost, whether its report came in time or late. A cost that is
/// there is not changed.
pub async fn settle(unit: &mut Unit<'_>, key: LeaseKey, spent: Spent) -> Result<(), StoreError> {
    if spent.set_aside {
        unit.tx.mark_cost_set_aside(key).await?;
    }
    let Some(cost) = spent.cost_usd else { return Ok(()) };
    if !unit.tx.set_attempt_cost(key, spent, true).await? {
        return Ok(());
    }
    unit.tx.add_spending(&unit.now.day(), key.task, cost, spent.tokens).await?;
    unit.tx.sum_cost(key.task).await
}
