//! Dependencies: tasks start behind those that they wait for, use what these leave, and end with them.

use std::fs;

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, scripted_claude, task, until};

/// A task of the real CLI with more fields.
fn with(world: &World, name: &str, script: &[&str], more: Value) -> Value {
    let mut body = task(&world.ws(), name, script);
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    body
}

fn batch(server: &Server, tasks: &[Value]) -> Vec<String> {
    let (status, answer) = server.http.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": tasks })));
    assert_eq!(status, 202, "{answer:#}");
    let ids = answer["tasks"].as_array().expect("tasks").iter();
    ids.map(|task| task["taskId"].as_str().expect("an id").to_owned()).collect()
}

fn refused(server: &Server, path: &str, body: Value) -> (u16, Value) {
    let (status, answer) = server.http.ask("POST", path, Some(body));
    (status, answer["error"].clone())
}

fn ends(server: &Server, id: &str, status: &str) -> Value {
    let done = server.wait_end(id);
    assert_eq!(done["status"], status, "{done:#}");
    done
}

fn results_are_handed_on(world: &World) {
    let server = world.serve("managed", &[]);
    let go = world.ws().join("go");
    let hold = format!("bash while ! test -e {}; do sleep 0.05; done", go.display());
    // The first of the batch waits for those behind it.
    let file = json!({ "name": "in.json", "content": "{\"found\": {{tasks.find.result|json}}, \"by\": \"{{tasks.other.status}}\"}" });
    let mut join = with(
        world,
        "join",
        &["say {{tasks.find.result}} and {{tasks.other.result}}"],
        json!({
            "dependsOn": [{ "task": "find" }, { "task": "loud", "as": "other", "on": "ended" }],
        }),
    );
    join["context"]["files"] = json!([file]);
    let find = with(world, "find", &[&hold, "say it is {{tasks.find.result}}"], json!({ "name": "find" }));
    let loud = with(world, "loud", &["error 400"], json!({ "name": "loud", "options": { "maxAttempts": 1 } }));
    let [join, find, loud] = batch(&server, &[join, find, loud]).try_into().expect("three");
    server.wait_tool(&find);
    ends(&server, &loud, "failed");
    let waiting = server.task(&join);
    assert_eq!(
        (&waiting["status"], &waiting["dueAt"], &waiting["dependencies"]),
        (&json!("pending"), &Value::Null, &json!(2))
    );
    let states: Vec<_> = waiting["dependsOn"]
        .as_array()
        .expect("both")
        .iter()
        .map(|one| (&one["as"], &one["state"], &one["status"]))
        .collect();
    assert_eq!(
        states,
        [(&json!("find"), &json!("open"), &json!("running")), (&json!("other"), &json!("met"), &json!("failed"))]
    );
    let why = server.get(&format!("/api/tasks/{join}/explain"));
    assert_eq!((&why["reasons"][0]["code"], &why["position"]), (&json!("WAITS_FOR_TASKS"), &Value::Null), "{why:#}");
    assert_eq!(why["reasons"][0]["tasks"][0]["task"], json!(find), "{why:#}");
    let graph = server.get(&format!("/api/tasks/{find}/graph"));
    assert_eq!(
        (graph["tasks"].as_array().map(Vec::len), graph["edges"].as_array().map(Vec::len)),
        (Some(3), Some(2)),
        "{graph:#}"
    );
    fs::write(&go, "").expect("a file");
    ends(&server, &find, "completed");
    // What stands in a result is no place.
    let done = ends(&server, &join, "completed");
    assert_eq!(done["result"], "it is {{tasks.find.result}} and API Error: 400 scripted", "{done:#}");
    let file = r#"{\"found\": \"it is {{tasks.find.result}}\", \"by\": \"failed\"}"#;
    assert!(world.model.calls().iter().any(|call| call.body.to_string().contains(file)), "{file}");
    check_history(world, &["--settled"]);
}

