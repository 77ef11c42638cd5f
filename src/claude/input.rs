//! Input of the CLI. Only a JSON serialiser builds these lines: standard input is a privileged channel, and a raw
//! newline in a pasted text would begin a second frame.

use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use domain::{Behavior, Decision, Scope};

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

/// The frame that asks how the MCP servers stand, with its newline.
#[must_use]
pub fn mcp_status() -> String {
    line(&json!({
        "type": "control_request",
        "request_id": "mcp_status",
        "request": { "subtype": "mcp_status" },
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

/// The frame that answers a question of the CLI, with its newline: `input` is what it asked to call the tool
/// with, `exact` the same to the letter where it had to be mended, `rules` are what a yes for the session allows.
#[must_use]
pub fn answer(
    request_id: &str,
    decision: &Decision,
    input: &Value,
    exact: Option<&RawValue>,
    rules: &[String],
) -> String {
    let response = match decision.behavior {
        Behavior::Allow => Response {
            behavior: "allow",
            message: None,
            updated_input: Some(match (&decision.updated_input, exact) {
                (Some(updated), _) => Input::Read(updated),
                (None, Some(exact)) => Input::Exact(exact),
                (None, None) => Input::Read(input),
            }),
            updated_permissions: (decision.scope == Scope::Session).then(|| {
                let rules: Vec<_> = rules.iter().map(|rule| rule_of(rule)).collect();
                json!([{ "type": "addRules", "rules": rules, "behavior": "allow", "destination": "session" }])
            }),
        },
        Behavior::Deny => Response {
            behavior: "deny",
            message: Some(decision.message.as_deref().unwrap_or("This was not allowed.")),
            updated_input: None,
            updated_permissions: None,
        },
    };
    respond(&Success { subtype: "success", request_id, response })
}

#[derive(Serialize)]
struct Success<'a> {
    subtype: &'static str,
    request_id: &'a str,
    response: Response<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    behavior: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_input: Option<Input<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    updated_permissions: Option<Value>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Input<'a> {
    Read(&'a Value),
    Exact(&'a RawValue),
}

/// The frame that refuses a request which we don't know, with its newline: the CLI would wait for ever.
#[must_use]
pub fn refuse(request_id: &str) -> String {
    respond(&json!({ "subtype": "error", "request_id": request_id, "error": "not supported" }))
}

fn respond(response: &impl Serialize) -> String {
    #[derive(Serialize)]
    struct Frame<'a, T> {
        r#type: &'static str,
        response: &'a T,
    }
    line(&Frame { r#type: "control_response", response })
}

/// `Bash(touch a)` as the protocol has it.
fn rule_of(rule: &str) -> Value {
    match rule.split_once('(').and_then(|(tool, rest)| Some((tool, rest.strip_suffix(')')?))) {
        Some((tool, content)) => json!({ "toolName": tool, "ruleContent": content }),
        None => json!({ "toolName": rule }),
    }
}

fn line(frame: &impl Serialize) -> String {
    // What is serialised here has no maps with keys that are no text, which alone could fail.
    let mut line = serde_json::to_string(frame).unwrap_or_default();
    // Raw JSON may be laid out over lines; between tokens a newline means nothing.
    line.retain(|c| c != '\n' && c != '\r');
    line.push('\n');
    line
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
