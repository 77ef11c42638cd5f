//! `/tasks/ID`: the conversation, the changes, the attempts, the request.

use std::collections::BTreeMap;

use actix_web::http::header::LOCATION;
use actix_web::web::{Data, Path, Query};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use serde::Deserialize;
use serde_json::json;

use super::super::door::{Turned, Visitor};
use super::super::page::{Shell, fragment, page};
use super::super::render::{Block, Conversation, Html, Show, Span, markdown, patch, time_line};
use super::super::view::{Row, length, moment, money};
use super::Tab;
use super::agent::{of_agent, place_in_agent};
use super::cards::Card;
use super::graph::{Neighbours, Side, neighbours};
use super::race::Lanes;
use crate::api::{Shared, artifact_view, find_task, race_of, worker_capacity};
use crate::process::wall_now;
use crate::queue::{Delivery, Filter, ListTasks, PagePlace, ReadArtifacts, ReadDeliveries, ReadEventPage, ReadPatch};
use crate::service;
use domain::{AttemptOutcome, Event, EventKind, Hold, Name, Named as _, Status, Timestamp, Verification};
use strum::VariantArray as _;
use wire::response::{ArtifactView, Forecast, PromiseState, TaskProof, TaskView};
use wire::{Attempt, KeyScope, Task};

/// Events of a page, and of each older part of it.
const EVENTS: u64 = 100;
/// Bytes of their data.
const BYTES: u64 = 1 << 20;

/// Files that are listed.
const MAX_FILES: i64 = 200;

/// Parts of the page: name in the address, and for people.
const PARTS: [(&str, &str); 9] = [
    ("", "Conversation"),
    ("changes", "Changes"),
    ("files", "Files"),
    ("attempts", "Attempts"),
    ("dependencies", "Dependencies"),
    ("race", "Race"),
    ("proof", "Proof"),
    ("deliveries", "Deliveries"),
    ("details", "Details"),
];

#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Asked {
    part: String,
    before: Option<i64>,
    /// An event that is to be among those that are shown.
    event: Option<i64>,
    show: String,
    /// The call of a sub-agent whose conversation is shown, and an event before it.
    agent: Option<String>,
    from: Option<i64>,
}

/// What all parts of the page have.
pub(super) struct Head {
    pub shell: Shell,
    pub task: Row,
    pub estimated: bool,
    pub facts: Vec<String>,
    pub tabs: Vec<Tab>,
}

#[derive(Template)]
#[template(path = "task_talk.html")]
struct Talk {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    result: Option<Html>,
    reasons: Vec<(String, String)>,
    position: Option<i64>,
    /// When it starts, how long it takes and what it costs, as far as others tell.
    forecast: Option<Html>,
    shows: Vec<Tab>,
    show: &'static str,
    /// The instruction, where the page has the beginning.
    asked: Option<(Html, String)>,
    blocks: Vec<Block>,
    first: i64,
    last: i64,
    more: bool,
    newer: bool,
    questions: Vec<Card>,
}

#[derive(Template)]
#[template(path = "task_changes.html")]
struct Changes {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    patch: Option<Html>,
    branch: String,
    /// True if the visitor may say something about them.
    may_say: bool,
}

#[derive(Template)]
#[template(path = "task_files.html")]
struct Files {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    files: Vec<ArtifactView>,
    more: bool,
    /// Patterns of the files that it was asked to leave.
    wanted: String,
}

#[derive(Template)]
#[template(path = "task_attempts.html")]
struct Attempts {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    attempts: Vec<AttemptRow>,
    /// The attempts, to scale.
    line: Html,
}

struct AttemptRow {
    number: i32,
    worker: String,
    started: Html,
    took: String,
    outcome: String,
    cost: String,
    tokens: String,
    error: String,
}

#[derive(Template)]
#[template(path = "task_graph.html")]
struct Graph {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    picture: Html,
    sides: Vec<Side>,
    more: bool,
    /// True if it waits for others.
    waits: bool,
    /// True if the visitor may let it start.
    may_change: bool,
}

