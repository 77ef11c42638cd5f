//! `/queue`: pause, concurrency, limits, what waits and why.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::{Chart, Html, chart};
use super::super::view::length;
use crate::api::Shared;
use crate::process::wall_now;
use crate::queue::{LimitUse, ReadBacklog, ReadLimits, ReadStats, WaitCause};
use crate::service::{Figure, Wanted, unmatched};
use domain::{Name, Named as _, Status};
use wire::KeyScope;

/// Minutes that the chart shows.
const MINUTES: i64 = 60;

#[derive(Template)]
#[template(path = "queue.html")]
struct Queue {
    shell: Shell,
    paused: bool,
    concurrency: u32,
    pending: i64,
    running: i64,
    oldest: String,
    /// What the pending tasks wait for, and how many do.
    waiting: Vec<(&'static str, i64)>,
    /// Labels that no worker has, and for how many tasks and how long they are missing.
    unmatched: Vec<(String, i64, String)>,
    parked: Vec<(String, String)>,
    limits: Vec<Limit>,
    chart: Html,
}

struct Limit {
    name: String,
    concurrency: String,
    rate: String,
    paused: bool,
    waiting: i64,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Admin)?;
    let (now, stats) = (wall_now(), shared.queue.ask(ReadStats(None)).await?);
    let backlog = shared.queue.ask(ReadBacklog).await?;
    let from = now.plus_ms(-(MINUTES - 1) * 60_000);
    let figures = vec![Figure::Started, Figure::Ended, Figure::Failed];
    let wanted = Wanted { figures, from, step: 1, pending: stats.count(Status::Pending) };
    let points = shared.figures.points(&shared.queue, &wanted).await?;
    let steps: Vec<String> =
        points.at.iter().map(|at| at.to_string().get(11..16).unwrap_or_default().to_owned()).collect();
    let series = |at: usize, name, class| Chart { name, class, values: &points.values[at] };
    let template = Queue {
        shell: Shell::new(&shared, &visitor, "/queue", "Queue").await?,
        paused: stats.paused,
        concurrency: stats.concurrency.unwrap_or(shared.concurrency),
        pending: stats.count(Status::Pending),
        running: stats.count(Status::Running),
        oldest: stats.oldest_pending.map(|at| length(now.since_ms(at))).unwrap_or_default(),
        waiting: backlog.waiting.iter().map(|(cause, count)| (wait(cause), *count)).collect(),
        unmatched: unmatched(&shared.queue, backlog.lanes)
            .await?
            .into_iter()
            .map(|one| (one.lane.replace(',', ", "), one.tasks, length(now.since_ms(one.oldest))))
            .collect(),
        parked: stats
            .parked
            .iter()
            .map(|parked| (parked.credential.clone(), format!("until {}: {}", parked.until, parked.message)))
            .collect(),
        limits: shared.queue.ask(ReadLimits).await?.iter().map(limit).collect(),
        chart: chart(
            "Started, ended and failed by the minute (UTC)",
            &steps,
            &[series(0, "started", "c0"), series(1, "ended", "c1"), series(2, "failed", "c2")],
        ),
    };
    Ok(page(&request, &visitor, &template))
}

/// What tasks wait for, in words.
const fn wait(cause: &Name<WaitCause>) -> &'static str {
    match cause {
        Name::Known(WaitCause::Due) => "a free slot",
        Name::Known(WaitCause::Answer) => "an answer",
        Name::Known(WaitCause::Time) => "their time",
        Name::Known(WaitCause::Directory) => "their folder",
        Name::Known(WaitCause::Budget) => "the money of the day",
        Name::Known(WaitCause::Paused) => "a group that is paused",
        Name::Known(WaitCause::Concurrency) => "others of their group to end",
        Name::Known(WaitCause::Rate) => "the pace of their group",
        Name::Known(WaitCause::Dependencies) => "tasks that they depend on",
        Name::Other(_) => "something that this version doesn't know",
    }
}

fn limit(used: &LimitUse) -> Limit {
    let rate = used.limit.rate.map(|rate| format!("{} in {}", rate.starts, length(rate.period_ms)));
    Limit {
        name: format!("{} {}", used.group.kind.name(), used.group.name),
        concurrency: used.limit.concurrency.map(|most| most.to_string()).unwrap_or_default(),
        rate: rate.unwrap_or_default(),
        paused: used.limit.paused,
        waiting: used.waiting,
    }
}
