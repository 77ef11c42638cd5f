//! The crash button, and the proof that nothing was lost: what it says of tasks that crashed, were called off and retried.

use serde_json::{Value, json};

use crate::support::{Server, World, poll, scripted_claude, task, until};

fn whats(proof: &Value) -> Vec<&str> {
    proof["steps"].as_array().expect("steps").iter().map(|step| step["what"].as_str().expect("a name")).collect()
}

fn kept(proof: &Value) -> bool {
    let promises = proof["promises"].as_array().expect("promises");
    proof["ok"] == true && promises.iter().all(|promise| promise["broken"] == json!([]))
}

fn crash_and_prove(world: &World) {
    let server = world.serve("managed", &[("CRASH_BUTTON", "on")]);
    let go = world.ws().join("go");
    let hold = format!("bash while ! test -e {}; do sleep 0.05; done", go.display());
    let id = server.submit(task(&world.ws(), "survives", &[&hold, "say still here"]));
    server.wait_tool(&id);
    let (status, crashed) = server.http.ask("POST", "/api/workers/worker-0/crash", None);
    assert_eq!((status, &crashed["workerId"]), (202, &json!("worker-0")), "{crashed}");
    until("the next process", || (server.get("/api/workers/worker-0")["pid"] != crashed["pid"]).then_some(()));
    server.follow(&id, |event| event["data"]["attempt"] == 2).expect("a second attempt");
    std::fs::write(&go, "").expect("a file");
    assert_eq!(server.wait_end(&id)["result"], "still here");
    let proof = server.get(&format!("/api/proof/{id}"));
    assert!(kept(&proof), "{proof:#}");
    let whats = whats(&proof);
    let count = |what: &str| whats.iter().filter(|one| **one == what).count();
    assert_eq!(
        (whats[0], count("submit"), count("claim"), count("takeBack"), count("finish")),
        ("submit", 1, 2, 1, 1),
        "{proof:#}"
    );
    // The first guard was ended with its worker, and couldn't write down the end of its tree: who took the task back has seen to that.
    assert_eq!((count("born"), count("dead")), (2, 1), "{proof:#}");
    let place = |what: &str| whats.iter().position(|one| *one == what).expect("a step");
    assert!(place("takeBack") < whats.iter().rposition(|what| *what == "claim").expect("a claim"), "{proof:#}");
    let all = poll(std::time::Duration::from_secs(15), || {
        let all = server.get("/api/proof");
        (all["tasks"] == 1).then_some(all)
    });
    let all = all.expect("a check");
    assert!(kept(&all) && all["attempts"] == 2 && all["changes"].as_i64().expect("a number") >= 5, "{all:#}");
    assert_eq!(all["promises"].as_array().map(Vec::len), Some(21));
}

#[test]
fn a_task_whose_worker_is_crashed_proves_that_nothing_was_lost() {
    crash_and_prove(&World::new());
}

#[test]
fn the_same_on_postgres() {
    crash_and_prove(&World::on_postgres());
}

#[test]
fn the_button_is_there_only_where_it_is_wanted() {
    let scripted = scripted_claude();
    let settings = [("CLAUDE_PATH", scripted.as_str())];
    let world = World::new();
    let server = world.serve("managed", &settings);
    let crash = |server: &Server, name: &str| server.http.ask("POST", &format!("/api/workers/{name}/crash"), None);
    let (status, answer) = crash(&server, "worker-0");
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("CRASH_BUTTON_OFF")), "{answer}");
    drop(server);
    let server = world.serve("managed", &[("CLAUDE_PATH", scripted.as_str()), ("CRASH_BUTTON", "on")]);
    assert_eq!(crash(&server, "nobody").0, 404);
    assert_eq!(server.http.ask("GET", "/api/proof/nonsense", None).0, 404);
}

/// What waits is told when it will start, as far as others tell, and by tasks that the caller may see.
#[test]
fn a_task_that_waits_is_told_what_it_may_expect() {
    let world = World::new();
    let server =
        world.serve("inline", &[("QUEUE_CONCURRENCY", "1"), ("API_KEYS", "other=a-key-of-sixteen-characters")]);
    let explain = |id: &str| server.get(&format!("/api/tasks/{id}/explain"));
    let plain = |name: &str| task(&world.ws(), name, &["say done"]);
    let later = server.submit(json!({ "instruction": "later", "runAt": "2125-01-01T00:00:00Z" }));
    assert_eq!(explain(&later)["forecast"], Value::Null, "nothing has ended");
    for n in 0..3 {
        let done = server.submit(plain(&format!("done {n}")));
        server.wait_end(&done);
    }
    let forecast = explain(&later)["forecast"].clone();
    assert_eq!((&forecast["basedOn"], &forecast["like"]), (&json!(3), &json!("model")), "{forecast}");
    assert!(forecast["startsAt"].as_str().expect("a time").starts_with("2125-01-01T00:00"), "{forecast}");
    assert!(forecast["durationMs"]["most"].as_i64() >= forecast["durationMs"]["median"].as_i64(), "{forecast}");
    assert!(forecast["costUsd"]["median"].as_f64().expect("a cost") > 0.0, "{forecast}");
    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let runs = server.submit(task(&world.ws(), "runs", &[&hold, "say done"]));
    server.wait_tool(&runs);
    assert_eq!(explain(&runs)["forecast"]["startsAt"], Value::Null);
    let waits = server.submit(plain("waits"));
    let forecast = explain(&waits)["forecast"].clone();
    assert_eq!(forecast["like"], "folder and model", "{forecast}");
    assert!(forecast["startsAt"].is_string(), "{forecast}");
    server.http.ask("POST", "/api/queue/pause", None);
    assert_eq!(explain(&waits)["forecast"]["startsAt"], Value::Null, "somebody must start it");
    // What others' tasks took is not told.
    let other = crate::support::http::Client::new(&server.http.url, "a-key-of-sixteen-characters");
    let (_, own) = other.ask("POST", "/api/tasks", Some(json!({ "instruction": "mine" })));
    let path = format!("/api/tasks/{}/explain", own["taskId"].as_str().expect("an id"));
    assert_eq!(other.ask("GET", &path, None).1["forecast"], Value::Null);
    std::fs::write(world.ws().join("go"), "").expect("a file");
    server.wait_end(&runs);
    assert_eq!(explain(&runs)["forecast"], Value::Null, "it has ended");
}

/// A task that waits, one that is called off, and one that has never begun.
#[test]
fn each_step_of_a_task_is_told() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let later = json!({ "instruction": "later", "runAt": "2125-01-01T00:00:00Z" });
    let id = server.submit(later);
    server.http.ask("PATCH", &format!("/api/tasks/{id}"), Some(json!({ "priority": 7 })));
    server.http.ask("DELETE", &format!("/api/tasks/{id}"), None);
    let proof = server.get(&format!("/api/proof/{id}"));
    assert_eq!(whats(&proof), ["submit", "amend", "cancel"], "{proof:#}");
    assert!(kept(&proof));
    let text = |at: usize| proof["steps"][at]["text"].as_str().expect("words").to_owned();
    assert!(text(0).contains("not before 2125-01-01") && text(1).contains("priority 7"), "{proof:#}");
}