#[derive(Template)]
#[template(path = "task_agent.html")]
struct Agent {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    blocks: Vec<Block>,
    /// True if there is more of it.
    is_cut: bool,
}

#[derive(Template)]
#[template(path = "task_deliveries.html")]
struct Deliveries {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    deliveries: Vec<DeliveryRow>,
}

struct DeliveryRow {
    created: Html,
    event: String,
    url: String,
    state: String,
    attempts: i32,
    answer: String,
}

#[derive(Template)]
#[template(path = "task_proof.html")]
struct Proof {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    ok: bool,
    promises: Vec<PromiseState>,
    /// Time, number of the commit, name, words.
    steps: Vec<(Html, String, String, String)>,
}

#[derive(Template)]
#[template(path = "task_details.html")]
struct Details {
    shell: Shell,
    task: Row,
    estimated: bool,
    facts: Vec<String>,
    tabs: Vec<Tab>,
    trace: Option<String>,
    instruction: String,
    json: String,
    command: String,
    curl: String,
}

pub async fn show(
    request: HttpRequest,
    visitor: Visitor,
    id: Path<String>,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let task = find_task(&shared, &visitor.caller, &id).await?;
    let head = head(&shared, &visitor, &task, &asked.part).await?;
    if asked.part == "race"
        && let Some(race) = race_of(&shared, task.id).await?
    {
        let may_change = visitor.caller.may(KeyScope::Submit);
        return Ok(page(&request, &visitor, &Lanes::of(head, task.id, &race, may_change)));
    }
    let Head { shell, task: row, estimated, facts, tabs } = head;
    Ok(match &*asked.part {
        "changes" => {
            let found = shared.queue.ask(ReadPatch(task.id)).await?;
            let text = found.as_deref().map(String::from_utf8_lossy);
            let branch = task.changes.as_ref().and_then(|changes| changes["branch"].as_str()).unwrap_or_default();
            let (patch, branch) = (text.map(|text| patch(&text)), branch.to_owned());
            let may_say = visitor.caller.may(KeyScope::Submit);
            page(&request, &visitor, &Changes { shell, task: row, estimated, facts, tabs, patch, branch, may_say })
        }
        "files" => {
            let read = ReadArtifacts { task: task.id, after: String::new(), limit: MAX_FILES + 1 };
            let mut files = shared.queue.ask(read).await?;
            let more = files.len() as i64 > MAX_FILES;
            files.truncate(usize::try_from(MAX_FILES).unwrap_or_default());
            let files = files.into_iter().map(|one| artifact_view(task.id, one)).collect();
            let wanted = task.spec.artifacts.join(", ");
            page(&request, &visitor, &Files { shell, task: row, estimated, facts, tabs, files, more, wanted })
        }
        "attempts" => {
            let (attempts, line) = (task.attempts.iter().flatten().map(attempt).collect(), attempts_line(&task));
            page(&request, &visitor, &Attempts { shell, task: row, estimated, facts, tabs, attempts, line })
        }
        "dependencies" => {
            let Neighbours { picture, sides, more } = neighbours(&shared, &visitor, &task).await?;
            let waits = task.held.as_deref() == Some(Hold::DEPENDENCIES);
            let may_change = visitor.caller.may(KeyScope::Submit);
            let graph = Graph { shell, task: row, estimated, facts, tabs, picture, sides, more, waits, may_change };
            page(&request, &visitor, &graph)
        }
        "proof" => {
            let TaskProof { ok, steps, promises, .. } =
                service::prove_task(&shared.queue, &shared.data_dir, &task).await?;
            let steps = steps.into_iter().map(|step| {
                let commit = step.commit.map(|commit| commit.to_string()).unwrap_or_default();
                (moment(step.at), commit, step.what, step.text)
            });
            let steps = steps.collect();
            page(&request, &visitor, &Proof { shell, task: row, estimated, facts, tabs, ok, promises, steps })
        }
        "deliveries" => {
            let deliveries = shared.queue.ask(ReadDeliveries(task.id)).await?.into_iter().map(delivery).collect();
            page(&request, &visitor, &Deliveries { shell, task: row, estimated, facts, tabs, deliveries })
        }
        "details" => {
            let view = json!(TaskView::of(&task));
            let asked_for = json!({ "instruction": view["instruction"], "context": view["context"], "options": view["options"],
                "priority": view["priority"], "tags": view["tags"], "concurrencyKey": view["concurrencyKey"], "artifacts": view["artifacts"], "verify": view["verify"] });
            let json = serde_json::to_string_pretty(&asked_for).unwrap_or_default();
            let command = format!("cc-anywhere submit {}", quoted(&task.spec.instruction));
            let instruction = task.spec.instruction.clone();
            let info = request.connection_info();
            let curl = format!(
                "curl '{}://{}/api/tasks' -H \"X-API-Key: $KEY\" -H 'Content-Type: application/json' -d {}",
                info.scheme(),
                info.host().replace('\'', ""),
                quoted(&asked_for.to_string())
            );
            let trace = task.trace_parent.map(|place| place.trace_id());
            let details = Details { shell, task: row, estimated, facts, tabs, trace, instruction, json, command, curl };
            page(&request, &visitor, &details)
        }
        _ if asked.agent.is_some() => {
            let call = asked.agent.as_deref().unwrap_or_default();
            let (blocks, is_cut) = of_agent(&shared, task.id, call, asked.from.unwrap_or(0)).await?;
            page(&request, &visitor, &Agent { shell, task: row, estimated, facts, tabs, blocks, is_cut })
        }
        _ => {
            if let Some(place) = place_in_agent(&shared, task.id, asked.event).await? {
                return Ok(HttpResponse::SeeOther().insert_header((LOCATION, place)).finish());
            }
            let show = Show::from_name(&asked.show).unwrap_or_default();
            let before = asked.before.or(asked.event.map(|event| event.saturating_add(EVENTS as i64 / 2)));
            let events = events(&shared, &task, before, show).await?;
            let explained = if task.status == Status::Pending {
                service::explain(&shared, &visitor.caller, task.id, worker_capacity(&shared).await?).await?
            } else {
                None
            };
            let open = service::questions(&shared, task.id).await?;
            let open = open.iter().filter(|question| question.answer.is_none());
            let template = Talk {
                questions: open.map(|question| Card::of(task.id, task.spec.title(), question)).collect(),
                result: result(&task),
                position: explained.as_ref().and_then(|explained| explained.position),
                forecast: explained.as_ref().and_then(|explained| explained.forecast.as_ref()).map(expected),
                reasons: explained
                    .into_iter()
                    .flat_map(|explained| explained.reasons)
                    .map(|reason| (reason.code.into_owned(), reason.message))
                    .collect(),
                shows: shows(show),
                show: show.name(),
                asked: (!events.more).then(|| (moment(task.created_at), instruction(&task))),
                blocks: events.blocks,
                first: events.first,
                last: events.last,
                more: events.more,
                newer: before.is_some(),
                shell,
                task: row,
                estimated,
                facts,
                tabs,
            };
            page(&request, &visitor, &template)
        }
    })
}

