//! Labels: tasks run where their requirements are met, and say so where nobody meets them. Workers are drained by the API.

use serde_json::{Value, json};

use crate::postgres::ends_well;
use crate::support::{Process, Server, World, check_history, poll, task, until};

/// A task that requires these labels.
fn requiring(world: &World, server: &Server, name: &str, labels: &[&str]) -> String {
    let mut body = task(&world.ws(), name, &["say ok"]);
    body["requires"] = json!(labels);
    server.submit(body)
}

fn labelled(world: &World, name: &str, labels: &[&str]) -> Process {
    let mut command = world.command("worker", &[("WORKER_ID", name)]);
    command.args(labels.iter().flat_map(|label| ["--label", label]));
    let process = Process::start(command);
    process.wait_log("[Worker] Started");
    process
}

fn reasons(server: &Server, id: &str) -> Vec<Value> {
    let explained = server.get(&format!("/api/tasks/{id}/explain"));
    explained["reasons"].as_array().expect("reasons").iter().map(|reason| reason["code"].clone()).collect()
}

fn tasks_run_where_their_labels_are(world: &World) {
    let server = world.serve("standalone", &[]);
    let _plain = labelled(world, "plain", &[]);
    let _gpu = labelled(world, "gpu", &["gpu=a100", "repo=web"]);
    // More than a claim takes at a time wait before the others, and keep none of them.
    let lost: Vec<String> = (0..40).map(|_| requiring(world, &server, "nobody", &["tpu"])).collect();
    let ids = [["gpu"].as_slice(), &["repo=web", "gpu=a100"], &["gpu=a100"]]
        .map(|labels| requiring(world, &server, "somebody", labels));
    for id in &ids {
        ends_well(&server, id);
        assert_eq!(server.task(id)["workerId"], "gpu");
    }
    let here = requiring(world, &server, "anybody", &[]);
    ends_well(&server, &here);
    assert_eq!(server.task(&lost[0])["status"], "pending");
    assert_eq!(reasons(&server, &lost[0]), ["NO_MATCHING_WORKER"]);
    assert_eq!(server.task(&ids[1])["requires"], json!(["repo=web", "gpu=a100"]));
    let listed = server.get("/api/workers/gpu");
    let labels: Vec<&str> = listed["labels"].as_array().expect("labels").iter().filter_map(Value::as_str).collect();
    assert!(labels.contains(&"gpu=a100") && labels.contains(&"repo=web"), "{listed:#}");
    assert!(labels.iter().any(|label| label.starts_with("host=")), "{listed:#}");
    assert_eq!(listed["version"], env!("CARGO_PKG_VERSION"));
    let _late = labelled(world, "late", &["tpu"]);
    for id in &lost {
        ends_well(&server, id);
        assert_eq!(server.task(id)["workerId"], "late");
    }
    check_history(world, &["--settled"]);
}

#[test]
fn tasks_run_where_their_labels_are_met() {
    tasks_run_where_their_labels_are(&World::new());
}

#[test]
fn tasks_run_where_their_labels_are_met_on_postgres() {
    tasks_run_where_their_labels_are(&World::on_postgres());
}

#[test]
fn a_label_that_is_none_is_refused_by_name() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    for bad in ["", "a b", "a=", "ü", "a,b"] {
        let body = json!({ "instruction": "x", "requires": ["gpu", bad] });
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("requires")), "{bad:?}: {answer:#}");
    }
    let refused = world.command("worker", &[]).args(["--label", "a b"]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    let refused = world.command("worker", &[("WORKER_LABELS", "gpu,a b")]).output().expect("it runs");
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("WORKER_LABELS"));
}

#[test]
fn more_sets_of_labels_than_claims_look_at_are_refused_and_cost_nothing_else() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let submit = |label: String| {
        let body = json!({ "instruction": "x", "requires": [label] });
        server.http.ask("POST", "/api/tasks", Some(body))
    };
    for number in 0..200 {
        assert_eq!(submit(format!("l{number}")).0, 202);
    }
    let (status, answer) = submit("one-more".to_owned());
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("TOO_MANY_LABEL_SETS")));
    assert_eq!(submit("l7".to_owned()).0, 202, "one that is there already");
    let _worker = labelled(&world, "one", &["l7"]);
    let id = requiring(&world, &server, "plain", &[]);
    ends_well(&server, &id);
    until("the tasks of its lane", || (server.get("/api/queue/stats")["pending"] == 199).then_some(()));
}

#[test]
fn labels_that_no_worker_has_are_an_alarm_after_a_time() {
    let world = World::new();
    let server = world.serve("standalone", &[("LABEL_ALARM_MS", "300")]);
    let _plain = labelled(&world, "plain", &[]);
    let id = requiring(&world, &server, "nobody", &["tpu", "repo=web"]);
    let line = server.process.wait_log("Tasks wait for labels that no worker has");
    assert!(line.contains("requires=\"repo=web,tpu\"") && line.contains("tasks=1"), "{line}");
    let unmatched = server.get("/api/queue/stats")["unmatched"].clone();
    assert_eq!((&unmatched[0]["requires"], &unmatched[0]["tasks"]), (&json!(["repo=web", "tpu"]), &json!(1)));
    let (_, metrics) = server.http.raw("/metrics");
    assert!(String::from_utf8_lossy(&metrics).contains("cc_anywhere_tasks_unmatched 1"));
    let _late = labelled(&world, "late", &["tpu", "repo=web"]);
    ends_well(&server, &id);
    server.process.wait_log("Tasks no longer wait for labels that no worker has");
    assert_eq!(server.get("/api/queue/stats")["unmatched"], Value::Null);
}

fn a_worker_ends_when_the_api_says_so(world: &World) {
    let server = world.serve("standalone", &[]);
    let mut worker = labelled(world, "one", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let id = server.submit(task(&world.ws(), "drained", &[&bash, "say done"]));
    server.wait_tool(&id);
    assert_eq!(server.http.ask("DELETE", "/api/workers/nobody", None).0, 404);
    let (status, answer) = server.http.ask("DELETE", "/api/workers/one", None);
    assert_eq!((status, &answer["success"]), (202, &json!(true)));
    assert_eq!(server.get("/api/workers/one")["state"], "draining");
    worker.wait_log("[Worker] Draining");
    let late = requiring(world, &server, "late", &[]);
    std::fs::write(&go, "").expect("a file");
    ends_well(&server, &id);
    assert_eq!(worker.wait(), 0);
    let gone = poll(std::time::Duration::from_secs(10), || {
        (server.http.ask("GET", "/api/workers/one", None).0 == 404).then_some(())
    });
    assert!(gone.is_some(), "it is still listed");
    assert_eq!(server.task(&late)["status"], "pending", "it claims no more");
    let _two = labelled(world, "two", &[]);
    ends_well(&server, &late);
    check_history(world, &["--settled"]);
}

#[test]
fn a_standalone_worker_is_drained_by_the_api() {
    a_worker_ends_when_the_api_says_so(&World::new());
}

#[test]
fn a_standalone_worker_is_drained_by_the_api_on_postgres() {
    a_worker_ends_when_the_api_says_so(&World::on_postgres());
}