#[test]
fn results_are_handed_on_through_a_batch() {
    results_are_handed_on(&World::new());
}

#[test]
fn results_are_handed_on_through_a_batch_on_postgres() {
    results_are_handed_on(&World::on_postgres());
}

fn what_becomes_of_dependents(world: &World) {
    let server = world.serve("inline", &[]);
    let good = |name: &str, more: Value| with(world, name, &["say done"], more);
    world.model.script("unsteady", &["error 400"]);
    let folder = json!({ "workingDirectory": world.ws() });
    let first = json!({ "instruction": "unsteady", "context": folder, "runAt": "2125-01-01T00:00:00Z", "options": { "maxAttempts": 1 } });
    let first = server.submit(first);
    let on = |rule: &str| json!({ "dependsOn": [{ "task": first, "onFailure": rule }] });
    let [cancelled, runs, waits] = ["cancel", "run", "wait"].map(|rule| server.submit(good(rule, on(rule))));
    let behind = server.submit(good("behind", json!({ "dependsOn": [{ "task": cancelled }] })));
    let ended = server.submit(good("ended", json!({ "dependsOn": [{ "task": behind, "on": "ended" }] })));
    let waived = server.submit(good("waived", json!({ "dependsOn": [{ "task": waits }] })));
    let stopped = server.submit(good("stopped", json!({ "dependsOn": [{ "task": waits }] })));
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{stopped}"), None).0, 200);
    let patch = |id: &str, body: Value| server.http.ask("PATCH", &format!("/api/tasks/{id}"), Some(body));
    assert_eq!(patch(&first, json!({ "runAt": null })).0, 200);
    ends(&server, &first, "failed");
    ends(&server, &runs, "completed");
    for (id, on) in [(&cancelled, &first), (&behind, &cancelled)] {
        let done = ends(&server, id, "cancelled");
        assert_eq!(done["error"]["code"], "DEPENDENCY_FAILED", "{done:#}");
        assert!(done["error"]["message"].as_str().is_some_and(|text| text.contains(on.as_str())), "{done:#}");
    }
    ends(&server, &ended, "completed");
    // One that waits says what helps.
    let why = server.get(&format!("/api/tasks/{waits}/explain"));
    assert!(why["reasons"][0]["message"].as_str().is_some_and(|text| text.contains("/retry")), "{why:#}");
    // A later time, while it waits, is kept for later; a client can let it go on.
    assert_eq!(patch(&waived, json!({ "priority": 3, "runAt": "2125-01-01T00:00:00Z" })).0, 200);
    assert_eq!(server.task(&waived)["dueAt"], Value::Null);
    assert_eq!(patch(&waived, json!({ "dependsOn": [{ "task": first }] })).0, 422);
    let (status, left) = patch(&waived, json!({ "dependsOn": [], "runAt": null }));
    assert_eq!(status, 200, "{left:#}");
    let done = ends(&server, &waived, "completed");
    assert_eq!(done["dependsOn"][0]["state"], "waived", "{done:#}");
    // What has failed can't be depended on, but its retry stands for it: here, and for the one that waits.
    let (status, error) = refused(&server, "/api/tasks", good("late", json!({ "dependsOn": [{ "task": first }] })));
    assert_eq!(
        (status, &error["code"], &error["details"]["taskId"]),
        (409, &json!("DEPENDENCY_FAILED"), &json!(first))
    );
    world.model.script("unsteady", &["say done"]);
    let (status, again) = server.http.ask("POST", &format!("/api/tasks/{first}/retry"), None);
    assert_eq!(status, 202, "{again:#}");
    let again = again["taskId"].as_str().expect("an id").to_owned();
    let (status, retried) = server.http.ask("POST", &format!("/api/tasks/{cancelled}/retry"), None);
    assert_eq!(status, 202, "{retried:#}");
    let retried = retried["taskId"].as_str().expect("an id").to_owned();
    ends(&server, &again, "completed");
    ends(&server, &waits, "completed");
    let done = ends(&server, &retried, "completed");
    assert_eq!(done["dependsOn"][0]["task"], json!(again), "{done:#}");
    check_history(world, &["--settled"]);
}

