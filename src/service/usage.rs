//! Spending, and what is left of today's budgets.

use std::collections::{BTreeMap, BTreeSet};

use domain::Usd;
use wire::response::{Left, Today, Usage, UsageDay};

use super::{Caller, Service};
use crate::queue::{self, QueueError, ReadUsage};

/// Reads what was spent: by all keys, or by the caller's, whose own figures then stand for the server's as well.
///
/// # Errors
/// The queue's.
pub async fn usage(service: &Service, caller: &Caller, read: ReadUsage) -> Result<Usage, QueueError> {
    let read = ReadUsage { key: caller.own().or(read.key), ..read };
    let queue::Usage { days, today, mut spent, mut reserved } = service.queue.ask(read).await?;
    spent.retain(|(name, _)| caller.sees(name));
    reserved.retain(|(name, _)| caller.sees(name));
    let sum = |of: &[(String, Usd)], key: Option<&str>| -> Usd {
        of.iter().filter(|(name, _)| key.is_none_or(|key| key == name)).map(|(_, usd)| *usd).sum()
    };
    let left = |limit_usd: Option<Usd>, key: Option<&str>| {
        let (spent_usd, reserved_usd) = (sum(&spent, key), sum(&reserved, key));
        let left_usd = limit_usd.map(|limit| (limit - spent_usd - reserved_usd).max(Usd::ZERO));
        Left { limit_usd, spent_usd, reserved_usd, left_usd }
    };
    let names: BTreeSet<&String> = spent.iter().chain(&reserved).map(|(name, _)| name).collect();
    let mut keys = BTreeMap::new();
    for name in names {
        let own = service.keys.named(name).await?.ok().and_then(|key| key.limits().daily_budget_usd);
        keys.insert(name.clone(), left(own.or(service.budgets.key), Some(name)));
    }
    let total_usd = days.iter().map(|day| day.cost_usd).sum();
    let days = days.into_iter().map(|day| {
        let queue::UsageDay { day, key, cost_usd, attempts, tokens } = day;
        UsageDay { day, key, cost_usd, attempts, tokens }
    });
    let own = caller.limits().daily_budget_usd.or(service.budgets.key);
    let server = left(if caller.is_admin() { service.budgets.server } else { own }, None);
    Ok(Usage { days: days.collect(), total_usd, today: Today { day: today, server, keys } })
}
