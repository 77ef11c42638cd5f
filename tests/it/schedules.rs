//! Tasks that are submitted by the clock: each firing once, what is missed by policy, sessions carried on.

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, signal, task, until};

fn add(server: &Server, cron: &str, task: Value, more: Value) -> String {
    let mut body = json!({ "cron": cron, "task": task });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let (status, answer) = server.http.ask("POST", "/api/schedules", Some(body));
    assert_eq!(status, 201, "{answer}");
    assert!(answer["nextRunAt"].is_string(), "{answer}");
    answer["scheduleId"].as_str().expect("an id").to_owned()
}

/// What a schedule has done, oldest first.
fn runs(server: &Server, id: &str) -> Vec<Value> {
    let mut runs = server.get(&format!("/api/schedules/{id}/runs"))["runs"].as_array().expect("runs").clone();
    runs.reverse();
    runs
}

fn seconds(value: &Value) -> i64 {
    value.as_str().expect("a time").parse::<jiff::Timestamp>().expect("a time").as_second()
}

#[test]
fn each_firing_comes_once_however_many_servers_there_are() {
    let world = World::new();
    let servers = [world.serve("standalone", &[]), world.serve("standalone", &[])];
    let id = add(&servers[0], "* * * * * *", task(&world.ws(), "each second", &["say done"]), json!({}));
    until("three firings", || (runs(&servers[1], &id).len() >= 3).then_some(()));
    signal(servers[0].process.pid(), "KILL");
    until("three more", || (runs(&servers[1], &id).len() >= 6).then_some(()));
    let (status, changed) =
        servers[1].http.ask("PATCH", &format!("/api/schedules/{id}"), Some(json!({ "enabled": false })));
    assert_eq!((status, &changed["nextRunAt"]), (200, &Value::Null));
    let runs = runs(&servers[1], &id);
    let due: Vec<i64> = runs.iter().map(|run| seconds(&run["dueAt"])).collect();
    assert!(due.windows(2).all(|pair| pair[1] == pair[0] + 1), "one each second: {due:?}");
    let tasks = servers[1].get("/api/tasks?limit=100")["total"].as_u64().expect("a number");
    assert_eq!(tasks as usize, runs.len(), "one task each");
    assert!(runs.iter().all(|run| run["outcome"] == "submitted" && run["taskStatus"] == "pending"), "{runs:#?}");
    check_history(&world, &[]);
}

#[test]
fn a_worker_stands_in_for_an_api_that_is_down() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let _worker = world.worker(&[]);
    let id = add(&server, "* * * * * *", task(&world.ws(), "each second", &["say done"]), json!({}));
    until("a firing", || runs(&server, &id).first().cloned());
    signal(server.process.pid(), "KILL");
    let db = rusqlite::Connection::open(world.dir.join("data/cc.db")).expect("the database");
    let fired =
        || -> i64 { db.query_row("SELECT COUNT(*) FROM schedule_runs", [], |row| row.get(0)).expect("a count") };
    let before = fired();
    until("the worker fires", || (fired() >= before + 5).then_some(()));
    let server = world.serve("standalone", &[]);
    let due: Vec<i64> = runs(&server, &id).iter().map(|run| seconds(&run["dueAt"])).collect();
    assert!(due.windows(2).all(|pair| pair[1] == pair[0] + 1), "one each second: {due:?}");
    assert_eq!(server.http.ask("DELETE", &format!("/api/schedules/{id}"), None).0, 204);
    check_history(&world, &[]);
}

