//! `/usage`: what was spent, by day and key.

use std::collections::BTreeMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::{Chart, Html, chart};
use super::super::view::{Row, money};
use crate::api::Shared;
use crate::process::wall_now;
use crate::queue::{Filter, ListOrder, ListTasks, ReadUsage};
use crate::service;
use domain::Timestamp;
use wire::KeyScope;
use wire::response::{Left, Usage as Spending};

/// Days that are shown.
const DAYS: i64 = 30;
/// Tasks that are named.
const DEAREST: u64 = 10;

#[derive(Template)]
#[template(path = "usage.html")]
struct Usage {
    shell: Shell,
    total: String,
    budgets: Vec<(String, String, String, String)>,
    chart: Html,
    days: Vec<Day>,
    /// Tasks that have cost most.
    dearest: Vec<Row>,
}

struct Day {
    day: String,
    key: String,
    cost: String,
    attempts: i64,
    input: i64,
    cached: String,
    output: i64,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let now = wall_now();
    let from = now.plus_ms(-(DAYS - 1) * Timestamp::DAY_MS);
    let read = ReadUsage { from: from.day(), to: now.day(), key: None };
    let spending = service::usage(&shared, &visitor.caller, read).await?;
    let filter = Filter { since: Some(from), key: visitor.caller.own(), ..Filter::default() };
    let list = ListTasks { filter, limit: DEAREST, order: ListOrder::Cost, ..ListTasks::default() };
    let dearest = shared.queue.ask(list).await?.tasks;
    let days: Vec<String> = (0..DAYS).map(|day| from.plus_ms(day * Timestamp::DAY_MS).day()).collect();
    let template = Usage {
        shell: Shell::new(&shared, &visitor, "/usage", "Usage").await?,
        total: money(Some(spending.total_usd)),
        budgets: budgets(&spending),
        chart: costs(&spending, &days),
        dearest: dearest.iter().map(|task| Row::of(task, now)).collect(),
        days: spending.days.iter().rev().map(day).collect(),
    };
    Ok(page(&request, &visitor, &template))
}

fn budgets(spending: &Spending) -> Vec<(String, String, String, String)> {
    let line = |name: &str, left: &Left| {
        (name.to_owned(), money(Some(left.spent_usd)), money(Some(left.reserved_usd)), money(left.limit_usd))
    };
    let keys = spending.today.keys.iter().map(|(key, left)| line(key, left));
    std::iter::once(line("server", &spending.today.server)).chain(keys).collect()
}

fn costs(spending: &Spending, days: &[String]) -> Html {
    let mut sums: BTreeMap<&str, f64> = BTreeMap::new();
    for day in &spending.days {
        *sums.entry(&day.day).or_default() += day.cost_usd.dollars();
    }
    let values: Vec<Option<f64>> = days.iter().map(|day| Some(sums.get(&**day).copied().unwrap_or(0.0))).collect();
    chart("US dollars by day (UTC)", days, &[Chart { name: "US dollars", class: "c3", values: &values }])
}

fn day(of: &wire::response::UsageDay) -> Day {
    let tokens = of.tokens;
    let input = tokens.input + tokens.cache_read + tokens.cache_write;
    Day {
        day: of.day.clone(),
        key: of.key.clone(),
        cost: money(Some(of.cost_usd)),
        attempts: of.attempts,
        input,
        cached: if input > 0 { format!("{} %", 100 * tokens.cache_read / input) } else { String::new() },
        output: tokens.output,
    }
}
