//! Limits on groups of tasks: how many at a time, how many starts in a time, and none for now.

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, task, until};

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

fn explain(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/tasks/{id}/explain"))
}

/// Waits until a task is held back for this reason, and returns the whole answer.
fn held(server: &Server, id: &str, code: &str) -> Value {
    until(&format!("{code} of {id}"), || {
        Some(explain(server, id)).filter(|answer| answer["reasons"][0]["code"] == code)
    })
}

fn put(server: &Server, limit: Value) -> Value {
    let (status, answer) = server.http.ask("PUT", "/api/queue/limits", Some(limit));
    assert_eq!(status, 200, "{answer}");
    answer
}

#[test]
fn tasks_of_one_concurrency_key_run_one_at_a_time_or_as_many_as_its_limit_says() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let of = |name: &str, key: &str| {
        let wait = format!(
            "bash touch {0}/{name}.begun; while ! test -e {0}/{name}.go; do sleep 0.05; done",
            world.ws().display()
        );
        server.submit(with(task(&world.ws(), name, &[&wait, "say done"]), "concurrencyKey", json!(key)))
    };
    let begun = |name: &str| until(name, || world.ws().join(format!("{name}.begun")).exists().then_some(()));
    let go = |name: &str| std::fs::write(world.ws().join(format!("{name}.go")), "").expect("a file");
    let ids: Vec<String> = ["a", "b", "c"].map(|name| of(name, "repo")).into();
    begun("a");
    let third = held(&server, &ids[2], "CONCURRENCY_LIMIT");
    assert_eq!(third["position"], 2, "the second of two that wait for it: {third:#}");
    let rule = &third["reasons"][0]["rule"];
    assert_eq!(
        (&rule["group"], &rule["name"], &rule["concurrency"]),
        (&json!("concurrencyKey"), &json!("repo"), &json!(1))
    );
    let other = of("other", "another");
    begun("other");
    // One that waits is moved ahead of the other.
    server.http.ask("PATCH", &format!("/api/tasks/{}", ids[2]), Some(json!({ "priority": 9 })));
    assert_eq!(explain(&server, &ids[2])["position"], 1);
    go("a");
    begun("c");
    assert_eq!(explain(&server, &ids[1])["reasons"][0]["code"], "CONCURRENCY_LIMIT");
    put(&server, json!({ "group": "concurrencyKey", "name": "repo", "concurrency": 2 }));
    begun("b");
    ["b", "c", "other"].into_iter().for_each(go);
    for id in ids.iter().chain([&other]) {
        let done = server.wait_end(id);
        assert_eq!((&done["status"], done["concurrencyKey"].is_string()), (&json!("completed"), true), "{done:#}");
    }
    check_history(&world, &["--settled"]);
}

/// In no time of this length more of a group start than may.
fn no_more_start_than_may(group: Value) {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "4"), ("CLAUDE_PATH", "/bin/false")]);
    let mut limit = json!({ "rate": { "starts": 2, "periodMs": 1200 } });
    limit.as_object_mut().expect("an object").extend(group.as_object().expect("an object").clone());
    put(&server, limit);
    let one = |n: usize, tags: Value| {
        let mut body = with(task(&world.ws(), &format!("{n}"), &["say done"]), "tags", tags);
        body["options"]["maxAttempts"] = json!(1);
        body
    };
    let bodies: Vec<_> = (0..4).map(|n| one(n, json!(["slow"]))).collect();
    let (_, answer) = server.http.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": bodies })));
    let ids: Vec<&str> =
        answer["tasks"].as_array().expect("tasks").iter().filter_map(|one| one["taskId"].as_str()).collect();
    let last = held(&server, ids[3], "RATE_LIMIT");
    let reason = &last["reasons"][0];
    assert!(reason["until"].is_string() && reason["rule"]["rate"]["starts"] == 2, "{last:#}");
    assert_eq!(reason["rule"]["group"], group["group"]);
    if group["group"] == "tag" {
        let free = server.submit(one(9, json!([])));
        server.wait_end(&free);
        assert_eq!(explain(&server, ids[3])["reasons"][0]["code"], "RATE_LIMIT", "others pass it");
    }
    // The CLI of this test dies at once, and is tried again: each start counts.
    let mut starts = Vec::new();
    for id in &ids {
        let ended = server.wait_end(id);
        for attempt in ended["attempts"].as_array().expect("attempts") {
            let at: jiff::Timestamp = attempt["startedAt"].as_str().expect("a time").parse().expect("a time");
            starts.push(at.as_millisecond());
        }
    }
    starts.sort_unstable();
    assert!(starts.len() >= 4 && starts.windows(3).all(|three| three[2] - three[0] >= 1200), "{starts:?}");
    check_history(&world, &["--settled"]);
}

