//! `cc-anywhere approve`: answers the question of a task.

use anyhow::{Context, bail};
use serde_json::{Value, json};

use super::http::Server;
use super::print::Output;

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
    #[command(flatten)]
    output: Output,
}

/// Sends the decision. Returns the exit code.
///
/// # Errors
/// The server can't be reached, or there is nothing to answer.
pub fn run(server: &Server, approve: &Approve) -> anyhow::Result<u8> {
    let id = &approve.id;
    let open = server.ask("GET", &format!("/api/tasks/{id}/permissions"), None)?;
    if !open.0 {
        return Ok(approve.output.answer(&open, |_| {}));
    }
    let open = open.1["permissions"].as_array().context("the server listed no questions")?;
    let wanted = |question: &&Value| {
        approve.request.as_deref().is_none_or(|request| question["requestId"].as_str() == Some(request))
    };
    let Some(question) = open.iter().find(wanted) else { bail!("task {id} asks nothing that is open") };
    let request = question["requestId"].as_str().unwrap_or_default();
    let decision = decision(approve, question)?;
    let answer = server.ask("POST", &format!("/api/tasks/{id}/permissions/{request}"), Some(&decision))?;
    let said = if approve.deny { "refused" } else { "allowed" };
    Ok(approve.output.answer(&answer, |_| println!("{said}")))
}

/// A yes to the model's own questions, with the answers in their order.
pub fn with_answers(input: &Value, answers: &[String]) -> Value {
    let mut input = input.clone();
    let asked = input["questions"].as_array().cloned().unwrap_or_default();
    for (one, answer) in asked.iter().zip(answers) {
        input["answers"][one["question"].as_str().unwrap_or_default()] = json!(answer);
    }
    json!({ "behavior": "allow", "scope": "once", "updatedInput": input })
}

fn decision(approve: &Approve, question: &Value) -> anyhow::Result<Value> {
    if approve.deny {
        return Ok(json!({ "behavior": "deny", "message": approve.message }));
    }
    let asked = question["input"]["questions"].as_array().map_or(&[][..], Vec::as_slice);
    if question["toolName"] == "AskUserQuestion" || !approve.answers.is_empty() {
        if asked.len() != approve.answers.len() {
            let texts: Vec<_> = asked.iter().filter_map(|one| one["question"].as_str()).collect();
            bail!("give one --answer for each question of the model: {}", texts.join(" | "));
        }
        return Ok(with_answers(&question["input"], &approve.answers));
    }
    Ok(json!({ "behavior": "allow", "scope": if approve.session { "session" } else { "once" } }))
}
