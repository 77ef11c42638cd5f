//! `/schedules`: tasks that are submitted by the clock.

use actix_web::web::{Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::Html;
use super::super::view::moment;
use crate::api::Shared;
use crate::process::wall_now;
use crate::queue::{ReadRuns, ReadSchedules, Schedule};
use domain::{Named as _, ScheduleId, Timetable};
use wire::KeyScope;

/// Firings to come, and past ones, of each.
const FIRINGS: usize = 3;
const RUNS: u64 = 8;

#[derive(Template)]
#[template(path = "schedules.html")]
struct Schedules {
    shell: Shell,
    schedules: Vec<Line>,
    /// The form, as far as it was filled in, and the firings that it means.
    cron: String,
    zone: String,
    preview: Option<Result<Vec<Html>, String>>,
}

struct Line {
    id: ScheduleId,
    name: String,
    cron: String,
    zone: String,
    title: String,
    enabled: bool,
    next: Vec<Html>,
    /// Sign and word of each, newest last; with the task, where there is one.
    runs: Vec<(&'static str, String, Option<String>)>,
    problem: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    cron: String,
    zone: String,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let mut schedules = Vec::new();
    for schedule in shared.queue.ask(ReadSchedules(visitor.caller.own())).await? {
        schedules.push(line(&shared, schedule).await?);
    }
    let Asked { cron, zone } = asked.into_inner();
    let zone = if zone.is_empty() { "UTC".to_owned() } else { zone };
    let preview = (!cron.is_empty()).then(|| firings(&cron, &zone, 5));
    let shell = Shell::new(&shared, &visitor, "/schedules", "Schedules").await?;
    Ok(page(&request, &visitor, &Schedules { shell, schedules, cron, zone, preview }))
}

fn firings(cron: &str, zone: &str, count: usize) -> Result<Vec<Html>, String> {
    let table = Timetable::read(cron, zone).map_err(|error| error.to_string())?;
    let all = std::iter::successors(table.next(wall_now()), |last| table.next(*last));
    Ok(all.take(count).map(moment).collect())
}

async fn line(shared: &Shared, schedule: Schedule) -> Result<Line, Turned> {
    let runs = shared.queue.ask(ReadRuns { schedule: schedule.id, limit: RUNS }).await?;
    let runs = runs.into_iter().rev().map(|run| match run.task {
        Some((task, Some(status))) => (status.sign(), status.name().to_owned(), Some(task.to_string())),
        Some((task, None)) => ("·", "removed".to_owned(), Some(task.to_string())),
        None => ("–", run.detail.unwrap_or_else(|| run.outcome.to_string()), None),
    });
    Ok(Line {
        next: if schedule.enabled {
            firings(&schedule.cron, &schedule.time_zone, FIRINGS).unwrap_or_default()
        } else {
            Vec::new()
        },
        id: schedule.id,
        title: schedule.spec.title(),
        name: schedule.name.unwrap_or_default(),
        cron: schedule.cron,
        zone: schedule.time_zone,
        enabled: schedule.enabled,
        runs: runs.collect(),
        problem: schedule.unreadable.unwrap_or_default(),
    })
}