#[test]
fn no_more_of_a_tag_start_in_a_time_than_may() {
    no_more_start_than_may(json!({ "group": "tag", "name": "slow" }));
}

#[test]
fn no_more_of_a_key_start_in_a_time_than_may() {
    no_more_start_than_may(json!({ "group": "key", "name": "default" }));
}

#[test]
fn no_more_of_all_start_in_a_time_than_may() {
    no_more_start_than_may(json!({ "group": "queue" }));
}

#[test]
fn a_group_is_paused_until_it_goes_on_over_a_restart() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let pause = |server: &Server, path: &str, body: Value| server.http.ask("POST", path, Some(body));
    let (status, paused) = pause(&server, "/api/queue/pause", json!({ "tag": "deploy" }));
    assert_eq!((status, &paused["paused"], &paused["group"]), (200, &json!(true), &json!("tag")), "{paused}");
    let tagged = with(task(&world.ws(), "tagged", &["say done"]), "tags", json!(["deploy", "x"]));
    let id = server.submit(tagged);
    let why = held(&server, &id, "GROUP_PAUSED");
    assert_eq!((why["reasons"][0].get("until"), &why["position"]), (None, &json!(1)), "{why:#}");
    let other = server.submit(task(&world.ws(), "other", &["say done"]));
    assert_eq!(server.wait_end(&other)["status"], "completed");
    let limits = server.get("/api/queue/limits");
    assert_eq!((&limits["limits"][0]["name"], &limits["limits"][0]["waiting"]), (&json!("deploy"), &json!(1)));
    drop(server);
    let server = world.serve("inline", &[]);
    assert_eq!(explain(&server, &id)["reasons"][0]["code"], "GROUP_PAUSED");
    pause(&server, "/api/queue/start", json!({ "tag": "deploy" }));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(server.get("/api/queue/limits")["limits"], json!([]));
    for (method, path, body, field) in [
        ("PUT", "/api/queue/limits", Some(json!({ "group": "tag", "concurrency": 1 })), "name"),
        ("PUT", "/api/queue/limits", Some(json!({ "group": "queue", "name": "x" })), "name"),
        ("PUT", "/api/queue/limits", Some(json!({ "group": "queue", "concurrency": 0 })), "concurrency"),
        (
            "PUT",
            "/api/queue/limits",
            Some(json!({ "group": "queue", "rate": { "starts": 0, "periodMs": 1 } })),
            "rate.starts",
        ),
        ("PUT", "/api/queue/limits", Some(json!({ "group": "folder", "name": "x" })), "group"),
        ("PUT", "/api/queue/limits", Some(json!({ "group": "queue", "paused": true })), "paused"),
        ("DELETE", "/api/queue/limits?group=folder", None, "group"),
        ("POST", "/api/queue/pause", Some(json!({ "tag": "a", "key": "b" })), "body"),
        (
            "POST",
            "/api/tasks",
            Some(json!({ "instruction": "x", "concurrencyKey": "k".repeat(129) })),
            "concurrencyKey",
        ),
    ] {
        let (status, answer) = server.http.ask(method, path, body);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{path}: {answer}");
    }
    check_history(&world, &["--settled"]);
}
