//! Tasks that are made from inside a running task: of its key, within its budget, and cancelled with it.
//!
//! One call of the scripted model costs 0.000175 US dollars by the CLI's own price list.

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, task, until};

const CALL: f64 = 0.000_175;

/// Waits for a file in the folder of the tasks.
fn wait_for(world: &World, file: &str) -> String {
    format!("bash while ! test -e {}/{file}; do sleep 0.05; done", world.ws().display())
}

fn let_go(world: &World, file: &str) {
    std::fs::write(world.ws().join(file), "").expect("a file");
}

fn with_budget(mut body: Value, calls: f64) -> Value {
    body["options"]["sdk"]["maxBudgetUsd"] = json!(calls * CALL);
    body
}

fn child(parent: &str, mut body: Value) -> Value {
    body["parent"] = json!(parent);
    body
}

/// Asserts that a task is refused. Returns the error.
#[track_caller]
fn refused(client: &Client, body: Value, status: u16, code: &str) -> Value {
    let (found, answer) = client.ask("POST", "/api/tasks", Some(body));
    assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{answer}");
    answer["error"].clone()
}

/// Asserts that so many calls are left, and a part of one: that under way is known in part.
#[track_caller]
fn is_left(error: &Value, calls: f64) {
    let left = error["details"]["leftUsd"].as_f64().unwrap_or_else(|| panic!("{error}")) / CALL;
    assert!(calls < left && left < calls + 1.0, "{error}");
}

/// Waits until it is known that a running task has cost something.
fn wait_cost(server: &Server, id: &str) {
    until("the cost of a call", || server.task(id)["costSoFar"].is_number().then_some(()));
}

fn children_share_the_budget(world: &World) {
    // All of the day's money is the parent's.
    let day = format!("{:.6}", 6.0 * CALL);
    let server =
        world.serve("inline", &[("DAILY_BUDGET_USD", &day), ("TASK_BUDGET_USD", "0.0001"), ("QUEUE_CONCURRENCY", "4")]);
    let steps = [&*wait_for(world, "go"), "bash true", "bash true", "bash true", "say done"];
    let parent = server.submit(with_budget(task(&world.ws(), "parent", &steps), 6.0));
    server.wait_tool(&parent);
    wait_cost(&server, &parent);
    let steps = [&*wait_for(world, "child-go"), "say from the child"];
    let body = |calls| child(&parent, with_budget(task(&world.ws(), "child", &steps), calls));
    let error = refused(&server.http, child(&parent, task(&world.ws(), "without", &["say no"])), 422, "INVALID_INPUT");
    is_left(&error, 5.0);
    is_left(&refused(&server.http, body(5.9), 403, "BUDGET_EXCEEDED"), 5.0);
    let made = server.submit(body(4.0));
    assert_eq!(server.task(&made)["parent"], json!(parent));
    // It runs, though the day's money was reserved: its own was a part of that.
    server.wait_tool(&made);
    is_left(&refused(&server.http, body(2.0), 403, "BUDGET_EXCEEDED"), 1.0);
    until("the parent to be told", || server.process.logs().contains("Budget changed").then_some(()));
    let_go(world, "go");
    let ended = server.wait_end(&parent);
    assert_eq!(ended["status"], "failed", "{ended:#}");
    let cost = ended["costUsd"].as_f64().expect("a cost");
    assert!((cost - 2.0 * CALL).abs() < 1e-6, "it has spent what its child has left it: {ended:#}");
    let_go(world, "child-go");
    let made = server.wait_end(&made);
    assert_eq!((&made["status"], &made["result"]), (&json!("completed"), &json!("from the child")), "{made:#}");
    refused(&server.http, body(1.0), 409, "PARENT_NOT_RUNNING");
    check_history(world, &["--settled"]);
}

#[test]
fn children_share_the_budget_of_their_parent() {
    children_share_the_budget(&World::new());
}

#[test]
fn children_share_the_budget_of_their_parent_on_postgres() {
    children_share_the_budget(&World::on_postgres());
}

#[test]
fn what_a_child_has_not_spent_goes_back() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let steps = [&*wait_for(&world, "go"), "bash true", "say done"];
    let parent = server.submit(with_budget(task(&world.ws(), "parent", &steps), 4.0));
    server.wait_tool(&parent);
    wait_cost(&server, &parent);
    let made = server.submit(child(&parent, with_budget(task(&world.ws(), "child", &["say early"]), 3.0)));
    assert_eq!(server.wait_end(&made)["status"], "completed");
    let inner = child(&parent, with_budget(task(&world.ws(), "more", &["say no"]), 3.0));
    is_left(&refused(&server.http, inner, 403, "BUDGET_EXCEEDED"), 2.0);
    let_go(&world, "go");
    // Three calls: with what was the child's it would have had one.
    let ended = server.wait_end(&parent);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("done")), "{ended:#}");
    check_history(&world, &["--settled"]);
}