#[test]
fn what_becomes_of_dependents_is_their_choice() {
    what_becomes_of_dependents(&World::new());
}

#[test]
fn what_becomes_of_dependents_is_their_choice_on_postgres() {
    what_becomes_of_dependents(&World::on_postgres());
}

#[test]
fn what_can_not_be_depended_on_is_refused() {
    let world = World::new();
    let keys = [("API_KEYS", "ann=anns-key-of-sixteen,ben=bens-key-of-sixteen")];
    let server = world.serve("standalone", &keys);
    let [ann, ben] = ["anns-key-of-sixteen", "bens-key-of-sixteen"].map(|key| Client::new(&server.http.url, key));
    let quick = |more: Value| with(&world, "quick", &["say done"], more);
    let (_, mine) = ann.ask("POST", "/api/tasks", Some(quick(json!({}))));
    let id = mine["taskId"].as_str().expect("an id");
    let on = |id: &str| quick(json!({ "dependsOn": [{ "task": id }] }));
    let (status, error) = ben.ask("POST", "/api/tasks", Some(on(id)));
    assert_eq!((status, &error["error"]["code"]), (404, &json!("DEPENDENCY_NOT_FOUND")), "{error}");
    assert_eq!(ann.ask("POST", "/api/tasks", Some(on(id))).0, 202);
    // An admin sees them all; what its tasks depend on is nobody else's to see.
    let (status, _) = server.http.ask("POST", "/api/tasks", Some(on(id)));
    assert_eq!(status, 202);
    let graph = ann.ask("GET", &format!("/api/tasks/{id}/graph"), None).1;
    assert_eq!(graph["tasks"].as_array().map(Vec::len), Some(2), "{graph:#}");
    let named = |name: &str, on: &str| quick(json!({ "name": name, "dependsOn": [{ "task": on }] }));
    for (tasks, field) in [
        (vec![named("a", "b"), named("b", "a")], "tasks[0].dependsOn"),
        (vec![named("a", "a")], "tasks[0].dependsOn"),
        (vec![quick(json!({})), named("a", "nobody")], "tasks[1].dependsOn"),
        (vec![quick(json!({ "name": "a" })), quick(json!({ "name": "a" }))], "tasks[1].name"),
    ] {
        let (status, error) = refused(&server, "/api/tasks/batch", json!({ "tasks": tasks }));
        assert_eq!((status, error["details"]["field"].as_str()), (422, Some(field)), "{error:#}");
    }
    let (status, error) = refused(&server, "/api/tasks", on("a-name"));
    assert_eq!((status, error["details"]["field"].as_str()), (422, Some("dependsOn")), "{error:#}");
    let schedule = json!({ "cron": "0 0 1 1 *", "task": on(id) });
    assert_eq!(refused(&server, "/api/schedules", schedule).0, 422);
}

