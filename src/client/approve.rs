//! `cc-anywhere approve`: answers the question of a task.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::http::Server;

/// What the person decided.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The task's id
    id: String,
    /// The question; the oldest open one where not named
    #[arg(long)]
    request: Option<String>,
    /// Say no
    #[arg(long)]
    deny: bool,
    /// With --deny: what the model is told
    #[arg(long, requires = "deny")]
    message: Option<String>,
    /// Allow all calls like it in this task
    #[arg(long, conflicts_with = "deny")]
    session: bool,
    /// The answer to a question of the model's own, in the order of its questions
    #[arg(long = "answer", conflicts_with = "deny")]
    answers: Vec<String>,
}

/// Sends the decision. Returns whether the server agreed, with what it said.
///
/// # Errors
/// The server can't be reached, or there is nothing to answer.
pub fn run(server: &Server, approve: &Approve) -> anyhow::Result<(bool, Value)> {
    let id = &approve.id;
    let (ok, open) = server.ask("GET", &format!("/api/tasks/{id}/permissions"), None)?;
    if !ok {
        return Ok((ok, open));
    }
    let open = open["permissions"].as_array().context("the server listed no questions")?;
    let wanted = |question: &&Value| {
        approve.request.as_deref().is_none_or(|request| question["requestId"].as_str() == Some(request))
    };
    let Some(question) = open.iter().find(wanted) else { bail!("task {id} asks nothing that is open") };
    let request = question["requestId"].as_str().unwrap_or_default();
    let decision = decision(approve, question)?;
    server.ask("POST", &format!("/api/tasks/{id}/permissions/{request}"), Some(&decision))
}

fn decision(approve: &Approve, question: &Value) -> anyhow::Result<Value> {
    if approve.deny {
        return Ok(json!({ "behavior": "deny", "message": approve.message }));
    }
    let mut decision = json!({ "behavior": "allow", "scope": if approve.session { "session" } else { "once" } });
    let asked = question["input"]["questions"].as_array().map_or(&[][..], Vec::as_slice);
    if question["toolName"] == "AskUserQuestion" || !approve.answers.is_empty() {
        if asked.len() != approve.answers.len() {
            let texts: Vec<_> = asked.iter().filter_map(|one| one["question"].as_str()).collect();
            bail!("give one --answer for each question of the model: {}", texts.join(" | "));
        }
        let mut input = question["input"].clone();
        for (one, answer) in asked.iter().zip(&approve.answers) {
            input["answers"][one["question"].as_str().unwrap_or_default()] = json!(answer);
        }
        decision["updatedInput"] = input;
    }
    Ok(decision)
}
