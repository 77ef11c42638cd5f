//! How attempts end, and what that means.

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, task};

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
    assert_eq!(ends(&server, with(&["error 500"], quick.clone())), failed("overloaded", "OVERLOADED", 2));
    assert_eq!(ends(&server, with(&["error 529"], quick.clone())), failed("overloaded", "OVERLOADED", 2));
    let turns = json!({ "sdk": { "maxTurns": 1, "allowedTools": ["Bash"] } });
    assert_eq!(ends(&server, with(&["bash echo 1", "bash echo 2", "say x"], turns)), failed("invalid", "MAX_TURNS", 1));
    let limit = json!({ "timeout": 1_500 });
    assert_eq!(ends(&server, with(&["bash sleep 98801", "say x"], limit)), failed("timeout", "TIMEOUT", 1));
    // More than a cold start of the CLI takes on a busy machine.
    let idle = json!({ "timeout": { "idle": 8_000 } });
    assert_eq!(ends(&server, with(&["delay 60000", "say x"], idle.clone())), failed("timeout", "IDLE_TIMEOUT", 1));
    let (status, ..) = ends(&server, with(&["bash sleep 10", "say x"], idle));
    assert_eq!(status, "completed", "a tool that runs is not idle");
    assert!(crate::support::running("sleep 98801").is_empty());
}

#[test]
fn a_usage_limit_parks_the_credential_until_its_reset() {
    let world = World::new();
    // An account, not a key: the CLI then says when the limit ends.
    let account = [("ANTHROPIC_API_KEY", ""), ("CLAUDE_CODE_OAUTH_TOKEN", "sk-ant-oat01-not-real")];
    let server = world.serve("inline", &account);
    let limited = server.submit(task(&world.ws(), "limited", &["bash echo once", "limit 6", "say done"]));
    let parked = server.follow(&limited, |event| event["data"]["error"]["class"] == "usage_limit").expect("it waits");
    assert_eq!(parked["data"]["status"], "pending");
    let other = server.submit(task(&world.ws(), "other", &["say ok"]));
    let why = server.get(&format!("/api/tasks/{other}/explain"));
    assert_eq!(
        (&why["status"], &why["reasons"][0]["code"]),
        (&json!("pending"), &json!("CREDENTIAL_PARKED")),
        "{why:#}"
    );
    let until = why["reasons"][0]["until"].as_str().expect("a time").to_owned();
    let health = server.get("/health");
    assert_eq!((&health["status"], &health["parked"][0]["until"]), (&json!("healthy"), &json!(until)), "{health:#}");
    assert_eq!(parked["data"]["dueAt"], json!(until));
    assert_eq!(world.model.begun("other"), 0);
    for id in [&limited, &other] {
        let done = server.wait_end(id);
        let attempt = done["attempts"].as_array().and_then(|all| all.last().cloned()).expect("an attempt");
        assert_eq!(done["status"], "completed");
        assert!(attempt["startedAt"].as_str().expect("a time") >= until.as_str(), "{done:#}");
    }
    let done = server.task(&limited);
    assert_eq!((&done["attempt"], &done["crashes"]), (&json!(2), &json!(0)));
    assert_eq!(world.model.begun("limited"), 1, "the conversation went on");
    assert!(server.get("/health")["parked"].is_null());
    check_history(&world, &["--settled"]);
}

#[test]
fn a_limit_without_a_reset_and_a_refused_credential_park_it_for_a_while() {
    for (step, status, class) in [("error 429", "pending", "usage_limit"), ("error 401", "failed", "auth")] {
        let world = World::new();
        let server = world.serve("inline", &[]);
        let id = server.submit(task(&world.ws(), "first", &[step]));
        server.follow(&id, |event| event["data"]["error"]["class"] == class).expect("it was refused");
        assert_eq!(server.task(&id)["status"], status);
        assert_eq!(server.get("/health")["parked"][0]["class"], class);
        let next = server.submit(task(&world.ws(), "next", &["say ok"]));
        assert_eq!(server.get(&format!("/api/tasks/{next}/explain"))["reasons"][0]["code"], "CREDENTIAL_PARKED");
        drop(server);
        // Another credential is not held back.
        let server = world.serve("inline", &[("ANTHROPIC_API_KEY", "sk-test-another")]);
        assert_eq!(server.wait_end(&next)["status"], "completed");
    }
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
fn a_poisonous_task_takes_no_other_with_it() {
    let world = World::new();
    // Where it can see the worker, and reach it.
    let settings = [("QUEUE_CONCURRENCY", "3"), ("ISOLATION", "subreaper"), ("SANDBOX", "off")];
    let server = world.serve("managed", &settings);
    let long = |n: usize| task(&world.ws(), &format!("bystander-{n}-"), &["bash sleep 2", "bash sleep 2", "say fine"]);
    let bystanders: Vec<_> = (0..2).map(|n| server.submit(long(n))).collect();
    // It ends the worker itself: the process above its shim, which is above the CLI.
    let up = "w=$(sed -n 's/^PPid:[[:space:]]*//p' /proc/$w/status)";
    let poison = format!("bash w=$PPID; {up}; {up}; kill -9 $w; sleep 5");
    let mut body = task(&world.ws(), "poison", &[&poison, "say never"]);
    body["options"]["retry"] = json!({ "initialDelay": 10 });
    let poisoned = server.submit(body);
    let done = server.wait_end(&poisoned);
    assert_eq!((&done["status"], &done["error"]["code"]), (&json!("failed"), &json!("POISONED")), "{done:#}");
    for id in &bystanders {
        let done = server.wait_end(id);
        assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &Value::Null), "{done:#}");
    }
    // Its third attempt ran alone, which the checker sees.
    check_history(&world, &["--settled"]);
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

#[test]
fn the_other_options_reach_the_cli_as_well() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let beside = world.ws().join("beside");
    std::fs::create_dir(&beside).expect("a folder");
    std::fs::write(beside.join("note"), "FROM-BESIDE").expect("a file");
    let folder = world.ws().join("folder");
    std::fs::create_dir(&folder).expect("a folder");
    let read = format!("tool Read {}", json!({ "file_path": beside.join("note") }));
    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let mut body = task(&folder, "other", &[&read, &wait, "say ok"]);
    body["options"]["sdk"] = json!({
        "systemPrompt": "You are a lighthouse keeper.", "fallbackModel": "claude-scripted-2", "effort": "low",
        "addDirs": [beside], "permissionMode": "dontAsk", "allowedTools": ["Bash"], "maxTurns": 5, "maxBudgetUsd": 0.5,
    });
    let id = server.submit(body.clone());
    server.follow(&id, |event| event["kind"] == "tool_result").expect("a result");
    let cli = crate::support::running("--fallback-model=claude-scripted-2");
    assert!(!cli.is_empty() && cli.iter().all(|pid| crate::support::command_line(*pid).contains("--effort=low")));
    std::fs::write(world.ws().join("go"), "").expect("a file");
    assert_eq!(server.wait_end(&id)["status"], "completed");
    let call = world.model.calls().into_iter().rfind(|call| call.instruction.starts_with("other")).expect("a call");
    assert!(call.body["system"].to_string().contains("You are a lighthouse keeper."));
    assert!(call.body["messages"].to_string().contains("FROM-BESIDE"), "another folder could be read");

    body["options"]["sdk"] = json!({ "maxTurns": 1, "allowedTools": ["Bash"] });
    let ended = server.wait_end(&server.submit(body));
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("MAX_TURNS")), "{ended:#}");
}
