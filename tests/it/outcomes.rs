//! How attempts end, and what that means.

use serde_json::{Value, json};

use crate::support::{Server, World, task};

fn ends(server: &Server, body: Value) -> (Value, Value, Value, Value) {
    let done = server.wait_end(&server.submit(body));
    (done["status"].clone(), done["error"]["class"].clone(), done["error"]["code"].clone(), done["attempt"].clone())
}

fn failed(class: &str, code: &str, attempt: i64) -> (Value, Value, Value, Value) {
    (json!("failed"), json!(class), json!(code), json!(attempt))
}

#[test]
fn failures_have_their_class_and_are_tried_again_where_that_helps() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "2")]);
    let with = |steps: &[&str], options: Value| {
        let mut body = task(&world.ws(), "outcome", steps);
        body["options"].as_object_mut().expect("options").extend(options.as_object().expect("options").clone());
        body
    };
    let quick = json!({ "maxAttempts": 2, "retry": { "initialDelay": 10, "maxDelay": 20 } });
    assert_eq!(ends(&server, with(&["error 400"], quick.clone())), failed("invalid", "API_REFUSED", 1));
    assert_eq!(ends(&server, with(&["error 401"], quick.clone())), failed("auth", "AUTH_FAILED", 1));
    assert_eq!(ends(&server, with(&["error 500"], quick.clone())), failed("overloaded", "OVERLOADED", 2));
    assert_eq!(ends(&server, with(&["error 529"], quick.clone())), failed("overloaded", "OVERLOADED", 2));
    let turns = json!({ "sdk": { "maxTurns": 1, "allowedTools": ["Bash"] } });
    assert_eq!(ends(&server, with(&["bash echo 1", "bash echo 2", "say x"], turns)), failed("invalid", "MAX_TURNS", 1));
    let limit = json!({ "timeout": 1_500 });
    assert_eq!(ends(&server, with(&["bash sleep 98801", "say x"], limit)), failed("timeout", "TIMEOUT", 1));
    // More than a cold start of the CLI takes on a busy machine.
    let idle = json!({ "timeout": { "idle": 5_000 } });
    assert_eq!(ends(&server, with(&["delay 60000", "say x"], idle.clone())), failed("timeout", "IDLE_TIMEOUT", 1));
    let (status, ..) = ends(&server, with(&["bash sleep 7", "say x"], idle));
    assert_eq!(status, "completed", "a tool that runs is not idle");
    assert!(crate::support::running("sleep 98801").is_empty());
}

#[test]
fn a_usage_limit_parks_the_task_and_costs_no_attempt() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "limit", &["error 429"]));
    let parked = server.follow(&id, |event| event["data"]["error"]["class"] == "usage_limit").expect("it is parked");
    assert_eq!(parked["data"]["status"], "pending");
    assert!(parked["data"]["dueAt"].is_string());
    assert_eq!(server.task(&id)["status"], "pending");
}

#[test]
fn a_cli_that_kills_its_worker_each_time_is_poison() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let cli = "bash kill -9 $PPID; sleep 1";
    let mut body = task(&world.ws(), "poison", &[cli, "say never"]);
    body["options"]["retry"] = json!({ "initialDelay": 10 });
    assert_eq!(ends(&server, body), failed("crashed", "POISONED", 3));
}

#[test]
fn options_reach_the_cli() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let mut body = task(&world.ws(), "options", &["say ok"]);
    body["options"]["sdk"] = json!({
        "model": "claude-scripted-1", "appendSystemPrompt": "Speak like a pirate.", "permissionMode": "plan",
        "disallowedTools": ["WebSearch"], "maxTurns": 3,
    });
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["status"], "completed");
    let calls = world.model.calls();
    let call = calls.iter().find(|call| call.instruction.starts_with("options")).expect("a call");
    assert_eq!(call.body["model"], "claude-scripted-1");
    assert!(call.body["system"].to_string().contains("Speak like a pirate."));
    assert!(!call.body["tools"].to_string().contains("\"WebSearch\""));
    let (_, _, page) =
        server.http.send("GET", &format!("/api/tasks/{id}/events"), &[("accept", "application/json")], None);
    let init =
        page["events"].as_array().expect("events").iter().find(|event| event["kind"] == "init").expect("init").clone();
    assert_eq!(init["data"]["frame"]["permissionMode"], "plan");
    assert_eq!(init["data"]["frame"]["session_id"], server.task(&id)["sdkSessionId"]);
}

#[test]
fn only_the_tools_that_are_allowed_run() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let (by_bash, by_write) = (world.ws().join("by-bash"), world.ws().join("by-write"));
    let steps = [&format!("bash touch {}", by_bash.display()), &format!("write {} x", by_write.display()), "say ok"];
    let mut body = task(&world.ws(), "tools", &steps);
    body["options"]["sdk"] = json!({ "permissionMode": "dontAsk", "allowedTools": ["Bash", "Write"] });
    assert_eq!(server.wait_end(&server.submit(body.clone()))["status"], "completed");
    assert!(by_bash.exists() && by_write.exists(), "both are allowed");
    for file in [&by_bash, &by_write] {
        std::fs::remove_file(file).expect("a file");
    }
    body["options"]["sdk"] = json!({ "permissionMode": "deny" });
    let done = server.wait_end(&server.submit(body));
    assert_eq!(done["status"], "completed");
    assert!(!by_bash.exists() && !by_write.exists(), "nothing is allowed");
    assert_eq!(done["permissionDenials"].as_array().map(Vec::len), Some(2), "{done:#}");
}
