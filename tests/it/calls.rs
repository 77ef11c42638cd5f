//! The n-th call of the store fails, or is carried out and its answer comes too late, for every
//! n, until a run is untouched. The task ends as it should, and once.

use serde_json::json;

use crate::support::{World, check_history, scripted_claude, until};

/// A run of one task with this fault at the n-th call. Returns whether the fault came.
fn is_touched(fault: &str, n: usize) -> bool {
    let world = World::new();
    let points = format!("{fault}={}1*return->off", if n == 0 { String::new() } else { format!("{n}*off->") });
    let claude = scripted_claude();
    let server = world.serve("inline", &[("FAILPOINTS", &points), ("CLAUDE_PATH", &claude), ("LEASE_MS", "3000")]);
    let ask = |method, path: &str, body| {
        // A client that was not answered asks again, with its key.
        until("an answer", || match server.http.try_ask(method, path, &[("idempotency-key", "once")], body) {
            Some((503, refusal)) => {
                assert_eq!(refusal["error"]["code"], "STORE_UNAVAILABLE");
                None
            }
            other => other.map(|(_, answer)| answer),
        })
    };
    let body = json!({ "instruction": "daemon", "options": { "retry": { "initialDelay": 1 } } });
    let id = ask("POST", "/api/tasks", Some(&body))["taskId"].as_str().expect("an id").to_owned();
    let path = format!("/api/tasks/{id}");
    let done = until("the end", || Some(ask("GET", &path, None)).filter(|task| task["completedAt"].is_string()));
    assert_eq!((&done["status"], &done["costUsd"]), (&json!("completed"), &json!(0.01)), "{done:#}");
    let attempts = done["attempts"].as_array().expect("attempts");
    let ended = attempts.iter().filter(|one| one["outcome"] != "released").count();
    assert_eq!(ended, 1, "nothing ran twice: {done:#}");
    let page = ask("GET", &format!("{path}/logs"), None);
    let said = page["logs"].as_array().expect("logs").iter().filter(|line| line.to_string().contains(" of ")).count();
    assert_eq!(said, 4, "no event is lost, none is stored twice: {page:#}");
    assert_eq!(ask("GET", "/api/tasks", None)["total"], 1, "one key, one task");
    let touched = server.process.logs().contains("a failpoint fired");
    check_history(&world, &["--settled"]);
    touched
}

fn every_call(fault: &str) {
    let untouched = (0..100).find(|n| !is_touched(fault, *n));
    assert!(untouched.is_some_and(|n| n > 5), "a run has some calls, and an end: {untouched:?}");
}

#[test]
fn slow_every_call_that_fails_is_made_good() {
    every_call("store-commit");
}

#[test]
fn slow_every_call_whose_answer_is_lost_is_made_good() {
    every_call("queue-answer");
}
