//! A model that goes round in circles: it is marked, and interrupted where that was asked for.

use serde_json::{Value, json};

use crate::support::{World, task, until};
use crate::webhooks::Ear;

/// A task whose model makes the same call, which fails, as often as this.
fn circles(world: &World, times: usize, then: &[&str]) -> Value {
    let mut steps = vec!["bash exit 3"; times];
    steps.extend(then);
    task(&world.ws(), "circles", &steps)
}

fn is_marked(world: &World) {
    let server = world.serve("managed", &[("LOOP_GUARD", "3"), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")]);
    let ear = Ear::open(&["200 Fine"]);
    let hook = json!({ "url": ear.url, "format": "ntfy", "events": ["looping"] });
    assert_eq!(server.http.ask("POST", "/api/webhooks", Some(hook)).0, 201);
    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(circles(world, 4, &[&hold, "say done"]));
    let event = server.follow(&id, |event| event["data"]["looping"].is_string()).expect("a sign");
    let sign = event["data"]["looping"].as_str().expect("words");
    assert!(sign.starts_with("the same call has failed 3 times: Bash") && sign.contains("exit 3"), "{event}");
    let told = ear.next().json();
    assert_eq!((&told["title"], &told["tags"]), (&json!("circles"), &json!(["warning"])), "{told}");
    assert!(told["message"].as_str().is_some_and(|text| text.contains(sign)), "{told}");
    let marked = until("the mark", || Some(server.task(&id)).filter(|task| task["looping"].is_string()));
    assert_eq!(marked["looping"], json!(sign));
    assert_eq!(server.get("/api/tasks?status=running")["tasks"][0]["looping"], json!(sign), "in lists as well");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["looping"]), (&json!("completed"), &Value::Null), "it runs no more");
    let logs = server.get(&format!("/api/tasks/{id}/logs")).to_string();
    assert_eq!(logs.matches("goes round in circles").count(), 1, "{logs}");
}

#[test]
fn a_task_that_goes_round_in_circles_is_marked() {
    is_marked(&World::new());
}

#[test]
fn the_same_on_postgres() {
    is_marked(&World::on_postgres());
}

#[test]
fn it_is_interrupted_and_told_where_that_was_asked_for() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    // Long enough that only an interrupt ends the turn.
    let mut body = circles(&world, 40, &["say I never gave up"]);
    body["options"]["loopGuard"] =
        json!({ "after": 3, "interrupt": true, "message": "Stop that.\nstep say I stopped." });
    let id = server.submit(body);
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("I stopped.")), "{done:#}");
    let talk = server.get(&format!("/api/tasks/{id}/conversation")).to_string();
    assert!(talk.contains("Stop that."), "{talk}");
}

fn is_marked_by_what_it_spends(world: &World) {
    let server = world.serve("managed", &[("LOOP_GUARD", "1000")]);
    // What such a task takes: two calls in two seconds.
    let usual: Vec<String> =
        (0..3).map(|_| server.submit(task(&world.ws(), "usual", &["bash sleep 2", "say done"]))).collect();
    for id in &usual {
        assert_eq!(server.wait_end(id)["status"], "completed");
    }
    // As fast as it can, and never the same.
    let steps: Vec<String> = (0..2_000).map(|n| format!("bash echo {n}")).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut body = task(&world.ws(), "hasty", &steps);
    body["options"]["loopGuard"] = json!({ "interrupt": true, "message": "Stop that.\nstep say I stopped." });
    let id = server.submit(body);
    let event = server.follow(&id, |event| event["data"]["looping"].is_string()).expect("a sign");
    let sign = event["data"]["looping"].as_str().expect("words");
    assert!(sign.contains("USD a minute") && sign.ends_with("tasks of the same folder and model"), "{event}");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("I stopped.")), "{done:#}");
    let logs = server.get(&format!("/api/tasks/{id}/logs")).to_string();
    assert_eq!(logs.matches("round in circles").count(), 1, "{logs}");
}

#[test]
fn a_task_that_spends_far_more_than_its_kind_is_marked_and_interrupted() {
    is_marked_by_what_it_spends(&World::new());
}

#[test]
fn and_the_same_on_postgres() {
    is_marked_by_what_it_spends(&World::on_postgres());
}

#[test]
fn what_is_not_wanted_is_not_done_and_what_is_wrong_is_refused() {
    let world = World::new();
    let server = world.serve("inline", &[("LOOP_GUARD", "2")]);
    let mut body = circles(&world, 3, &["say done"]);
    body["options"]["loopGuard"] = json!({ "after": 0 });
    let id = server.submit(body);
    server.wait_end(&id);
    assert!(!server.get(&format!("/api/tasks/{id}/logs")).to_string().contains("in circles"));
    for (guard, field) in [
        (json!({ "after": -1 }), "options.loopGuard.after"),
        (json!({ "message": " " }), "options.loopGuard.message"),
        (json!({ "times": 3 }), "options.loopGuard.times"),
    ] {
        let mut body = circles(&world, 1, &["say done"]);
        body["options"]["loopGuard"] = guard;
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 422, "{answer}");
        assert!(answer.to_string().contains(field), "{answer}");
    }
}