#[test]
fn what_was_missed_is_made_up_for_once_or_skipped() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let ids = ["once", "skip"]
        .map(|missed| add(&server, "0 * * * *", task(&world.ws(), missed, &["say done"]), json!({ "missed": missed })));
    drop(server);
    // As if the server had been away for three hours.
    let db = rusqlite::Connection::open(world.dir.join("data/cc.db")).expect("the database");
    db.execute("UPDATE schedules SET next_at = next_at - 3 * 3600 * 1000", []).expect("moved");
    drop(db);
    let server = world.serve("standalone", &[]);
    let first = |id: &str| until("a run", || runs(&server, id).first().cloned());
    let (once, skip) = (first(&ids[0]), first(&ids[1]));
    assert_eq!((&once["outcome"], &skip["outcome"]), (&json!("submitted"), &json!("missed")), "{once} {skip}");
    for run in [&once, &skip] {
        assert_eq!(run["detail"], "3 firings had passed");
    }
    for id in &ids {
        let next = server.get(&format!("/api/schedules/{id}"))["nextRunAt"].clone();
        assert!(seconds(&next) > jiff::Timestamp::now().as_second(), "{next}");
        assert_eq!(runs(&server, id).len(), 1);
    }
}

#[test]
fn a_session_is_carried_on_from_run_to_run() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = add(
        &server,
        "0 0 1 1 *",
        task(&world.ws(), "goes on", &[&hold, "say done"]),
        json!({ "continueSession": true, "timeZone": "Europe/Berlin", "name": "New Year" }),
    );
    assert!(
        server.get(&format!("/api/schedules/{id}"))["nextRunAt"].as_str().is_some_and(|at| at.contains("12-31T23:00"))
    );
    let run = || server.http.ask("POST", &format!("/api/schedules/{id}/run"), None);
    let (status, first) = run();
    assert_eq!(status, 202, "{first}");
    let first = first["taskId"].as_str().expect("an id").to_owned();
    let (status, beside) = run();
    assert_eq!((status, &beside["error"]["code"]), (409, &json!("SCHEDULE_NOT_RUN")), "{beside}");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let first = server.wait_end(&first);
    let more = json!({ "task": task(&world.ws(), "and on", &["say more"]) });
    let (status, changed) = server.http.ask("PATCH", &format!("/api/schedules/{id}"), Some(more));
    assert_eq!((status, &changed["continueSession"]), (200, &json!(true)), "{changed}");
    let (_, second) = run();
    let second = server.wait_end(second["taskId"].as_str().expect("an id"));
    assert_eq!((&second["status"], &second["continuedFrom"]), (&json!("completed"), &first["taskId"]), "{second:#}");
    assert_eq!(second["sdkSessionId"], first["sdkSessionId"]);
    let runs = runs(&server, &id);
    assert!(runs.iter().all(|run| run["dueAt"].is_null() && run["taskStatus"] == "completed"), "{runs:#?}");
}

#[test]
fn a_firing_beside_its_task_is_skipped_and_one_that_can_t_be_stored_says_why() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let own = world.ws().join("own");
    std::fs::create_dir(&own).expect("a folder");
    let alone = add(&server, "* * * * * *", task(&world.ws(), "alone", &["say done"]), json!({ "overlap": "skip" }));
    let gone = add(&server, "* * * * * *", task(&own, "gone", &["say done"]), json!({}));
    until("both to fire", || (runs(&server, &alone).len() >= 2 && !runs(&server, &gone).is_empty()).then_some(()));
    let alone = runs(&server, &alone);
    assert_eq!((&alone[0]["outcome"], &alone[1]["outcome"]), (&json!("submitted"), &json!("skipped")), "{alone:#?}");
    assert!(alone[1]["detail"].as_str().is_some_and(|why| why.contains(alone[0]["taskId"].as_str().expect("an id"))));
    std::fs::remove_dir(&own).expect("a folder");
    let refused = until("a refusal", || runs(&server, &gone).into_iter().find(|run| run["outcome"] == "refused"));
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("does not exist")), "{refused}");
    assert_eq!(server.http.ask("DELETE", &format!("/api/schedules/{gone}"), None).0, 204);
    assert_eq!(server.http.ask("GET", &format!("/api/schedules/{gone}/runs"), None).0, 404);
}

