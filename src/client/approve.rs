//! `cc-anywhere approve`: answers the question of a task.

use anyhow::bail;
use domain::{Behavior, Decision, Scope, visible};
use serde_json::{Value, json};
use wire::response::{Permission, Permissions};

use super::http::Server;
use super::print::Output;

/// Answer of a person.
#[derive(Debug, clap::Args)]
pub struct Approve {
    /// The task's id, or what no other id begins or ends with
    #[arg(add = clap_complete::ArgValueCompleter::new(super::ids::complete))]
    id: String,
    /// The question; the oldest open one where not named
    #[arg(long)]
    request: Option<String>,
    /// Say no
    #[arg(long)]
    deny: bool,
    /// With --deny: reason for the model
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
    let id = &super::ids::resolve(server, &approve.id)?;
    let reply = server.ask("GET", &format!("/api/tasks/{id}/permissions"))?;
    if !reply.ok {
        return approve.output.answer(&reply, |_: &Value| {});
    }
    let open: Permissions = reply.content()?;
    let wanted =
        |question: &&Permission| approve.request.as_deref().is_none_or(|request| question.request_id == request);
    let Some(question) = open.permissions.iter().find(wanted) else { bail!("task {id} asks nothing that is open") };
    let path = format!("/api/tasks/{id}/permissions/{}", question.request_id);
    let reply = server.send_json("POST", &path, &decision(approve, question)?)?;
    approve.output.done(&reply, if approve.deny { "refused" } else { "allowed" })
}

/// A yes for this call or for the session.
pub const fn allow(scope: Scope) -> Decision {
    Decision { behavior: Behavior::Allow, message: None, updated_input: None, scope }
}

/// A no, with what the model is told.
pub const fn deny(message: Option<String>) -> Decision {
    Decision { behavior: Behavior::Deny, message, updated_input: None, scope: Scope::Once }
}

/// A yes to the model's own questions, with the answers in their order.
pub fn with_answers(input: &Value, answers: &[String]) -> Decision {
    let mut input = input.clone();
    let asked = input["questions"].as_array().cloned().unwrap_or_default();
    for (one, answer) in asked.iter().zip(answers) {
        input["answers"][one["question"].as_str().unwrap_or_default()] = json!(answer);
    }
    Decision { updated_input: Some(input), ..allow(Scope::Once) }
}

fn decision(approve: &Approve, question: &Permission) -> anyhow::Result<Decision> {
    if approve.deny {
        return Ok(deny(approve.message.clone()));
    }
    let asked = question.input["questions"].as_array().map_or(&[][..], Vec::as_slice);
    if question.tool_name == "AskUserQuestion" || !approve.answers.is_empty() {
        if asked.len() != approve.answers.len() {
            let texts: Vec<_> = asked.iter().filter_map(|one| one["question"].as_str()).collect();
            bail!("give one --answer for each question of the model: {}", visible(&texts.join(" | "), false));
        }
        return Ok(with_answers(&question.input, &approve.answers));
    }
    Ok(allow(if approve.session { Scope::Session } else { Scope::Once }))
}
