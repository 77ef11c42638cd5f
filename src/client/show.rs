//! `cc-anywhere show`: a task as a page.

use console::style;
use domain::{DependencyState, Name, Named as _, Status, Timestamp, Usd};
use wire::Dependency;
use wire::response::AttemptView;

use super::print::Task;
use super::table::{self, Cell, Column, number, text, whole};
use super::words::{ago, colour, folder, length, short};
use crate::process::wall_now;

/// Tasks that are named of those that it depends on.
const MAX_AFTER: usize = 8;

const ATTEMPTS: &[Column] =
    &[number("#"), whole("OUTCOME"), text("WORKER", 8), whole("BEGAN"), whole("TOOK"), number("COST"), text("WHY", 16)];

/// Prints a task, whole.
pub fn show(task: &Task) {
    let now = wall_now();
    let state = (colour(task.status))(format!("{} {}", task.status.sign(), task.status));
    println!("{state}  {}", style(&task.title).bold());
    println!("{}", style(task.task_id).dim());
    println!();
    for (name, value) in facts(task, now) {
        println!("{:>9}  {value}", style(name).dim());
    }
    let attempts = task.attempts.as_deref().unwrap_or_default();
    if attempts.len() > 1 || (attempts.len() == 1 && task.status != Status::Completed) {
        println!();
        table::print(ATTEMPTS, &attempts.iter().map(|one| attempt(one, now)).collect::<Vec<_>>());
    }
    if let Some(error) = task.error.as_ref().filter(|error| task.result.as_deref() != Some(&*error.message)) {
        println!("\n{} {}", style(&error.code).red(), error.message);
    }
    if table::is_for_people() {
        let steps = next(task);
        println!("\n{}", style("Next").bold());
        let widest = steps.iter().map(|(command, _)| command.chars().count()).max().unwrap_or_default();
        steps.iter().for_each(|(command, why)| println!("  {command:widest$}  {}", style(why).dim()));
    }
    if let Some(result) = &task.result {
        println!("\n{result}");
    }
}

/// What is known of it, as names and values.
fn facts(task: &Task, now: Timestamp) -> Vec<(&'static str, String)> {
    let at = |at: Timestamp| format!("{} ({at})", ago(at, now));
    let list = |values: &[String]| (!values.is_empty()).then(|| values.join(", "));
    let ran = task.started_at.map(|from| {
        let took = length(task.completed_at.unwrap_or(now).since_ms(from));
        let on = task.worker_id.as_deref().map(|worker| format!(" on {worker}")).unwrap_or_default();
        format!("{took}{on}, begun {}", at(from))
    });
    let cost = task.cost_so_far.or(task.cost_usd).map(|cost| {
        let about = if task.cost_estimated { "about " } else { "" };
        let turns = task.num_turns.map(|turns| format!(", {turns} turns")).unwrap_or_default();
        format!("{about}{}{turns}", cost.shown())
    });
    let attempt = format!("{} of at most {}", task.attempt, task.max_attempts);
    let changes = task.changes.as_deref().map(|changes| {
        let count = |name: &str| changes[name].as_i64().unwrap_or_default();
        let files = changes["files"].as_array().map_or_else(|| count("files"), |files| files.len() as i64);
        let branch = changes["branch"].as_str().map(|branch| format!(" on {branch}")).unwrap_or_default();
        format!("{files} files, +{} −{}{branch}", count("additions"), count("deletions"))
    });
    let doing = task.activity.as_ref().map(|activity| activity.line.clone());
    let depends_on = task.depends_on.as_deref().unwrap_or_default();
    let waits = task.status == Status::Pending && depends_on.iter().any(|one| one.state == DependencyState::Open);
    let after = |one: &Dependency| {
        let status = one.status.map_or("gone", Status::name);
        format!("{} ({status})", one.name.clone().unwrap_or_else(|| short(one.task)))
    };
    let after: Vec<String> = depends_on.iter().take(MAX_AFTER).map(after).collect();
    let all = [
        ("folder", task.working_directory.as_deref().map(folder)),
        ("asked", Some(at(task.created_at))),
        ("due", task.due_at.filter(|_| !waits).map(at)),
        ("after", (!after.is_empty()).then(|| after.join(", "))),
        ("ran", ran),
        ("ended", task.completed_at.map(at)),
        ("attempt", (task.attempt > 1 || task.status == Status::Pending).then_some(attempt)),
        ("cost", cost),
        ("model", task.options.sdk.model.clone()),
        ("changes", changes),
        ("session", task.sdk_session_id.map(|session| session.to_string())),
        ("trace", task.trace_id.clone()),
        ("tags", list(&task.tags)),
        ("requires", list(&task.requires)),
        ("checked", checked(task)),
        ("keeps", list(&task.artifacts)),
        ("secrets", list(&task.secrets.iter().map(|one| one.name.clone()).collect::<Vec<_>>())),
        ("waits for", task.waiting_for.as_deref().map(ToString::to_string)),
        ("does", doing),
        ("loops", task.looping.as_deref().map(ToString::to_string)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// What the check of its work has come to, or that there is one.
fn checked(task: &Task) -> Option<String> {
    let verify = task.verify.as_ref()?;
    let asked =
        verify.command.as_deref().map(|command| format!(" by `{}`", command.lines().next().unwrap_or_default()));
    let Some(verification) = &task.verification else {
        return Some(format!("at its end{}", asked.unwrap_or_default()));
    };
    let times = verification.rounds.len();
    let last = verification.rounds.last().map(|round| round.failures.join("; ")).unwrap_or_default();
    Some(match verification.passed {
        true => format!("passed, at check {times}"),
        false => format!("not passed in {times} checks: {last}"),
    })
}

fn attempt(one: &AttemptView<'static>, now: Timestamp) -> Vec<Cell> {
    let outcome = one.outcome.as_ref().map_or("running", Name::name);
    let status = Status::from_name(outcome).unwrap_or(Status::Failed);
    let why =
        one.error.as_ref().map(|error| format!("{}: {}", error.code, error.message.lines().next().unwrap_or_default()));
    vec![
        one.number.to_string().into(),
        Cell::styled(outcome, colour(status)),
        one.worker_id.as_deref().unwrap_or("-").into(),
        ago(one.started_at, now).into(),
        length(one.ended_at.unwrap_or(now).since_ms(one.started_at)).into(),
        one.cost_usd.map(Usd::shown).unwrap_or_default().into(),
        why.unwrap_or_default().into(),
    ]
}

/// Commands that help now, and what they do.
fn next(task: &Task) -> Vec<(String, &'static str)> {
    let id = short(task.task_id);
    let command = |verb: &str| format!("cc-anywhere {verb} {id}");
    let mut steps = match task.status {
        Status::Pending | Status::Running if task.waiting_for.is_some() => {
            vec![
                (command("approve"), "allow what it asks for"),
                (format!("cc-anywhere approve {id} --deny"), "refuse it"),
            ]
        }
        Status::Pending => vec![(command("explain"), "why it waits"), (command("cancel"), "call it off")],
        Status::Running => vec![
            (command("watch"), "follow it, and answer its questions"),
            (format!("cc-anywhere say {id} \"…\""), "tell it something"),
            (command("cancel"), "call it off"),
        ],
        Status::Failed | Status::Cancelled => {
            vec![(command("watch"), "what it did"), (command("retry"), "run it again, as a new task")]
        }
        Status::Completed => vec![
            (command("watch"), "what it did"),
            (format!("cc-anywhere submit --continue {id} \"…\""), "go on with its conversation"),
        ],
    };
    steps.push((command("open"), "see it in a browser"));
    steps
}
