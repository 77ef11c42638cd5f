//! What the model, the API and the CLI may say, however strange, costs at most the task that it belongs to.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, task, until};

/// Half an emoji, as programs leave it that cut strings by UTF-16 units.
const HALF: &str = r"\ud83d";

/// A list in a list, and so on.
fn deep(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// Everything that can be read of a task can be read.
fn all_is_readable(server: &Server, id: &str) {
    let seen = server.http.events(&format!("/api/tasks/{id}/events"), None).count();
    assert!(seen > 3, "{seen} events");
    let last_but_some = seen.saturating_sub(2).to_string();
    let page = [("accept", "application/json"), ("last-event-id", &last_but_some)];
    for path in [&*format!("/api/tasks/{id}/events"), "/api/events"] {
        let (status, _, answer) = server.http.send("GET", path, &page, None);
        assert_eq!(status, 200, "{path} {answer}");
    }
    for path in [
        &*format!("/api/tasks/{id}"),
        &format!("/api/tasks/{id}/logs"),
        &format!("/api/tasks/{id}/conversation"),
        &format!("/api/tasks/{id}/explain"),
        &format!("/api/tasks/{id}/permissions?all=true"),
        "/api/tasks",
        "/api/schedules",
        "/health",
    ] {
        let (status, answer) = server.http.ask("GET", path, None);
        assert_eq!(status, 200, "{path} {answer}");
    }
}

#[test]
fn halves_of_letters_and_deep_nesting_are_text_like_any_other() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let file = world.ws().join("written").display().to_string();
    for (name, steps, result) in [
        ("says", vec![format!("json \"half {HALF}\"")], "half \u{fffd}"),
        (
            "writes",
            vec![
                format!("tool Write {{\"file_path\":\"{file}\",\"content\":\"half {HALF}\"}}"),
                format!("tool Bash {{\"command\":\"printf 'half {HALF}'\",\"description\":\"{HALF}\"}}"),
                format!("tool {HALF} {{}}"),
                "say done".to_owned(),
            ],
            "done",
        ),
        (
            "nests",
            vec![
                format!("tool Write {{\"file_path\":\"{file}\",\"content\":\"x\",\"more\":{}}}", deep(140)),
                format!("tool Bash {{\"command\":\"true\",\"more\":{}}}", deep(3_000)),
                "say done".to_owned(),
            ],
            "done",
        ),
    ] {
        let steps: Vec<_> = steps.iter().map(String::as_str).collect();
        let id = server.submit(task(&world.ws(), name, &steps));
        let done = server.wait_end(&id);
        assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!(result)), "{name} {done:#}");
        assert_eq!(done["attempt"], 1, "{done:#}");
        all_is_readable(&server, &id);
    }
    // In what clients send, and in what is asked of people.
    let body = task(&world.ws(), "asks", &[&format!("bash touch {file}"), "say done"]).to_string();
    let mut body = body.replace("asks\\n", &format!("asks {HALF}\\n"));
    body = body.replace("\"allowedTools\":[\"Bash\"]", "\"permissionMode\":\"default\"");
    let (status, _, answer) =
        server.http.send("POST", "/api/tasks", &[("content-type", "application/json")], Some(&body));
    assert_eq!(status, 202, "{answer}");
    let id = answer["taskId"].as_str().expect("an id");
    let asked =
        until("a question", || server.get(&format!("/api/tasks/{id}/permissions"))["permissions"].get(0).cloned());
    let path = format!("/api/tasks/{id}/permissions/{}", asked["requestId"].as_str().expect("an id"));
    let yes = format!("{{\"behavior\":\"deny\",\"message\":\"no {HALF}\"}}");
    let (status, _, answer) = server.http.send("POST", &path, &[("content-type", "application/json")], Some(&yes));
    assert_eq!(status, 200, "{answer}");
    assert_eq!(server.wait_end(id)["status"], "completed");
    all_is_readable(&server, id);
    check_history(&world, &["--settled"]);
}

#[test]
fn an_answer_without_text_is_an_answer() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let done = server.wait_end(&server.submit(task(&world.ws(), "silent", &["say "])));
    assert_eq!((&done["status"], &done["error"]), (&json!("completed"), &Value::Null), "{done:#}");
    assert_eq!(done["result"], "", "{done:#}");
    check_history(&world, &["--settled"]);
}

