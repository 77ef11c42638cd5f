//! What we say to the CLI. Only a JSON serialiser builds these lines: standard input is a
//! privileged channel, and a raw newline in a pasted text would begin a second frame.

use serde_json::{Value, json};

use crate::task::{Behavior, Decision, Scope};

/// The last block of every instruction. The CLI reads only the *last* text block for
/// `@path` and `/command`; with a constant there, the client's text reaches the model word
/// for word.
const LAST_BLOCK: &str = "Do the task above.";

/// The frame that hands an instruction over, with its newline. The CLI reads these files, whose names
/// were checked, and puts them before the model.
#[must_use]
pub fn instruction(text: &str, files: &[String]) -> String {
    let mut last = LAST_BLOCK.to_owned();
    if !files.is_empty() {
        let named: Vec<_> = files.iter().map(|file| format!("@\"{file}\"")).collect();
        last = format!("{LAST_BLOCK} It comes with these files:\n{}", named.join("\n"));
    }
    let content = json!([{ "type": "text", "text": text }, { "type": "text", "text": last }]);
    line(&json!({
        "type": "user",
        "message": { "role": "user", "content": content },
        "parent_tool_use_id": null,
        "session_id": "",
    }))
}

/// The frame that lets the CLI get ready for a first turn, with its newline.
#[must_use]
pub fn initialize() -> String {
    line(&json!({
        "type": "control_request",
        "request_id": "initialize",
        "request": { "subtype": "initialize" },
    }))
}

/// The frame that stops the turn, with its newline.
#[must_use]
pub fn interrupt() -> String {
    line(&json!({
        "type": "control_request",
        "request_id": "interrupt",
        "request": { "subtype": "interrupt" },
    }))
}

/// The frame that answers a question of the CLI, with its newline: `input` is what it asked to call
/// the tool with, `rules` are what a yes for the session allows, as `(tool, content)`.
#[must_use]
pub fn answer(request_id: &str, decision: &Decision, input: &Value, rules: &[String]) -> String {
    let response = match decision.behavior {
        Behavior::Allow => {
            let mut response = json!({
                "behavior": "allow",
                "updatedInput": decision.updated_input.as_ref().unwrap_or(input),
            });
            if decision.scope == Scope::Session {
                let rules: Vec<_> = rules.iter().map(|rule| rule_of(rule)).collect();
                response["updatedPermissions"] = json!([
                    { "type": "addRules", "rules": rules, "behavior": "allow", "destination": "session" },
                ]);
            }
            response
        }
        Behavior::Deny => {
            let message = decision.message.as_deref().unwrap_or("This was not allowed.");
            json!({ "behavior": "deny", "message": message })
        }
    };
    respond(&json!({ "subtype": "success", "request_id": request_id, "response": response }))
}

/// The frame that refuses a request which we don't know, with its newline: the CLI would wait for ever.
#[must_use]
pub fn refuse(request_id: &str) -> String {
    respond(&json!({ "subtype": "error", "request_id": request_id, "error": "not supported" }))
}

fn respond(response: &Value) -> String {
    line(&json!({ "type": "control_response", "response": response }))
}

/// `Bash(touch a)` as the protocol has it.
fn rule_of(rule: &str) -> Value {
    match rule.split_once('(').and_then(|(tool, rest)| Some((tool, rest.strip_suffix(')')?))) {
        Some((tool, content)) => json!({ "toolName": tool, "ruleContent": content }),
        None => json!({ "toolName": rule }),
    }
}

fn line(frame: &serde_json::Value) -> String {
    format!("{frame}\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_text_becomes_exactly_one_line(text in any::<String>()) {
            let frame = instruction(&text, &[]);
            prop_assert_eq!(frame.matches('\n').count(), 1);
            prop_assert!(frame.ends_with('\n') && !frame.contains('\r'));
            let read: serde_json::Value = serde_json::from_str(&frame).expect("json");
            prop_assert_eq!(read["message"]["content"][0]["text"].as_str(), Some(text.as_str()));
        }
    }
}