/// Older events, for a script.
pub async fn older(
    visitor: Visitor,
    id: Path<String>,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let task = find_task(&shared, &visitor.caller, &id).await?;
    let show = Show::from_name(&asked.show).unwrap_or_default();
    let events = events(&shared, &task, asked.before, show).await?;
    let mut html = Html::new();
    html.raw("<section class=\"part\" data-first=\"").number(events.first).raw("\" data-before=\"");
    html.number(asked.before.unwrap_or(i64::MAX)).raw("\" data-more=\"").raw(if events.more {
        "true"
    } else {
        "false"
    });
    html.raw("\">");
    events.blocks.iter().for_each(|block| _ = html.add(&block.html));
    html.raw("</section>");
    Ok(fragment(&html))
}

/// Events as blocks.
struct Events {
    blocks: Vec<Block>,
    first: i64,
    last: i64,
    more: bool,
}

async fn events(shared: &Shared, task: &Task, before: Option<i64>, show: Show) -> Result<Events, Turned> {
    let place = PagePlace::Before(before.unwrap_or(i64::MAX));
    let read = ReadEventPage { task: task.id, place, kinds: kinds(show), limit: EVENTS, bytes: BYTES };
    let page = shared.queue.ask(read).await?;
    Ok(Events {
        first: page.events.first().map_or(1, |event| event.seq),
        last: page.events.last().map_or(0, |event| event.seq),
        more: page.more,
        blocks: blocks(&page.events, Conversation::new(show)),
    })
}

