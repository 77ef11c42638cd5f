//! `/`: what waits for a person, what works, what waits, what has ended.

use actix_web::http::header::SET_COOKIE;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::{Chart, Html, chart};
use super::super::view::{Row, moment, money};
use super::cards::Card;
use crate::api::{Shared, cookie_named};
use crate::process::wall_now;
use crate::queue::{Filter, ListQuestions, ListTasks, ReadStats, ReadUsage};
use crate::service::{self, Figure, Wanted};
use domain::{Status, Timestamp, Usd};
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
    parked: Vec<(Html, String)>,
    ended: Vec<Row>,
    /// What has ended since the last visit.
    since: Option<Since>,
    completed: i64,
    failed: i64,
    cancelled: i64,
    /// What was spent today, of what.
    today: Option<String>,
    chart: Option<Html>,
    /// What is missing before a first task can run, and the cure.
    missing: Vec<(&'static str, String)>,
}

/// What has happened since somebody looked here last.
struct Since {
    looked: Html,
    ended: i64,
    failed: i64,
    cost: String,
}

/// Cookie of the last visit: its beginning, when the one before it ended, and its newest moment.
const LOOKED: &str = "cc_looked";
/// Time after which who comes back has looked elsewhere, in milliseconds.
const AWAY_MS: i64 = 300_000;

/// The end of the visit before this one, and the cookie that says so from now on.
fn visit(request: &HttpRequest, now: Timestamp) -> (Option<Timestamp>, String) {
    let named = cookie_named(request.headers(), LOOKED);
    let mut times = named.iter().flat_map(|times| times.split('.')).map(|time| time.parse::<i64>().ok());
    let (before, newest) = (times.next().flatten(), times.next().flatten());
    let before = match newest {
        Some(newest) if now.0.saturating_sub(newest) > AWAY_MS => Some(newest),
        Some(_) => before,
        None => None,
    };
    let before = before.filter(|before| (0..=now.0).contains(before)).map(Timestamp);
    (
        before,
        format!(
            "{LOOKED}={}.{}; Path=/; SameSite=Strict; HttpOnly; Max-Age=2592000",
            before.map_or(0, |at| at.0),
            now.0
        ),
    )
}

async fn since(
    shared: &Shared,
    visitor: &Visitor,
    looked: Option<Timestamp>,
    now: Timestamp,
) -> Result<Option<Since>, Turned> {
    // The figures are those of all keys, and of a day.
    let Some(looked) =
        looked.filter(|at| at.0 > 0 && visitor.caller.is_admin() && now.since_ms(*at) < Timestamp::DAY_MS)
    else {
        return Ok(None);
    };
    let figures = vec![Figure::Ended, Figure::Failed, Figure::Cost];
    let points = shared.figures.points(&shared.queue, &Wanted { figures, from: looked, step: 1, pending: 0 }).await?;
    let sum = |at: usize| points.values[at].iter().flatten().sum::<f64>();
    Ok(Some(Since {
        looked: moment(looked),
        ended: sum(0) as i64,
        failed: sum(1) as i64,
        cost: money(Some(Usd::of(sum(2)))),
    }))
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let (now, key) = (wall_now(), visitor.caller.own());
    let rows = async |statuses: &[Status], limit: u64| {
        let filter = Filter { statuses: statuses.to_vec(), key: key.clone(), ..Filter::default() };
        let page = shared.queue.ask(ListTasks { filter, limit, ..ListTasks::default() }).await?;
        Ok::<_, Turned>(page.tasks.iter().map(|task| Row::of(task, now)).collect::<Vec<_>>())
    };
    let (looked, cookie) = visit(&request, now);
    let stats = shared.queue.ask(ReadStats(key.clone())).await?;
    let open = shared.queue.ask(ListQuestions { key: key.clone(), after: None, limit: 3 }).await?;
    let card = |one: &crate::queue::OpenQuestion| Card::of(one.task.id, one.task.spec.title(), &one.question);
    let parked = stats.parked.iter().map(|parked| (moment(parked.until), parked.message.clone()));
    let template = Overview {
        questions: open.questions.iter().map(card).collect(),
        running: rows(&[Status::Running], 20).await?,
        pending: rows(&[Status::Pending], 5).await?,
        pending_count: stats.count(Status::Pending),
        paused: stats.paused,
        parked: parked.filter(|_| visitor.caller.is_admin()).collect(),
        ended: rows(&[Status::Completed, Status::Failed, Status::Cancelled], 10).await?,
        since: since(&shared, &visitor, looked, now).await?,
        completed: stats.count(Status::Completed),
        failed: stats.count(Status::Failed),
        cancelled: stats.count(Status::Cancelled),
        today: today(&shared, &visitor, now).await?,
        missing: if stats.counts.iter().sum::<i64>() == 0 { missing(&shared, &visitor).await } else { Vec::new() },
        chart: figures(&shared, &visitor, now, stats.count(Status::Pending)).await?,
        shell: Shell::new(&shared, &visitor, "/", "Overview").await?,
    };
    let mut response = page(&request, &visitor, &template);
    if let Ok(cookie) = cookie.parse() {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
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