#[test]
fn a_bad_schedule_is_refused_by_name() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let good = json!({ "instruction": "x" });
    for (body, field) in [
        (json!({ "cron": "61 * * * *", "task": good }), "cron"),
        (json!({ "cron": "0 0 31 2 *", "task": good }), "cron"),
        (json!({ "cron": "* * * * *", "timeZone": "Mars/Olympus", "task": good }), "timeZone"),
        (json!({ "cron": "* * * * *", "missed": "twice", "task": good }), "missed"),
        (json!({ "cron": "* * * * *", "task": { "instruction": "" } }), "task.instruction"),
        (json!({ "cron": "* * * * *", "task": { "instruction": "x", "runAt": "2125-01-01T00:00:00Z" } }), "task"),
        (json!({ "cron": "* * * * *", "every": 5, "task": good }), "every"),
        (json!({ "task": good }), "cron"),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/schedules", Some(body));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    assert_eq!(server.get("/api/schedules")["schedules"], json!([]));
    let (status, answer) = server.http.ask("GET", "/api/schedules/42", None);
    assert_eq!((status, &answer["error"]["code"]), (404, &json!("SCHEDULE_NOT_FOUND")));
}

#[test]
fn a_change_that_races_a_deletion_brings_nothing_back() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    for n in 0..20 {
        let id = add(&server, "0 0 1 1 *", task(&world.ws(), "raced", &["say x"]), json!({}));
        let path = format!("/api/schedules/{id}");
        let change = || server.http.ask("PATCH", &path, Some(json!({ "enabled": n % 2 == 0, "cron": "0 0 2 2 *" })));
        let (deleted, changed) = std::thread::scope(|scope| {
            let changes: Vec<_> = (0..4).map(|_| scope.spawn(change)).collect();
            let deleted = server.http.ask("DELETE", &path, None).0;
            (deleted, changes.into_iter().map(|one| one.join().expect("an answer")).collect::<Vec<_>>())
        });
        assert!((200..300).contains(&deleted), "{deleted}");
        assert!(changed.iter().all(|(status, _)| matches!(status, 200 | 404)), "{changed:?}");
        assert_eq!(server.http.ask("GET", &path, None).0, 404, "it is deleted");
        assert_eq!(change().0, 404);
    }
    assert_eq!(server.get("/api/schedules")["schedules"], json!([]));
    check_history(&world, &[]);
}

#[test]
fn a_clock_that_was_set_back_delays_no_schedule() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let id = add(&server, "* * * * * *", task(&world.ws(), "each second", &["say done"]), json!({}));
    until("a firing", || (!runs(&server, &id).is_empty()).then_some(()));
    drop(server);
    // As it looks when the clock has gone back by two hours since.
    let db = rusqlite::Connection::open(world.dir.join("data/cc.db")).expect("the database");
    db.execute("UPDATE schedules SET next_at = next_at + 2 * 3600 * 1000", []).expect("moved");
    drop(db);
    let server = world.serve("standalone", &[]);
    let before = runs(&server, &id).len();
    until("the next firing", || (runs(&server, &id).len() > before).then_some(()));
    check_history(&world, &[]);
}

#[test]
fn the_next_firings_of_a_timetable_are_told_before_there_is_a_schedule() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let answer = server.get("/api/schedules/preview?cron=0%209%20*%20*%201-5&timeZone=Europe/Berlin&n=7");
    let firings = answer["firings"].as_array().expect("times");
    assert_eq!((firings.len(), &answer["timeZone"]), (7, &json!("Europe/Berlin")));
    assert!(firings.windows(2).all(|two| two[0].as_str() < two[1].as_str()), "{answer}");
    for (query, field) in
        [("", "cron"), ("cron=x", "cron"), ("cron=@daily&timeZone=Nowhere", "timeZone"), ("cron=@daily&n=0", "n")]
    {
        let (status, answer) = server.http.ask("GET", &format!("/api/schedules/preview?{query}"), None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{query}");
    }
}