/// Kinds of events that a filter may show; none: all.
fn kinds(show: Show) -> Vec<EventKind> {
    match show {
        Show::All => Vec::new(),
        Show::Words => vec![EventKind::Assistant, EventKind::Message, EventKind::Permission, EventKind::Result],
        Show::Tools | Show::Files => vec![EventKind::ToolUse, EventKind::ToolResult],
        Show::Failures => {
            vec![EventKind::ToolUse, EventKind::ToolResult, EventKind::Status, EventKind::Retry, EventKind::Result]
        }
    }
}

/// The blocks of some events in order; one that comes again takes the place of the first.
pub fn blocks(events: &[Event], mut conversation: Conversation) -> Vec<Block> {
    let mut blocks: BTreeMap<i64, Block> = BTreeMap::new();
    for block in events.iter().flat_map(|event| conversation.add(event)) {
        blocks.insert(block.seq, block);
    }
    blocks.into_values().collect()
}

async fn head(shared: &Shared, visitor: &Visitor, task: &Task, part: &str) -> Result<Head, Turned> {
    let mut shell = Shell::new(shared, visitor, "/tasks", task.spec.title()).await?;
    shell.live = format!("/web/live?task={}", task.id);
    let sdk = &task.spec.options.sdk;
    let tokens: i64 = task.attempts.iter().flatten().map(|attempt| attempt.spent.tokens.output).sum();
    let facts = [
        task.working_directory.clone(),
        sdk.model.clone(),
        sdk.permission_mode.map(|mode| json!(mode).as_str().unwrap_or_default().to_owned()),
        Some(task.spec.tags.join(" ")),
        (tokens > 0).then(|| format!("{tokens} tokens out")),
        (task.key != crate::config::DEFAULT_KEY).then(|| task.key.clone()),
    ];
    let to = |name: &str| if name.is_empty() { String::new() } else { format!("?part={name}") };
    let parts = PARTS.iter().filter(|(name, _)| *name != "race" || task.spec.race.is_some());
    let tabs = parts.map(|(name, title)| Tab { name: title, query: to(name), here: *name == part });
    let below = Filter { parent: Some(task.id), ..Filter::default() };
    let below = shared.queue.ask(ListTasks { filter: below, limit: 1, ..ListTasks::default() }).await?;
    Ok(Head {
        shell,
        task: Row { children: below.total, ..Row::of(task, wall_now()) },
        estimated: task.cost_so_far.is_some(),
        facts: facts.into_iter().flatten().filter(|fact| !fact.is_empty()).collect(),
        tabs: tabs.collect(),
    })
}

fn shows(now: Show) -> Vec<Tab> {
    let tab = |show: &Show| Tab { name: show.name(), query: format!("?show={}", show.name()), here: *show == now };
    Show::VARIANTS.iter().map(tab).collect()
}

/// The instruction, as far as a page has room for it.
fn instruction(task: &Task) -> String {
    task.spec.instruction.chars().take(20_000).collect()
}