/// One before many before one, and a chain: more of them than one commit settles.
fn many(world: &World, wide: usize, long: usize) {
    let settings = [("CLAUDE_PATH", &*scripted_claude()), ("QUEUE_CONCURRENCY", "8"), ("LOG_LEVEL", "info")];
    let server = world.serve("inline", &settings);
    let quick = |name: &str, on: Vec<Value>| json!({ "instruction": "quick", "name": name, "dependsOn": on });
    let first = json!({ "instruction": "quick", "name": "first", "runAt": "2125-01-01T00:00:00Z" });
    let root = server.submit(first);
    let fan = (0..wide).map(|n| quick(&format!("fan-{n}"), vec![json!({ "task": root })]));
    let fan = batch(&server, &fan.collect::<Vec<_>>());
    let last = server.submit(quick("last", fan.iter().map(|id| json!({ "task": id })).collect()));
    let chain = (0..long).map(|n| {
        let on = if n == 0 { root.clone() } else { format!("chain-{}", n - 1) };
        quick(&format!("chain-{n}"), vec![json!({ "task": on })])
    });
    let chain = batch(&server, &chain.collect::<Vec<_>>());
    assert_eq!(server.get("/api/queue/stats")["pending"], json!(wide + long + 2));
    assert_eq!(server.http.ask("PATCH", &format!("/api/tasks/{root}"), Some(json!({ "runAt": null }))).0, 200);
    ends(&server, &last, "completed");
    ends(&server, chain.last().expect("a chain"), "completed");
    let graph = server.get(&format!("/api/tasks/{last}/graph?limit=50"));
    assert_eq!((graph["tasks"].as_array().map(Vec::len), &graph["more"]), (Some(50), &json!(true)));
    // All that waits for one that is called off ends with it, however many there are.
    let root = server.submit(json!({ "instruction": "quick", "runAt": "2125-01-01T00:00:00Z" }));
    let fan = (0..wide).map(|_| json!({ "instruction": "quick", "dependsOn": [{ "task": root }] }));
    batch(&server, &fan.collect::<Vec<_>>());
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{root}"), None).0, 200);
    until("the end of all", || (server.get("/api/queue/stats")["pending"] == 0).then_some(()));
    assert_eq!(server.get("/api/queue/stats")["cancelled"], json!(wide + 1));
    check_history(world, &["--settled"]);
}

#[test]
fn more_than_one_commit_settles_are_settled() {
    many(&World::new(), 150, 12);
}

#[test]
fn more_than_one_commit_settles_are_settled_on_postgres() {
    many(&World::on_postgres(), 150, 12);
}

/// A process that dies between the end of a task and its dependents leaves them to the next one.
#[test]
fn dependents_of_a_task_that_ended_with_its_server_go_on() {
    let world = World::new();
    let settings = [("CLAUDE_PATH", &*scripted_claude())];
    let server = world.serve("standalone", &settings);
    let root = server.submit(json!({ "instruction": "quick" }));
    let fan = (0..250).map(|_| json!({ "instruction": "quick", "dependsOn": [{ "task": root, "on": "ended" }] }));
    let fan = batch(&server, &fan.collect::<Vec<_>>());
    let next = json!({ "instruction": "quick", "dependsOn": [{ "task": fan[249] }] });
    let next = server.submit(next);
    // Killed behind the commit of the cancel, which settles the first hundred.
    let mut process = server.process;
    process.signal("KILL");
    process.wait();
    let db = rusqlite::Connection::open(world.dir.join("data/cc.db")).expect("the database");
    db.execute(
        "UPDATE tasks SET status = 'cancelled', completed_at = 1 WHERE id = (SELECT on_task FROM dependencies LIMIT 1)",
        [],
    )
    .expect("ended");
    db.execute("INSERT INTO unsettled SELECT on_task FROM dependencies LIMIT 1", []).expect("noted");
    drop(db);
    let server = world.serve("inline", &settings);
    ends(&server, &next, "completed");
}

#[test]
fn the_command_line_has_them() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let cli = |args: &[&str]| {
        let output = world.command(args[0], &[("PORT", &port)]).args(&args[1..]).output().expect("the client");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).expect("text")
    };
    let dir = world.ws().display().to_string();
    let first = cli(&["submit", "--name", "first", "--dir", &dir, "one\nstep say found"]);
    let first = first.trim();
    let second =
        cli(&["submit", "--after", &format!("it={first}"), "--dir", &dir, "two\nstep say so {{tasks.it.result}}"]);
    let done = ends(&server, second.trim(), "completed");
    assert_eq!(done["result"], "so found", "{done:#}");
    let shown = cli(&["show", second.trim()]);
    assert!(shown.contains("it (completed)"), "{shown}");
}