#[test]
fn each_ending_has_its_class_and_is_paid_once_where_waiting_does_not_help() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "2")]);
    for (step, status, class, code) in [
        ("stop refusal no", "failed", "refused", "MODEL_REFUSED"),
        ("stop model_context_window_exceeded x", "failed", "invalid", "CONTEXT_WINDOW"),
        ("error 400 prompt is too long: 250000 tokens > 200000 maximum", "failed", "invalid", "CONTEXT_WINDOW"),
        ("error 404 model: no-such-model", "failed", "invalid", "MODEL_NOT_FOUND"),
        ("error 413 Request exceeds the maximum size", "failed", "invalid", "REQUEST_TOO_LARGE"),
    ] {
        let done = server.wait_end(&server.submit(task(&world.ws(), step, &[step])));
        let error = &done["error"];
        assert_eq!(
            (&done["status"], &error["class"], &error["code"], &done["attempt"]),
            (&json!(status), &json!(class), &json!(code), &json!(1)),
            "{step}: {done:#}"
        );
        assert!(error["message"].as_str().is_some_and(|text| text.contains("What helps")), "{done:#}");
    }
    check_history(&world, &["--settled"]);
}

#[test]
fn an_account_that_can_not_pay_is_parked_once_and_every_task_waits() {
    for (step, code) in [
        ("error 400 Your credit balance is too low to access the Anthropic API.", "BILLING"),
        ("error 402 payment required", "BILLING"),
        ("error 403 This organization has been disabled.", "ACCOUNT_DISABLED"),
        ("error 401 OAuth token has expired.", "LOGIN_EXPIRED"),
    ] {
        let world = World::new();
        let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "1")]);
        let first = server.submit(task(&world.ws(), "first", &[step]));
        let next = server.submit(task(&world.ws(), "next", &["say ok"]));
        let done = server.wait_end(&first);
        assert_eq!((&done["error"]["class"], &done["error"]["code"]), (&json!("auth"), &json!(code)), "{done:#}");
        let why = server.get(&format!("/api/tasks/{next}/explain"));
        assert_eq!(why["reasons"][0]["code"], "CREDENTIAL_PARKED", "{why:#}");
        let parked = server.get("/health")["parked"][0].clone();
        assert_eq!((&parked["class"], &parked["credential"]), (&json!("auth"), &why["reasons"][0]["credential"]));
        let alarms = server.process.logs().lines().filter(|line| line.contains("level=error")).count();
        assert_eq!(alarms, 1, "one alarm: {}", server.process.logs());
        assert_eq!(world.model.begun("next"), 0);
        let go_on = json!({ "credential": parked["credential"] });
        assert_eq!(server.http.ask("POST", "/api/queue/start", Some(go_on)).0, 200);
        assert_eq!(server.wait_end(&next)["status"], "completed");
    }
}

#[test]
fn a_wrong_key_is_said_within_seconds() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_CODE_MAX_RETRIES", "10"), ("QUEUE_CONCURRENCY", "1")]);
    let began = Instant::now();
    let done = server.wait_end(&server.submit(task(&world.ws(), "wrong", &["error 401 invalid x-api-key"])));
    assert_eq!((&done["error"]["code"], &done["attempt"]), (&json!("AUTH_FAILED"), &json!(1)), "{done:#}");
    // Alone it takes two seconds; ten tries of the CLI take three minutes.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert!(world.model.calls().len() <= 3, "{} calls", world.model.calls().len());
    let parked = &server.get("/health")["parked"][0];
    assert!(parked["message"].as_str().is_some_and(|text| text.contains("POST /api/queue/start")), "{parked:#}");
}

#[test]
fn what_can_change_by_waiting_is_asked_again_and_explained() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_CODE_MAX_RETRIES", "10")]);
    let id = server.submit(task(&world.ws(), "busy", &["error 529 overloaded"]));
    let why = until("the reason", || {
        let why = server.get(&format!("/api/tasks/{id}/explain"));
        (why["reasons"][0]["code"] == "API_RETRY").then_some(why)
    });
    let reason = &why["reasons"][0];
    assert!(reason["message"].as_str().is_some_and(|text| text.contains("529")), "{why:#}");
    assert!(reason["until"].is_string() && why["reasons"][1]["code"] == "RUNNING", "{why:#}");
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{id}"), None).0, 200);
    server.wait_end(&id);
}