/// The result of a task that has ended, or why it failed.
pub fn result(task: &Task) -> Option<Html> {
    if !task.status.is_terminal() {
        return None;
    }
    let mut html = Html::new();
    if let Some(error) = task.attempted.error.as_ref().filter(|_| task.status != Status::Completed) {
        html.raw("<p class=\"bad\"><strong>").text(&error.code).raw("</strong> ").text(&error.message).raw("</p>");
    }
    if let Some(text) = &task.attempted.result {
        html.add(&markdown(text));
    }
    if let Some(verification) = &task.remarks.verification {
        html.add(&checks(verification));
    }
    (!html.is_empty()).then_some(html)
}

/// The checks of its work, round by round.
fn checks(verification: &Verification) -> Html {
    let mut html = Html::new();
    let state = if verification.passed { "Checked: it has passed" } else { "Checked: it has not passed" };
    html.raw("<details><summary>").text(state).raw("</summary><ol>");
    for round in &verification.rounds {
        let failures = if round.passed() { "Passed".to_owned() } else { round.failures.join("; ") };
        html.raw("<li>").text(&failures).text(&format!(" ({})", length(round.duration_ms)));
        if !round.output.is_empty() {
            html.raw("<pre tabindex=\"0\">").text(&round.output).raw("</pre>");
        }
        html.raw("</li>");
    }
    html.raw("</ol></details>");
    html
}

fn attempt(attempt: &Attempt) -> AttemptRow {
    let end: Option<Timestamp> = attempt.ended_at;
    let error = attempt.error.as_ref().map(|error| format!("{} ({}): {}", error.code, error.class, error.message));
    let tokens = attempt.spent.tokens;
    AttemptRow {
        number: attempt.number,
        worker: attempt.worker.clone().unwrap_or_default(),
        started: moment(attempt.started_at),
        took: length(end.unwrap_or_else(wall_now).since_ms(attempt.started_at)),
        outcome: attempt.outcome.as_ref().map_or_else(|| "running".to_owned(), ToString::to_string),
        cost: money(attempt.spent.cost_usd),
        tokens: format!("{} / {}", tokens.input + tokens.cache_read + tokens.cache_write, tokens.output),
        error: error.unwrap_or_default(),
    }
}

/// What a task may expect, in words.
fn expected(forecast: &Forecast) -> Html {
    let mut html = Html::new();
    if let Some(at) = forecast.starts_at {
        html.raw("Starts about ");
        html.add(&moment(at));
        html.raw(", takes ");
    } else {
        html.raw("Takes ");
    }
    let (duration, cost) = (forecast.duration_ms, forecast.cost_usd);
    html.text(&format!("{} to {}", length(duration.median), length(duration.most)));
    if let Some(cost) = cost {
        html.text(&format!(", costs {} to {}", money(Some(cost.median)), money(Some(cost.most))));
    }
    html.text(&format!(", as {} tasks did that are like it ({})", forecast.based_on, forecast.like));
    html
}

/// The attempts to scale, with the waits between them.
fn attempts_line(task: &Task) -> Html {
    let spans = task.attempts.iter().flatten().map(|attempt| {
        let class = match attempt.outcome.as_ref().and_then(Name::known) {
            None => "c0",
            Some(AttemptOutcome::Completed) => "c1",
            Some(AttemptOutcome::Failed | AttemptOutcome::Crashed) => "c2",
            Some(AttemptOutcome::Released | AttemptOutcome::Cancelled) => "c3",
        };
        Span { from: attempt.started_at.0, to: attempt.ended_at.unwrap_or_else(wall_now).0, class }
    });
    time_line(&spans.collect::<Vec<_>>())
}

fn delivery(one: Delivery) -> DeliveryRow {
    let status = one.last_status.map(|status| status.to_string());
    DeliveryRow {
        created: moment(one.created_at),
        event: one.event.name().to_owned(),
        url: one.url,
        state: one.state.name().to_owned(),
        attempts: one.attempts,
        answer: one.last_error.or(status).unwrap_or_default(),
    }
}

/// A text as one word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}
