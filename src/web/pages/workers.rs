//! `/workers`: who works, since when, and on what.

use std::collections::HashMap;

use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, page};
use super::super::render::Html;
use super::super::view::moment;
use crate::api::{Shared, workers_overview};
use crate::config::Mode;
use crate::queue::{Filter, ListTasks};
use domain::Status;
use wire::KeyScope;
use wire::response::Worker;

/// Running tasks that are shown with their worker.
const TASKS: u64 = 100;

#[derive(Template)]
#[template(path = "workers.html")]
struct Workers {
    shell: Shell,
    is_managed: bool,
    is_inline: bool,
    can_crash: bool,
    complaint: String,
    workers: Vec<Line>,
}

struct Line {
    name: String,
    state: String,
    since: Html,
    restarts: u32,
    host: String,
    labels: String,
    version: String,
    slots: String,
    problem: String,
    /// Id and title of each task.
    tasks: Vec<(String, String)>,
}

pub async fn show(request: HttpRequest, visitor: Visitor, shared: Data<Shared>) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Admin)?;
    let filter = Filter { statuses: vec![Status::Running], ..Filter::default() };
    let running = shared.queue.ask(ListTasks { filter, limit: TASKS, ..ListTasks::default() }).await?.tasks;
    let mut tasks: HashMap<String, Vec<(String, String)>> = HashMap::new();
    for task in running {
        let of = tasks.entry(task.worker.clone().unwrap_or_default()).or_default();
        of.push((task.id.to_string(), task.spec.title()));
    }
    let overview = workers_overview(&shared).await?;
    let mode = shared.workers.mode();
    let template = Workers {
        shell: Shell::new(&shared, &visitor, "/workers", "Workers").await?,
        is_managed: mode == Mode::Managed,
        is_inline: mode == Mode::Inline,
        can_crash: mode == Mode::Managed && shared.server.crash_button,
        complaint: overview.complaint.unwrap_or_default(),
        workers: overview.workers.into_iter().map(|worker| line(worker, &mut tasks)).collect(),
    };
    Ok(page(&request, &visitor, &template))
}

fn line(worker: Worker, tasks: &mut HashMap<String, Vec<(String, String)>>) -> Line {
    let state = worker.state.map(|state| serde_json::json!(state).as_str().unwrap_or_default().to_owned());
    Line {
        state: state.unwrap_or_else(|| if worker.connected { "connected".to_owned() } else { "gone".to_owned() }),
        since: moment(worker.start_time),
        restarts: worker.restart_count,
        host: worker.host.unwrap_or_default(),
        labels: worker.labels.unwrap_or_default().join(" "),
        version: worker.version.unwrap_or_default(),
        slots: format!("{} of {}", worker.running, worker.concurrency),
        problem: worker.failing.unwrap_or_default(),
        tasks: tasks.remove(&worker.worker_id).unwrap_or_default(),
        name: worker.worker_id,
    }
}
