//! Fairness: no key starves another, whatever the one has pending; not behind a limit either.

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, scripted_claude, until};

const KEYS: &str = "ann=anns-key-of-sixteen,ben=bens-key-of-sixteen";

/// A queue that is paused, with workers that run one task at a time, and the clients of two keys.
fn start(world: &World, more: &[(&str, &str)]) -> (Server, [Client; 2]) {
    let claude = scripted_claude();
    let settings =
        [("CLAUDE_PATH", claude.as_str()), ("API_KEYS", KEYS), ("QUEUE_CONCURRENCY", "1"), ("LOG_LEVEL", "info")];
    let server = world.serve("inline", &[&settings, more].concat());
    pause(&server, true);
    let clients = ["anns-key-of-sixteen", "bens-key-of-sixteen"].map(|key| Client::new(&server.http.url, key));
    (server, clients)
}

fn pause(server: &Server, is: bool) {
    let path = if is { "/api/queue/pause" } else { "/api/queue/start" };
    assert_eq!(server.http.ask("POST", path, None).0, 200);
}

fn submit(client: &Client, many: usize, more: Value) {
    let mut task = json!({ "instruction": "quick" });
    task.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (status, answer) = client.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": vec![task; many] })));
    assert_eq!(status, 202, "{answer}");
}

/// Keys or tags of all tasks, in the order in which they started.
fn order(server: &Server) -> Vec<String> {
    until("the end of all", || (server.get("/api/queue/stats")["size"] == 0).then_some(()));
    let page = server.get("/api/tasks?limit=100");
    let mut tasks: Vec<&Value> = page["tasks"].as_array().expect("tasks").iter().collect();
    tasks.sort_by_key(|task| task["startedAt"].as_str().expect("a start").to_owned());
    let name = |task: &&Value| task["tags"][0].as_str().expect("a tag").to_owned();
    tasks.iter().map(name).collect()
}

fn place(order: &[String], name: &str) -> usize {
    order.iter().position(|one| one == name).expect("it started")
}

fn none_waits_for_all_of_another(world: &World) {
    let (server, [ann, ben]) = start(world, &[]);
    submit(&ann, 40, json!({ "tags": ["ann"] }));
    submit(&ben, 1, json!({ "tags": ["ben"] }));
    let page = ben.ask("GET", "/api/tasks", None).1;
    let id = page["tasks"][0]["taskId"].as_str().expect("an id").to_owned();
    let why = ben.ask("GET", &format!("/api/tasks/{id}/explain"), None).1;
    assert_eq!(why["position"], 2, "{why:#}");
    pause(&server, false);
    let order = order(&server);
    assert!(place(&order, "ben") <= 1, "{order:?}");
    check_history(world, &["--settled"]);
}

#[test]
fn none_waits_for_all_that_another_has() {
    none_waits_for_all_of_another(&World::new());
}

#[test]
fn none_waits_for_all_that_another_has_on_postgres() {
    none_waits_for_all_of_another(&World::on_postgres());
}

fn nor_behind_a_limit(world: &World) {
    let (server, [ann, ben]) = start(world, &[("QUEUE_CONCURRENCY", "4")]);
    let limit = json!({ "group": "queue", "concurrency": 1 });
    assert_eq!(server.http.ask("PUT", "/api/queue/limits", Some(limit)).0, 200);
    submit(&ann, 30, json!({ "tags": ["ann"] }));
    pause(&server, false);
    // The others are held back by now.
    until("some of them", || (server.get("/api/queue/stats")["completed"].as_i64() >= Some(3)).then_some(()));
    submit(&ben, 1, json!({ "tags": ["ben"] }));
    let order = order(&server);
    assert!(place(&order, "ben") < 20, "{order:?}");
    check_history(world, &["--settled"]);
}

#[test]
fn a_limit_lets_go_share_by_share() {
    nor_behind_a_limit(&World::new());
}

#[test]
fn a_limit_lets_go_share_by_share_on_postgres() {
    nor_behind_a_limit(&World::on_postgres());
}

#[test]
fn shares_may_be_tags_and_have_weights() {
    let world = World::new();
    let settings = [("FAIRNESS", "tag:team-"), ("FAIRNESS_WEIGHTS", "team-b=3, team-c=1")];
    let (server, [ann, _]) = start(&world, &settings);
    for tag in ["team-a", "team-b"] {
        submit(&ann, 20, json!({ "tags": [tag, "team-x"] }));
    }
    pause(&server, false);
    let order = order(&server);
    let of_b = order[..16].iter().filter(|tag| *tag == "team-b").count();
    assert!((11..=13).contains(&of_b), "{order:?}");
    check_history(&world, &["--settled"]);
}

#[test]
fn without_fairness_tasks_start_by_age() {
    let world = World::new();
    let (server, [ann, ben]) = start(&world, &[("FAIRNESS", "off")]);
    submit(&ann, 10, json!({ "tags": ["ann"] }));
    submit(&ben, 1, json!({ "tags": ["ben"] }));
    pause(&server, false);
    assert_eq!(place(&order(&server), "ben"), 10);
    check_history(&world, &["--settled"]);
    for (name, value) in
        [("FAIRNESS", "tags"), ("FAIRNESS", "tag:"), ("FAIRNESS_WEIGHTS", "a=0"), ("FAIRNESS_WEIGHTS", "a")]
    {
        let output = world.command("serve", &[(name, value)]).output().expect("it ends");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(2) && said.contains(name), "{said}");
    }
}
