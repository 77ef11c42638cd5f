//! Ids as people write them: a beginning or an end that one task has.

use std::ffi::OsStr;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap_complete::CompletionCandidate;
use domain::TaskId;
use wire::response::TaskPage;

use super::http::{Server, encode};
use super::words::short;

/// Tasks that are named where several have the same digits.
const NAMED: usize = 5;
/// Longest time that a shell waits for what it could complete.
const PATIENCE: Duration = Duration::from_secs(1);

/// The id of the task that is meant. What can't be a part of one stays as it is: the server says so.
///
/// # Errors
/// Several tasks have these digits, or the server can't be reached.
pub fn resolve(server: &Server, text: &str) -> anyhow::Result<String> {
    let is_part = text.len() >= 4 && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    if text.parse::<TaskId>().is_ok() || !is_part {
        return Ok(text.to_owned());
    }
    let reply = server.ask("GET", &format!("/api/tasks?id={}&limit={NAMED}", encode(text)))?;
    if !reply.ok {
        return Ok(text.to_owned());
    }
    let found: TaskPage<'static> = reply.content()?;
    match &found.tasks[..] {
        [] => Ok(text.to_owned()),
        [one] => Ok(one.task_id.to_string()),
        several => {
            let lines = several.iter().map(|task| format!("\n  {}  {}", task.task_id, task.title));
            bail!("{text} may be several tasks; write more of the one that is meant:{}", lines.collect::<String>())
        }
    }
}

/// What a shell may complete these digits to: short ids of the newest tasks, with their titles.
pub fn complete(typed: &OsStr) -> Vec<CompletionCandidate> {
    candidates(&typed.to_string_lossy()).unwrap_or_default()
}

fn candidates(typed: &str) -> anyhow::Result<Vec<CompletionCandidate>> {
    let reply = Server::find()?.within(PATIENCE).ask("GET", "/api/tasks?limit=100")?;
    let page: TaskPage<'static> = reply.content().context("no list")?;
    let all = page.tasks.iter().flat_map(|task| {
        let title = format!("{} {}", task.status.sign(), task.title);
        [short(task.task_id), task.task_id.to_string()].map(|id| (id, title.clone()))
    });
    // The whole id only for who has begun to write it.
    let fits = |id: &str| id.starts_with(typed) && (id.len() == short(TaskId::from_u128(0)).len() || !typed.is_empty());
    Ok(all
        .filter(|(id, _)| fits(id))
        .map(|(id, title)| CompletionCandidate::new(id).help(Some(title.into())))
        .collect())
}
