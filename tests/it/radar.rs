//! Two running tasks that change the same file are told of each other.

use serde_json::{Value, json};

use crate::isolation::repository;
use crate::support::{Server, World, check_history, task, until};

/// A task that writes this file, and then waits in its folder until it is let go.
fn writes(server: &Server, folder: &std::path::Path, name: &str, file: &str, worktree: bool) -> String {
    let wait = format!("bash until [ -e {}/go ]; do sleep 0.02; done", folder.parent().expect("a folder").display());
    let mut body = task(folder, name, &[&format!("write {file} {name}"), &wait, "say done"]);
    body["options"]["useWorktree"] = json!(worktree);
    server.submit(body)
}

fn conflicts(server: &Server, id: &str) -> Vec<(Value, Value)> {
    let task = server.task(id);
    let all = task["conflicts"].as_array().expect("a list").iter();
    all.map(|one| (one["taskId"].clone(), one["path"].clone())).collect()
}

fn both_are_told(world: &World) {
    let server = world.serve("managed", &[("QUEUE_CONCURRENCY", "4"), ("EXCLUSIVE_DIRECTORY", "off")]);
    let folder = repository(world);
    let place = json!(folder.join("sub/new.rs"));
    // Three copies of one repository: two worktrees, and the folder itself.
    let first = writes(&server, &folder, "first", "sub/new.rs", true);
    let other = writes(&server, &folder, "other", "sub/else.rs", true);
    let event = |id: &str| server.follow(id, |event| event["kind"] == "tool_use").expect("a call");
    event(&first);
    event(&other);
    let second = writes(&server, &folder, "second", "sub/new.rs", true);
    let told = server.follow(&first, |event| event["data"]["conflict"].is_object()).expect("a conflict");
    assert_eq!(told["data"]["conflict"], json!({ "taskId": second, "path": place }), "{told}");
    assert_eq!(conflicts(&server, &second), [(json!(first), place.clone())]);
    let third = writes(&server, &folder, "third", "sub/new.rs", false);
    server.follow(&third, |event| event["data"]["conflict"].is_object()).expect("a conflict");
    assert_eq!(conflicts(&server, &third).len(), 2);
    assert_eq!(conflicts(&server, &first).len(), 2);
    assert_eq!(conflicts(&server, &other), [], "another file");
    assert_eq!(server.get("/api/tasks")["tasks"][0]["conflicts"], json!([]), "lists do without");
    // Stopped, it is in nobody's way.
    server.http.ask("DELETE", &format!("/api/tasks/{third}"), None);
    assert_eq!(conflicts(&server, &first).len(), 1);
    std::fs::write(folder.parent().expect("a folder").join("go"), "").expect("a file");
    for id in [&first, &second, &other] {
        assert_eq!(server.wait_end(id)["status"], "completed");
    }
    assert_eq!(conflicts(&server, &first), [], "it runs no more");
    let lines = server.get(&format!("/api/tasks/{first}/logs"))["logs"].to_string();
    assert_eq!(lines.matches("changes").count(), 2, "each is told once: {lines}");
    check_history(world, &["--settled"]);
}

#[test]
fn both_tasks_are_told() {
    both_are_told(&World::new());
}

#[test]
fn the_same_on_postgres() {
    both_are_told(&World::on_postgres());
}

#[test]
fn contenders_and_other_keys_are_none_of_its_business() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "4")]);
    let folder = repository(&world);
    let wait = format!("bash until [ -e {}/go ]; do sleep 0.02; done", world.ws().display());
    let mut body = task(&folder, "race", &["write sub/new.rs x", &wait, "say done"]);
    body["race"] = json!({ "n": 2, "pick": "me" });
    let race = server.http.ask("POST", "/api/tasks", Some(body.clone())).1["race"].clone();
    let ids: Vec<String> = serde_json::from_value(race).expect("ids");
    let key = json!({ "name": "other", "scopes": ["read", "submit"] });
    let (status, key) = server.http.ask("POST", "/api/keys", Some(key));
    assert_eq!(status, 201, "{key}");
    let other = crate::support::http::Client::new(&server.http.url, key["key"].as_str().expect("a secret"));
    body.as_object_mut().expect("an object").remove("race");
    body["options"]["useWorktree"] = json!(true);
    let theirs = other.ask("POST", "/api/tasks", Some(body)).1["taskId"].as_str().expect("an id").to_owned();
    for id in ids.iter().chain([&theirs]) {
        until("a call of Bash", || {
            let events = server.get(&format!("/api/tasks/{id}/events/page?kind=tool_use"));
            (events["events"].as_array().map(Vec::len) == Some(2)).then_some(())
        });
        assert_eq!(conflicts(&server, id), []);
    }
    std::fs::write(world.ws().join("go"), "").expect("a file");
    ids.iter().chain([&theirs]).for_each(|id| drop(server.wait_end(id)));
}
