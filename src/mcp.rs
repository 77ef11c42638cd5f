//! The tasks as tools of a model (the Model Context Protocol): what each is for, which request of the API it is, and what the
//! model reads of the answer. Pure.
//!
//! What the server refuses, the model is told in its words, so that it can mend its call. `client/mcp.rs` serves the tools on
//! standard input and output, `api/routes/mcp.rs` over HTTP.

use domain::{EventKind, Named as _, line_of};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

/// Longest answer, in bytes: a model reads all of it.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// What a model is told of the tools before it calls one.
pub const INSTRUCTIONS: &str = "Tasks for Claude Code, run by a server: submit one, and ask for it until its status is completed, failed or \
    cancelled. A running task that waits for somebody has waitingFor: answer it. Ids are given whole. A task that you submit \
    while you are one yourself is within your budget, so give it a part with maxBudgetUsd; it needs a free worker, and a \
    folder that is free.";

/// A tool: its name, what it is for, and the schema of its arguments.
pub type Described = (&'static str, &'static str, Value);

/// A request of the API.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Method.
    pub method: &'static str,
    /// Path with its query.
    pub path: String,
    /// Body, as JSON.
    pub body: Option<Value>,
}

fn schema(required: &[&str], properties: Value) -> Value {
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

/// The tools.
#[must_use]
pub fn tools() -> Vec<Described> {
    let text = |what: &str| json!({ "type": "string", "description": what });
    let id = || text("Id of the task");
    let of_task = || schema(&["id"], json!({ "id": id() }));
    vec![
        (
            "submit_task",
            "Submit a task for Claude Code; it is stored, and runs when a worker has room. Returns its taskId",
            schema(
                &["instruction"],
                json!({
                    "instruction": text("What to do, word for word"),
                    "workingDirectory": text("Absolute path of the folder to work in; an empty one where not set"),
                    "useWorktree": { "type": "boolean", "description": "True to work in a git worktree of that folder, on a branch of its own" },
                    "model": text("The model"),
                    "maxBudgetUsd": { "type": "number", "description": "Budget of all attempts, in US dollars" },
                    "tags": { "type": "array", "items": { "type": "string" } },
                    "verify": text("Command of a shell that must succeed before the task completes, such as: make test"),
                    "more": { "type": "object", "description": "Further fields of POST /api/tasks, as docs/api.md has them" },
                }),
            ),
        ),
        (
            "list_tasks",
            "List tasks, newest first",
            schema(
                &[],
                json!({
                    "status": text("pending, running, completed, failed or cancelled"),
                    "q": text("Words of the instruction or the result"),
                    "tag": text("A tag"),
                    "limit": { "type": "integer", "minimum": 1, "maximum": 50 },
                }),
            ),
        ),
        ("get_task", "Read a task: its status, result, error, cost, attempts, and what it waits for", of_task()),
        (
            "task_events",
            "Read the newest events of a task, a line each, oldest of them first",
            schema(&["id"], json!({ "id": id(), "n": { "type": "integer", "minimum": 1, "maximum": 200 } })),
        ),
        ("open_questions", "List the questions of tasks that wait for an answer", schema(&[], json!({}))),
        (
            "answer_question",
            "Answer a question of a task: allow or deny a call of a tool, or answer what the model asks",
            schema(
                &["id", "requestId", "behavior"],
                json!({
                    "id": id(),
                    "requestId": text("The question: waitingFor.requestId of the task"),
                    "behavior": { "enum": ["allow", "deny"] },
                    "message": text("Reason for the model, with deny"),
                    "scope": { "enum": ["once", "session"], "description": "session: also for calls like it in this task" },
                    "updatedInput": { "type": "object", "description": "Input of the tool to use instead; answers to a question of the model go here" },
                }),
            ),
        ),
        (
            "say",
            "Send a message to a task: its next turn, or what it goes on with after an interrupt",
            schema(&["id", "text"], json!({ "id": id(), "text": text("The message") })),
        ),
        ("interrupt", "Stop the turn of a task; its session stays, and a message says how to go on", of_task()),
        ("cancel", "Cancel a task for good", of_task()),
        ("explain", "Say why a task is not running, and when it may", of_task()),
        (
            "usage",
            "Read what was spent, by day and key",
            schema(&[], json!({ "from": text("First day, as 2026-01-31"), "to": text("Last day") })),
        ),
    ]
}

/// The request that a call of a tool is; `parent` is the task from inside which it is made.
///
/// # Errors
/// What is wrong with the call.
pub fn request_of(tool: &str, arguments: &Value, parent: Option<&Value>) -> Result<Request, String> {
    let unknown = || format!("there is no tool {tool}");
    let (_, _, schema) = tools().into_iter().find(|(name, ..)| *name == tool).ok_or_else(unknown)?;
    let given = arguments.as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    if let Some(unknown) = given.clone().find(|name| schema["properties"].get(name).is_none()) {
        return Err(format!("{tool} has no argument {unknown}"));
    }
    let mut required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    if let Some(missing) = required.find(|name| given.clone().all(|one| one != *name)) {
        return Err(format!("{tool} needs the argument {missing}"));
    }
    let id = || {
        let id = arguments["id"].as_str().unwrap_or_default();
        let is_id = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_id.then(|| format!("/api/tasks/{id}")).ok_or_else(|| format!("{} is no id of a task", arguments["id"]))
    };
    let request = |method, path, body| Ok(Request { method, path, body });
    match tool {
        "submit_task" => request("POST", "/api/tasks".to_owned(), Some(task(arguments, parent))),
        "list_tasks" => request("GET", with_query("/api/tasks", arguments), None),
        "get_task" => request("GET", id()?, None),
        "task_events" => {
            let n = arguments["n"].as_i64().unwrap_or(50).clamp(1, 200);
            request("GET", format!("{}/events/page?before={}&limit={n}", id()?, i64::MAX), None)
        }
        "open_questions" => request("GET", "/api/questions".to_owned(), None),
        "answer_question" => {
            let name = arguments["requestId"].as_str().unwrap_or_default();
            let mut body = arguments.clone();
            let fields = body.as_object_mut();
            fields.into_iter().for_each(|fields| fields.retain(|name, _| name != "id" && name != "requestId"));
            request("POST", format!("{}/permissions/{}", id()?, encode(name)), Some(body))
        }
        "say" => request("POST", format!("{}/messages", id()?), Some(json!({ "text": arguments["text"] }))),
        "interrupt" => request("POST", format!("{}/interrupt", id()?), None),
        "cancel" => request("DELETE", id()?, None),
        "explain" => request("GET", format!("{}/explain", id()?), None),
        "usage" => request("GET", with_query("/api/usage", arguments), None),
        _ => Err(unknown()),
    }
}

/// The path with the arguments as its query.
fn with_query(path: &str, arguments: &Value) -> String {
    let value = |value: &Value| encode(&value.as_str().map_or_else(|| value.to_string(), str::to_owned));
    let query = arguments.as_object().into_iter().flatten().map(|(name, one)| format!("{name}={}", value(one)));
    let query = query.collect::<Vec<_>>().join("&");
    if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
}

/// The body of a submit: what was named here goes over what stands in `more`; the task from inside which it comes, over
/// both.
fn task(arguments: &Value, parent: Option<&Value>) -> Value {
    let mut body = match &arguments["more"] {
        Value::Object(more) => Value::Object(more.clone()),
        _ => json!({}),
    };
    for (name, path) in [
        ("instruction", &["instruction"][..]),
        ("workingDirectory", &["context", "workingDirectory"]),
        ("useWorktree", &["options", "useWorktree"]),
        ("model", &["options", "sdk", "model"]),
        ("maxBudgetUsd", &["options", "sdk", "maxBudgetUsd"]),
        ("tags", &["tags"]),
        ("verify", &["verify", "command"]),
    ] {
        let value = &arguments[name];
        if !value.is_null() {
            put(&mut body, path, value.clone());
        }
    }
    if let Some(parent) = parent {
        body["parent"] = parent.clone();
    }
    body
}

/// Puts a value where a path leads, through objects.
fn put(body: &mut Value, path: &[&str], value: Value) {
    let Some((last, above)) = path.split_last() else { return };
    let mut at = body;
    for name in above {
        if !at[*name].is_object() {
            at[*name] = json!({});
        }
        at = &mut at[*name];
    }
    at[*last] = value;
}

/// What the model reads of the answer to a request; an error where it was refused.
///
/// # Errors
/// The refusal, in the server's words.
pub fn said(tool: &str, ok: bool, answer: String) -> Result<String, String> {
    if !ok {
        let said: Value = serde_json::from_str(&answer).unwrap_or_default();
        let error = &said["error"];
        return Err(match (error["code"].as_str(), error["message"].as_str()) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            _ => bounded(answer),
        });
    }
    match tool {
        "task_events" => lines(&answer).map(bounded),
        _ => Ok(bounded(answer)),
    }
}

