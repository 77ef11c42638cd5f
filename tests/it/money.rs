//! What tasks cost, what they may cost, and folders that they have for themselves.
//!
//! One call of the scripted model costs 0.000175 US dollars by the CLI's own price list.

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, task, until};

const CALL: f64 = 0.000_175;

fn with_budget(mut body: Value, usd: f64) -> Value {
    body["options"]["sdk"]["maxBudgetUsd"] = json!(usd);
    body
}

fn is_near(value: &Value, wanted: f64) -> bool {
    value.as_f64().is_some_and(|value| (value - wanted).abs() < 1e-9)
}

fn reason(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/tasks/{id}/explain"))["reasons"][0].clone()
}

#[test]
fn what_is_spent_is_counted_once_by_attempt_task_key_and_day() {
    let world = World::new();
    let keys = "team-a=a-key-of-sixteen-or-more,team-b=another-key-of-sixteen";
    let server = world.serve("managed", &[("API_KEYS", keys)]);
    let other = Client::new(&server.http.url, "another-key-of-sixteen");
    let bash = format!("bash touch {0}/b; while ! test -e {0}/go; do sleep 0.05; done", world.ws().display());
    // Its worker dies in the middle: what that attempt has cost by then counts, and the next one begins anew.
    let crashed = server.submit(task(&world.ws(), "crashed", &[&bash, "say done"]));
    until("the command to run", || world.ws().join("b").exists().then_some(()));
    let known = until("its cost", || server.task(&crashed)["costSoFar"].as_f64().filter(|cost| *cost > 0.0));
    crate::support::signal(server.worker_pid("worker-0"), "KILL");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let crashed = server.wait_end(&crashed);
    assert_eq!(crashed["status"], "completed", "{crashed:#}");
    let attempts = crashed["attempts"].as_array().expect("attempts");
    assert!(is_near(&attempts[0]["costUsd"], known) && attempts[0]["outcome"] == "crashed", "{crashed:#}");
    let costs: f64 = attempts.iter().filter_map(|attempt| attempt["costUsd"].as_f64()).sum();
    assert!(is_near(&crashed["costUsd"], costs), "{crashed:#}");
    let (status, answer) = other.ask("POST", "/api/tasks", Some(task(&world.ws(), "b", &["say done"])));
    assert_eq!(status, 202, "{answer}");
    let theirs = server.wait_end(answer["taskId"].as_str().expect("an id"));
    assert!(is_near(&theirs["costUsd"], CALL) && theirs["attempts"][0]["tokens"]["output"] == 5, "{theirs:#}");

    let usage = server.get("/api/usage");
    let days = usage["days"].as_array().expect("days");
    let of = |key: &str| days.iter().find(|day| day["key"] == key).unwrap_or_else(|| panic!("{usage:#}"));
    assert!(is_near(&of("default")["costUsd"], costs) && is_near(&of("team-b")["costUsd"], CALL), "{usage:#}");
    assert_eq!((&of("team-b")["attempts"], &of("team-b")["tokens"]["input"]), (&json!(1), &json!(10)));
    assert!(is_near(&usage["totalUsd"], costs + CALL));
    assert_eq!(server.get("/api/usage?key=team-b")["days"].as_array().map(Vec::len), Some(1));
    assert_eq!(server.http.ask("GET", "/api/usage?from=yesterday", None).0, 422);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_task_s_budget_is_for_all_of_its_attempts() {
    let world = World::new();
    let server = world.serve("managed", &[("FAILPOINTS", "run-ended=1*return"), ("WORKER_COUNT", "1")]);
    let id = server.submit(with_budget(task(&world.ws(), "first", &["say one"]), 1.7 * CALL));
    // Its worker stands still where the attempt has ended: the next one hears this, with what is left.
    let worker = server.worker_pid("worker-0");
    until("the attempt to end", || crate::barriers::is_stopped(worker).then_some(()));
    server.http.ask("POST", &format!("/api/tasks/{id}/messages"), Some(json!({ "text": "second\nstep say two" })));
    crate::support::signal(worker, "CONT");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["error"]["code"]), (&json!("failed"), &json!("BUDGET_SPENT")), "{done:#}");
    assert!(is_near(&done["costUsd"], 2.0 * CALL), "{done:#}");
}