fn families_have_bounds(world: &World) {
    let keys = "alice=a-key-of-sixteen-or-more,bob=another-key-of-sixteen";
    let server = world.serve("inline", &[("API_KEYS", keys), ("QUEUE_CONCURRENCY", "6")]);
    let alice = Client::new(&server.http.url, "a-key-of-sixteen-or-more");
    let bob = Client::new(&server.http.url, "another-key-of-sixteen");
    let long = |name: &str| task(&world.ws(), name, &["bash sleep 300", "say never"]);
    let submit = |client: &Client, body: Value| {
        let (status, answer) = client.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{answer}");
        let id = answer["taskId"].as_str().expect("an id").to_owned();
        server.wait_tool(&id);
        id
    };
    let parent = submit(&alice, long("parent"));
    // An agent may hold another key: what it makes is of the key of its task.
    let middle = submit(&server.http, child(&parent, long("middle")));
    assert_eq!(alice.ask("GET", &format!("/api/tasks/{middle}"), None).0, 200, "it is hers");
    let below = submit(&alice, child(&middle, long("below")));
    let aside = submit(&alice, child(&parent, long("aside")));
    refused(&alice, child(&below, long("too deep")), 403, "TOO_DEEP");
    refused(&bob, child(&parent, long("of another")), 404, "PARENT_NOT_FOUND");
    let nobody = "00000000-0000-7000-8000-000000000000";
    refused(&alice, child(nobody, long("of nobody")), 404, "PARENT_NOT_FOUND");
    let listed = server.get(&format!("/api/tasks?parent={parent}"));
    let ids: Vec<&str> =
        listed["tasks"].as_array().expect("tasks").iter().filter_map(|one| one["taskId"].as_str()).collect();
    assert_eq!((ids, &listed["total"]), (vec![&*aside, &*middle], &json!(2)));
    let schedule = json!({ "cron": "0 0 1 1 *", "task": child(&parent, long("by the clock")) });
    assert_eq!(alice.ask("POST", "/api/schedules", Some(schedule)).0, 422);
    // All or none.
    let both = json!({ "tasks": [child(&parent, long("one")), child(&below, long("two"))] });
    let (status, answer) = alice.ask("POST", "/api/tasks/batch", Some(both));
    assert_eq!((status, &answer["error"]["details"]["index"]), (403, &json!(1)), "{answer}");
    assert_eq!(server.get(&format!("/api/tasks?parent={parent}"))["total"], 2);

    assert_eq!(alice.ask("DELETE", &format!("/api/tasks/{parent}"), None).0, 200);
    for id in [&middle, &below, &aside] {
        let ended = server.task(id);
        let found = (&ended["status"], &ended["error"]["code"]);
        assert_eq!(found, (&json!("cancelled"), &json!("PARENT_CANCELLED")), "with the same commit: {ended:#}");
    }
    until("all processes to end", || world.processes_with("sleep 300").is_empty().then_some(()));
    // Run again it stands alone.
    let (status, again) = alice.ask("POST", &format!("/api/tasks/{middle}/retry"), None);
    assert_eq!(status, 202, "{again}");
    let again = again["taskId"].as_str().expect("an id").to_owned();
    assert_eq!((&server.task(&again)["parent"], &server.task(&middle)["parent"]), (&Value::Null, &json!(parent)));
    alice.ask("DELETE", &format!("/api/tasks/{again}"), None);
    check_history(world, &["--settled"]);
}

#[test]
fn families_have_bounds_and_end_together() {
    families_have_bounds(&World::new());
}

#[test]
fn families_have_bounds_and_end_together_on_postgres() {
    families_have_bounds(&World::on_postgres());
}

#[test]
fn an_agent_that_submits_by_the_command_line_makes_children() {
    let world = World::new();
    let program = std::path::Path::new(crate::support::PROGRAM).parent().expect("a folder").display().to_string();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "2"), ("WARM_STANDBY", "1"), ("AGENT_READ", &program)]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let submit =
        format!("bash PORT={port} API_KEY={} {} submit 'step say within'", server.http.key(), crate::support::PROGRAM);
    // The second finds a process that was started before it, and is known by its session.
    for name in ["first", "second"] {
        let parent = server.submit(task(&world.ws(), name, &[&submit, "say submitted"]));
        assert_eq!(server.wait_end(&parent)["result"], "submitted");
        let made = server.get(&format!("/api/tasks?parent={parent}"))["tasks"][0]["taskId"].as_str().map(str::to_owned);
        let made = made.unwrap_or_else(|| panic!("{}", server.get(&format!("/api/tasks/{parent}/logs"))));
        assert_eq!(server.wait_end(&made)["result"], "within");
    }
    check_history(&world, &["--settled"]);
}

#[test]
fn a_parent_whose_worker_dies_goes_on_beside_its_child() {
    let world = World::new();
    // All of the day's money is the parent's; a part of it the child's.
    let day = format!("{:.6}", 8.0 * CALL);
    let settings =
        [("DAILY_BUDGET_USD", &*day), ("TASK_BUDGET_USD", "0.0001"), ("WORKER_COUNT", "2"), ("QUEUE_CONCURRENCY", "1")];
    let server = world.serve("managed", &settings);
    let steps = [&*wait_for(&world, "go"), "say done"];
    let parent = server.submit(with_budget(task(&world.ws(), "parent", &steps), 8.0));
    server.wait_tool(&parent);
    let steps = [&*wait_for(&world, "child-go"), "say from the child"];
    let made = server.submit(child(&parent, with_budget(task(&world.ws(), "child", &steps), 3.0)));
    server.wait_tool(&made);
    let worker = server.task(&parent)["workerId"].as_str().expect("a worker").to_owned();
    crate::support::signal(server.worker_pid(&worker), "KILL");
    until("the parent to go on", || (server.task(&parent)["attempt"] == 2).then_some(()));
    assert_eq!(server.task(&made)["status"], "running", "what it has left is enough, and the child keeps its part");
    let_go(&world, "go");
    let_go(&world, "child-go");
    assert_eq!(server.wait_end(&parent)["status"], "completed");
    assert_eq!(server.wait_end(&made)["status"], "completed");
    check_history(&world, &["--settled"]);
}
