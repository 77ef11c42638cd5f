//! `/`: what waits for a person, what works, what waits, what has ended.

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::{Chart, Html, chart};
use super::super::view::{Row, money};
use super::cards::Card;
use crate::api::Shared;
use crate::process::wall_now;
use crate::queue::{Filter, ListQuestions, ListTasks, ReadStats, ReadUsage};
use crate::service::{self, Figure, Wanted};
use domain::{Status, Timestamp};
use wire::KeyScope;

/// Minutes of a bar of the chart, and bars of it.
const STEP: i64 = 10;
const BARS: i64 = 36;

#[derive(Template)]
#[template(path = "overview.html")]
struct Overview {
    shell: Shell,
    questions: Vec<Card>,
    running: Vec<Row>,
    pending: Vec<Row>,
    pending_count: i64,
    paused: bool,
    parked: Vec<String>,
    ended: Vec<Row>,
    completed: i64,
    failed: i64,
    cancelled: i64,
    /// What was spent today, of what.
    today: Option<String>,
    chart: Option<Html>,
    /// What is missing before a first task can run, and the cure.
    missing: Vec<(&'static str, String)>,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let (now, key) = (wall_now(), visitor.caller.own());
    let rows = async |statuses: &[Status], limit: u64| {
        let filter = Filter { statuses: statuses.to_vec(), key: key.clone(), ..Filter::default() };
        let page = shared.queue.ask(ListTasks { filter, limit, offset: 0, before: None }).await?;
        Ok::<_, Turned>(page.tasks.iter().map(|task| Row::of(task, now)).collect::<Vec<_>>())
    };
    let stats = shared.queue.ask(ReadStats(key.clone())).await?;
    let open = shared.queue.ask(ListQuestions { key: key.clone(), after: None, limit: 3 }).await?;
    let card = |one: &crate::queue::OpenQuestion| Card::of(one.task.id, one.task.spec.title(), &one.question);
    let parked = stats.parked.iter().map(|parked| format!("Parked until {}: {}", parked.until, parked.message));
    let template = Overview {
        questions: open.questions.iter().map(card).collect(),
        running: rows(&[Status::Running], 20).await?,
        pending: rows(&[Status::Pending], 5).await?,
        pending_count: stats.count(Status::Pending),
        paused: stats.paused,
        parked: parked.filter(|_| visitor.caller.is_admin()).collect(),
        ended: rows(&[Status::Completed, Status::Failed, Status::Cancelled], 10).await?,
        completed: stats.count(Status::Completed),
        failed: stats.count(Status::Failed),
        cancelled: stats.count(Status::Cancelled),
        today: today(&shared, &visitor, now).await?,
        missing: if stats.counts.iter().sum::<i64>() == 0 { missing(&shared, &visitor).await } else { Vec::new() },
        chart: figures(&shared, &visitor, now, stats.count(Status::Pending)).await?,
        shell: Shell::new(&shared, &visitor, "/", "Overview").await?,
    };
    Ok(page(&request, &visitor, &template))
}

/// What is wrong with this machine, for those who can mend it.
async fn missing(shared: &Shared, visitor: &Visitor) -> Vec<(&'static str, String)> {
    if !visitor.caller.is_admin() || !shared.workers.are_local() {
        return Vec::new();
    }
    let findings = shared.doctor.findings().await.into_iter();
    findings.filter_map(|finding| Some((finding.what, finding.result.err()?))).collect()
}

async fn today(shared: &Shared, visitor: &Visitor, now: Timestamp) -> Result<Option<String>, Turned> {
    let read = ReadUsage { from: now.day(), to: now.day(), key: None };
    let today = service::usage(shared, &visitor.caller, read).await?.today.server;
    let spent = money(Some(today.spent_usd));
    Ok(Some(match today.limit_usd {
        Some(limit) => format!("{spent} of {}", money(Some(limit))),
        None => spent,
    }))
}

async fn figures(shared: &Shared, visitor: &Visitor, now: Timestamp, pending: i64) -> Result<Option<Html>, Turned> {
    if !visitor.caller.is_admin() {
        return Ok(None);
    }
    let from = now.plus_ms(-(BARS - 1) * STEP * 60_000);
    let wanted = Wanted { figures: vec![Figure::Started, Figure::Ended, Figure::Failed], from, step: STEP, pending };
    let points = shared.figures.points(&shared.queue, &wanted).await?;
    let steps: Vec<String> =
        points.at.iter().map(|at| at.to_string().get(11..16).unwrap_or_default().to_owned()).collect();
    let series = |at: usize, name, class| Chart { name, class, values: &points.values[at] };
    let series = [series(0, "started", "c0"), series(1, "ended", "c1"), series(2, "failed", "c2")];
    Ok(Some(chart("Started, ended and failed, every ten minutes (UTC)", &steps, &series)))
}