#[test]
fn a_day_s_budget_is_reserved_at_the_start_and_settled_at_the_end() {
    let world = World::new();
    let settings = [("DAILY_BUDGET_USD", "0.001"), ("TASK_BUDGET_USD", "0.0006")];
    let server = world.serve("inline", &settings);
    let (status, refused) =
        server.http.ask("POST", "/api/tasks", Some(with_budget(task(&world.ws(), "dear", &["say no"]), 0.01)));
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("BUDGET_EXCEEDED")), "{refused}");

    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let first = server.submit(task(&world.ws(), "first", &[&wait, "say one"]));
    server.wait_tool(&first);
    let second = server.submit(task(&world.ws(), "second", &["say two"]));
    let why = until("the second task to be held", || {
        Some(reason(&server, &second)).filter(|why| why["code"] == "BUDGET_SPENT")
    });
    assert!(why["until"].as_str().is_some_and(|until| until.ends_with("T00:00:00.000Z")), "{why}");
    let today = server.get("/api/usage")["today"]["server"].clone();
    assert!(is_near(&today["reservedUsd"], 0.0006) && is_near(&today["leftUsd"], 0.0004), "{today}");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    // What the first one did not use is there for the second.
    assert_eq!(server.wait_end(&first)["status"], "completed");
    assert_eq!(server.wait_end(&second)["status"], "completed");
    let third = server.submit(task(&world.ws(), "third", &["say three"]));
    until("the third task to be held", || (reason(&server, &third)["code"] == "BUDGET_SPENT").then_some(()));
    let cheap = server.submit(with_budget(task(&world.ws(), "cheap", &["say four"]), 0.0002));
    assert_eq!(server.wait_end(&cheap)["status"], "completed", "one that fits goes on");
    server.http.ask("DELETE", &format!("/api/tasks/{third}"), None);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_task_that_wants_its_folder_for_itself_has_it() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let alone = |name: &str| {
        // Fails where another one is inside.
        let enter = format!(
            "bash mkdir {0}/inside && sleep 0.3 && rmdir {0}/inside && echo {name} >> {0}/order",
            world.ws().display()
        );
        let mut body = task(&world.ws(), name, &[&enter, "say done"]);
        body["options"]["exclusiveDirectory"] = json!(true);
        body
    };
    let ids: Vec<String> = ["a", "b", "c", "d"].map(|name| server.submit(alone(name))).into();
    std::fs::create_dir(world.ws().join("other")).expect("a folder");
    let elsewhere = server.submit(task(&world.ws().join("other"), "elsewhere", &["say done"]));
    until("one to wait for the folder", || {
        ids.iter().any(|id| reason(&server, id)["code"] == "DIRECTORY_BUSY").then_some(())
    });
    assert_eq!(server.wait_end(&elsewhere)["status"], "completed");
    for id in &ids {
        assert_eq!(server.wait_end(id)["status"], "completed");
    }
    let order = std::fs::read_to_string(world.ws().join("order")).expect("a file");
    assert_eq!(order, "a\nb\nc\nd\n", "nobody was disturbed, and the oldest was first");
    check_history(&world, &["--settled"]);
}

#[test]
fn what_a_cancelled_task_has_cost_is_counted_as_well() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "called off", &["bash sleep 300", "say never"]));
    server.wait_tool(&id);
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{id}"), None).0, 200);
    // The CLI says it when it is interrupted, which is after the task has ended.
    until("the late cost", || is_near(&server.task(&id)["costUsd"], CALL).then_some(()));
    assert_eq!(server.task(&id)["status"], "cancelled");
    assert!(is_near(&server.get("/api/usage")["totalUsd"], CALL));
    check_history(&world, &["--settled"]);
}