/// Events, a line each.
fn lines(answer: &str) -> Result<String, String> {
    let page: Value = serde_json::from_str(answer).map_err(|error| format!("the answer can't be read: {error}"))?;
    let line = |event: &Value| {
        let kind = EventKind::from_name(event["kind"].as_str()?)?;
        let at = event["at"].as_str().unwrap_or_default();
        let line = line_of(kind, &event["data"].to_string());
        Some(format!("{} {at} [{}] {line}", event["seq"], kind.name()))
    };
    Ok(page["events"].as_array().into_iter().flatten().filter_map(line).collect::<Vec<_>>().join("\n"))
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_ANSWER_BYTES {
        text.truncate(text.floor_char_boundary(MAX_ANSWER_BYTES));
        text.push_str("… (cut)");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_tool_is_a_request() {
        for (name, about, schema) in tools() {
            let names = schema["required"].as_array().expect("a list").iter().filter_map(Value::as_str);
            let arguments: serde_json::Map<_, _> = names.map(|name| (name.to_owned(), json!("x"))).collect();
            let request = request_of(name, &Value::Object(arguments), None).expect(name);
            assert!(request.path.starts_with("/api/") && about.len() > 10, "{name}: {request:?}");
        }
        assert_eq!(request_of("get_task", &json!({}), None).map_err(|why| why.contains("needs")), Err(true));
        assert_eq!(
            request_of("get_task", &json!({ "id": "../keys" }), None).map_err(|why| why.contains("no id")),
            Err(true)
        );
        assert_eq!(
            request_of("cancel", &json!({ "id": "a", "all": 1 }), None).map_err(|why| why.contains("no argument")),
            Err(true)
        );
        assert!(request_of("drop_all", &json!({}), None).is_err());
    }

    #[test]
    fn what_is_named_goes_over_what_stands_in_more() {
        let more = json!({ "priority": 5, "options": { "sdk": { "model": "a", "effort": "low" } } });
        let arguments = json!({ "instruction": "x", "model": "b", "verify": "true", "more": more });
        let request = request_of("submit_task", &arguments, None).expect("a request");
        let body = json!({
            "instruction": "x", "priority": 5, "options": { "sdk": { "model": "b", "effort": "low" } }, "verify": { "command": "true" },
        });
        assert_eq!(request, Request { method: "POST", path: "/api/tasks".to_owned(), body: Some(body) });
        let parent = json!("7");
        assert_eq!(task(&json!({ "more": { "parent": "x" } }), Some(&parent)), json!({ "parent": parent }));
        let listed = request_of("list_tasks", &json!({ "q": "a b&c", "limit": 5 }), None).expect("a request");
        assert_eq!(listed.path, "/api/tasks?q=a%20b%26c&limit=5");
    }
}
