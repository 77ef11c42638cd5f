//! Spending, and what is left of today's budgets.

use domain::Usd;
use wire::response::{Left, Today, Usage, UsageDay};

use super::Service;
use crate::queue::{self, QueueError, ReadUsage};

/// Reads what was spent.
///
/// # Errors
/// The queue's.
pub async fn usage(service: &Service, read: ReadUsage) -> Result<Usage, QueueError> {
    let queue::Usage { days, today, spent, reserved } = service.queue.ask(read).await?;
    let sum = |of: &[(String, Usd)], key: Option<&str>| -> Usd {
        of.iter().filter(|(name, _)| key.is_none_or(|key| key == name)).map(|(_, usd)| *usd).sum()
    };
    let left = |limit_usd: Option<Usd>, key: Option<&str>| {
        let (spent_usd, reserved_usd) = (sum(&spent, key), sum(&reserved, key));
        let left_usd = limit_usd.map(|limit| (limit - spent_usd - reserved_usd).max(Usd::ZERO));
        Left { limit_usd, spent_usd, reserved_usd, left_usd }
    };
    let names = spent.iter().chain(&reserved).map(|(name, _)| name);
    let keys = names.map(|name| (name.clone(), left(service.budgets.key, Some(name)))).collect();
    let total_usd = days.iter().map(|day| day.cost_usd).sum();
    let days = days.into_iter().map(|day| {
        let queue::UsageDay { day, key, cost_usd, attempts, tokens } = day;
        UsageDay { day, key, cost_usd, attempts, tokens }
    });
    let server = left(service.budgets.server, None);
    Ok(Usage { days: days.collect(), total_usd, today: Today { day: today, server, keys } })
}
