//! Key → key: what keys may, for how long, and how much; what is noted of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::matrix::key;
use crate::support::http::Client;
use crate::support::{World, scripted_claude, task, until};

const ALL: [&str; 3] = ["read", "submit", "decide"];

fn later() -> Value {
    json!({ "instruction": "x", "runAt": "2125-01-01T00:00:00Z" })
}

fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"]["code"].as_str().unwrap_or_default())
}

#[test]
fn a_secret_is_shown_once_and_ends_with_its_key() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let soon = (jiff::Timestamp::now() + jiff::SignedDuration::from_millis(1_500)).to_string();
    let short = key(&server, "short", &["read"], json!({ "expiresAt": soon }));
    let alice = key(&server, "alice", &ALL, json!({}));
    assert_eq!(alice.ask("GET", "/api/tasks", None).0, 200);
    let secret = alice.key().to_owned();
    let whole = std::fs::read(world.dir.join("data/cc.db")).expect("the database");
    let wal = std::fs::read(world.dir.join("data/cc.db-wal")).unwrap_or_default();
    for stored in [whole, wal] {
        assert!(!stored.windows(secret.len()).any(|part| part == secret.as_bytes()), "the secret is stored");
    }
    assert!(!server.get("/api/keys").to_string().contains(&secret) && !server.process.logs().contains(&secret));

    // Rotated: the old secret works for as long as it was said, and no longer.
    let rotated = server.http.ask("POST", "/api/keys/alice/rotate", Some(json!({ "graceMs": 60_000 })));
    let new = Client::new(&server.http.url, rotated.1["key"].as_str().expect("a secret"));
    assert_eq!((alice.ask("GET", "/api/tasks", None).0, new.ask("GET", "/api/tasks", None).0), (200, 200));
    let again = server.http.ask("POST", "/api/keys/alice/rotate", None);
    assert_eq!(new.ask("GET", "/api/tasks", None).0, 401);
    let newest = Client::new(&server.http.url, again.1["key"].as_str().expect("a secret"));
    assert_eq!(newest.ask("GET", "/api/tasks", None).0, 200);

    until("the key to expire", || (short.ask("GET", "/api/tasks", None).0 == 401).then_some(()));
    let (status, revoked) = server.http.ask("DELETE", "/api/keys/alice", None);
    assert!(status == 200 && revoked["revokedAt"].is_string(), "{revoked}");
    assert_eq!(newest.ask("GET", "/api/tasks", None).0, 401);
    assert_eq!(code(&server.http.ask("POST", "/api/keys/alice/rotate", None)), (409, "KEY_REVOKED"));
    let taken = json!({ "name": "alice", "scopes": ["read"] });
    assert_eq!(code(&server.http.ask("POST", "/api/keys", Some(taken))), (409, "KEY_EXISTS"));
    assert_eq!(code(&server.http.ask("DELETE", "/api/keys/default", None)), (409, "KEY_OF_SETTINGS"));
    assert_eq!(code(&server.http.ask("DELETE", "/api/keys/nobody", None)), (404, "KEY_NOT_FOUND"));
    for (field, body) in [
        ("scopes", json!({ "name": "x", "scopes": [] })),
        ("name", json!({ "name": "a/b", "scopes": ["read"] })),
        ("roots", json!({ "name": "x", "scopes": ["read"], "roots": ["relative"] })),
        ("expiresAt", json!({ "name": "x", "scopes": ["read"], "expiresAt": "2001-01-01T00:00:00Z" })),
        ("limits.maxRunningTasks", json!({ "name": "x", "scopes": ["read"], "limits": { "maxRunningTasks": 1 } })),
    ] {
        let answer = server.http.ask("POST", "/api/keys", Some(body));
        assert_eq!((answer.0, answer.1["error"]["details"]["field"].as_str()), (422, Some(field)), "{}", answer.1);
    }
}

/// A right that this version doesn't know must not be ignored: the key is refused, and says why.
#[test]
fn a_key_with_rights_of_another_version_is_refused() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let alice = key(&server, "alice", &["admin"], json!({}));
    let db = rusqlite::Connection::open(world.dir.join("data/cc.db")).expect("the database");
    let rights = r#"{"scopes":["admin"],"limits":{},"onlyOnSundays":true}"#;
    db.execute("UPDATE api_keys SET rights = ?1", [rights]).expect("changed");
    until("the key to be refused", || (alice.ask("GET", "/api/tasks", None).0 == 401).then_some(()));
    let keys = server.get("/api/keys");
    let one = keys["keys"].as_array().and_then(|keys| keys.iter().find(|key| key["name"] == "alice")).expect("a key");
    assert!(one["unreadable"].as_str().is_some_and(|why| why.contains("onlyOnSundays")), "{one}");
}

#[test]
fn a_key_has_no_more_than_its_limits() {
    let world = World::new();
    let server = world.serve("standalone", &[("WEBHOOK_ALLOWED_HOSTS", "localhost")]);
    let refused = |client: &Client, path: &str, body: Value, limit: &str| {
        let answer = client.ask("POST", path, Some(body));
        assert_eq!(code(&answer), (429, "KEY_LIMIT"), "{limit}: {}", answer.1);
        assert_eq!(answer.1["error"]["details"]["limit"], json!(limit));
    };
    let with = |name: &str, limits: Value| key(&server, name, &ALL, json!({ "limits": limits }));
    let pending = with("pending", json!({ "maxPending": 2 }));
    let batch = json!({ "tasks": [later(), later(), later()] });
    refused(&pending, "/api/tasks/batch", batch, "maxPending");
    let ids = [(); 2].map(|()| pending.ask("POST", "/api/tasks", Some(later())).1["taskId"].clone());
    refused(&pending, "/api/tasks", later(), "maxPending");
    let first = ids[0].as_str().expect("an id");
    assert_eq!(pending.ask("DELETE", &format!("/api/tasks/{first}"), None).0, 200);
    assert_eq!(pending.ask("POST", "/api/tasks", Some(later())).0, 202, "one has left");

    let daily = with("daily", json!({ "maxTasksPerDay": 1 }));
    let one = daily.ask("POST", "/api/tasks", Some(later())).1["taskId"].clone();
    assert_eq!(daily.ask("DELETE", &format!("/api/tasks/{}", one.as_str().expect("an id")), None).0, 200);
    refused(&daily, "/api/tasks", later(), "maxTasksPerDay");

    let bytes = with("bytes", json!({ "maxStoredBytes": 2_000 }));
    let long = json!({ "instruction": "x".repeat(3_000), "runAt": "2125-01-01T00:00:00Z" });
    assert_eq!(bytes.ask("POST", "/api/tasks", Some(long)).0, 202);
    refused(&bytes, "/api/tasks", later(), "maxStoredBytes");

    let few = with("few", json!({ "maxSchedules": 1, "maxWebhooks": 1, "maxStreams": 1 }));
    let plan = || json!({ "cron": "0 0 1 1 *", "task": { "instruction": "x" } });
    assert_eq!(few.ask("POST", "/api/schedules", Some(plan())).0, 201);
    refused(&few, "/api/schedules", plan(), "maxSchedules");
    let hook = || json!({ "url": "http://localhost:9/" });
    assert_eq!(few.ask("POST", "/api/webhooks", Some(hook())).0, 201);
    refused(&few, "/api/webhooks", hook(), "maxWebhooks");
    let stream = few.try_events("/api/events", None).expect("a stream");
    assert!(few.try_events("/api/events", None).is_none(), "a second stream");
    drop(stream);
    until("the stream to be free again", || few.try_events("/api/events", None).map(drop));
}

/// `maxRunning` and the budget of a day hold tasks back, of this key alone.
#[test]
fn a_key_runs_and_spends_no_more_than_it_may() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "4")]);
    let one = key(&server, "one", &ALL, json!({ "limits": { "maxRunning": 1 } }));
    let poor = key(&server, "poor", &ALL, json!({ "limits": { "dailyBudgetUsd": 0.5 } }));
    let waits = |name: &str| {
        let wait = format!("bash touch {0}/{name}; while ! test -e {0}/go; do sleep 0.05; done", world.ws().display());
        task(&world.ws(), name, &[&wait, "say done"])
    };
    let submit = |client: &Client, body: Value| {
        let (status, answer) = client.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{answer}");
        answer["taskId"].as_str().expect("an id").to_owned()
    };
    let first = submit(&one, waits("first"));
    until("the first to run", || world.ws().join("first").exists().then_some(()));
    let second = submit(&one, waits("second"));
    until("the second to be held back", || {
        let why = one.ask("GET", &format!("/api/tasks/{second}/explain"), None).1;
        (why["reasons"][0]["code"] == "CONCURRENCY_LIMIT").then_some(())
    });
    let mut costly = task(&world.ws(), "costly", &["say done"]);
    costly["options"]["sdk"]["maxBudgetUsd"] = json!(0.6);
    let refused = poor.ask("POST", "/api/tasks", Some(costly.clone()));
    assert_eq!(code(&refused), (403, "BUDGET_EXCEEDED"), "{}", refused.1);
    costly["options"]["sdk"]["maxBudgetUsd"] = json!(0.4);
    let mut held = waits("held");
    held["options"]["sdk"]["maxBudgetUsd"] = json!(0.4);
    let reserved = submit(&poor, held);
    until("the reserving one to run", || world.ws().join("held").exists().then_some(()));
    let behind = submit(&poor, costly.clone());
    until("the budget to hold it back", || {
        let why = poor.ask("GET", &format!("/api/tasks/{behind}/explain"), None).1;
        (why["reasons"][0]["code"] == "BUDGET_SPENT").then_some(())
    });
    // Nobody else is held back.
    let own = server.submit(costly);
    assert_eq!(server.wait_end(&own)["status"], "completed");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    for id in [first, second, reserved, behind] {
        let ended = server.wait_end(&id);
        assert_eq!(ended["status"], "completed", "{ended:#}");
    }
    let usage = poor.ask("GET", "/api/usage", None).1;
    assert_eq!(usage["today"]["keys"].as_object().map(serde_json::Map::len), Some(1), "{usage:#}");
    assert_eq!(usage["today"]["server"]["limitUsd"], json!(0.5), "{usage:#}");
}

#[test]
fn a_key_works_below_its_roots_and_its_ceiling() {
    let world = World::new();
    let server = world.serve("standalone", &[("MAX_PERMISSION_MODE", "acceptEdits")]);
    for folder in ["mine", "theirs"] {
        std::fs::create_dir(world.ws().join(folder)).expect("a folder");
    }
    std::os::unix::fs::symlink(world.ws().join("theirs"), world.ws().join("mine/link")).expect("a link");
    let rights = json!({ "roots": [world.ws().join("mine")], "maxPermissionMode": "plan" });
    let alice = key(&server, "alice", &ALL, rights);
    let submit = |folder: &str, mode: &str| {
        let sdk = json!({ "permissionMode": mode });
        let mut body = later();
        body["context"] = json!({ "workingDirectory": world.ws().join(folder) });
        body["options"] = json!({ "sdk": sdk });
        alice.ask("POST", "/api/tasks", Some(body))
    };
    assert_eq!(submit("mine", "plan").0, 202);
    for folder in ["theirs", "mine/link", "mine/../theirs", "."] {
        assert_eq!(code(&submit(folder, "plan")), (403, "PATH_NOT_ALLOWED"), "{folder}");
    }
    assert_eq!(code(&submit("mine", "acceptEdits")), (403, "PERMISSION_CEILING"));
    let everywhere = key(&server, "high", &ALL, json!({ "maxPermissionMode": "bypassPermissions" }));
    let mut body = later();
    body["options"] = json!({ "sdk": { "permissionMode": "bypassPermissions" } });
    assert_eq!(code(&everywhere.ask("POST", "/api/tasks", Some(body))), (403, "PERMISSION_CEILING"), "the server's");
}

/// A conversation, a session and an idempotency key of another are none.
#[test]
fn conversations_and_idempotency_keys_are_a_key_s_own() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let [alice, bob] = ["alice", "bob"].map(|name| key(&server, name, &ALL, json!({})));
    let (_, answer) = alice.ask("POST", "/api/tasks", Some(task(&world.ws(), "first", &["say secret"])));
    let id = answer["taskId"].as_str().expect("an id").to_owned();
    let ended = server.wait_end(&id);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    let session = &ended["sdkSessionId"];
    for (field, sdk) in [
        ("options.sdk.continueFromTaskId", json!({ "continueFromTaskId": id })),
        ("options.sdk.resumeSession", json!({ "resumeSession": session })),
        ("options.sdk.resumeSession", json!({ "resumeSession": session, "forkSession": true })),
    ] {
        let mut body = task(&world.ws(), "next", &["say more"]);
        body["options"]["sdk"].as_object_mut().expect("options").extend(sdk.as_object().expect("options").clone());
        let (status, answer) = bob.ask("POST", "/api/tasks", Some(body.clone()));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
        let (status, answer) = alice.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{answer}");
        server.wait_end(answer["taskId"].as_str().expect("an id"));
    }
    let once = |client: &Client| {
        let header = [("idempotency-key", "same"), ("content-type", "application/json")];
        client.send("POST", "/api/tasks", &header, Some(&later().to_string())).2["taskId"].clone()
    };
    let [first, theirs, again] = [&alice, &bob, &alice].map(once);
    assert!(first == again && first != theirs && theirs.is_string(), "{first} {theirs} {again}");
}

/// A stream tells of one's own tasks only, and ends when its key does.
#[test]
fn slow_streams_tell_of_ones_own_and_end_with_their_key() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    let [alice, bob] = ["alice", "bob"].map(|name| key(&server, name, &ALL, json!({})));
    let mut of_bob = bob.events("/api/events", None);
    let hidden = alice.ask("POST", "/api/tasks", Some(task(&world.ws(), "hidden", &[]))).1["taskId"].clone();
    server.wait_end(hidden.as_str().expect("an id"));
    let seen = bob.ask("POST", "/api/tasks", Some(task(&world.ws(), "seen", &[]))).1["taskId"].clone();
    let ended = of_bob.find(|event| event["data"]["status"] == "completed").expect("an end");
    assert_eq!(ended["taskId"], seen);
    server.http.ask("DELETE", "/api/keys/bob", None);
    let since = Instant::now();
    assert!(of_bob.all(|event| event["taskId"] == seen), "of another's task");
    assert!(since.elapsed() < Duration::from_secs(30), "the stream outlived its key");
}

#[test]
fn a_schedule_ends_with_its_key() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let alice = key(&server, "alice", &ALL, json!({}));
    let plan = json!({ "cron": "* * * * * *", "task": { "instruction": "x", "priority": 7 } });
    let (status, schedule) = alice.ask("POST", "/api/schedules", Some(plan));
    assert_eq!(status, 201, "{schedule}");
    let runs = format!("/api/schedules/{}/runs", schedule["scheduleId"].as_str().expect("an id"));
    until("a firing", || (server.get(&runs)["runs"][0]["outcome"] == "submitted").then_some(()));
    server.http.ask("DELETE", "/api/keys/alice", None);
    until("a firing that is refused", || (server.get(&runs)["runs"][0]["outcome"] == "refused").then_some(()));
    let last = server.get(&runs)["runs"][0].clone();
    assert!(last["detail"].as_str().is_some_and(|why| why.contains("revoked")), "{last}");
}

#[test]
fn wrong_keys_are_slowed_down_and_right_ones_are_not() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let wrong = Client::new(&server.http.url, "cca_wrong");
    let times: Vec<_> = (0..6)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(wrong.ask("GET", "/api/tasks", None).0, 401);
            begun.elapsed()
        })
        .collect();
    assert!(times[5] >= Duration::from_millis(400), "{times:?}");
    let begun = Instant::now();
    assert_eq!(server.http.ask("GET", "/api/tasks", None).0, 200);
    assert!(begun.elapsed() < times[5], "a right key waits as well");
    let lines = server.process.logs().lines().filter(|line| line.contains("Wrong keys were shown")).count();
    assert_eq!(lines, 1);
}

#[test]
fn what_admins_change_and_people_answer_is_noted() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let alice = key(&server, "alice", &ALL, json!({}));
    let mut asking = task(&world.ws(), "asks", &["bash touch asked", "say done"]);
    asking["options"]["sdk"] = json!({ "permissionMode": "default" });
    let (_, answer) = alice.ask("POST", "/api/tasks", Some(asking));
    let id = answer["taskId"].as_str().expect("an id").to_owned();
    let permissions = format!("/api/tasks/{id}/permissions");
    let request = until("a question", || {
        let open = alice.ask("GET", &permissions, None).1;
        open["permissions"][0]["requestId"].as_str().map(str::to_owned)
    });
    let allow = json!({ "behavior": "allow" });
    assert_eq!(alice.ask("POST", &format!("{permissions}/{request}"), Some(allow)).0, 200);
    server.http.ask("POST", "/api/queue/pause", None);
    server.http.ask("POST", "/api/queue/start", None);
    assert_eq!(alice.ask("POST", "/api/queue/pause", None).0, 403);
    let log = server.get("/api/audit");
    let entries: Vec<_> = log["entries"].as_array().expect("entries").iter().rev().collect();
    let told: Vec<_> = entries
        .iter()
        .map(|entry| (entry["key"].as_str(), entry["action"].as_str(), entry["status"].as_u64()))
        .collect();
    assert_eq!(
        told,
        [
            (Some("default"), Some("createKey"), Some(201)),
            (Some("alice"), Some("answerPermission"), Some(200)),
            (Some("default"), Some("pauseQueue"), Some(200)),
            (Some("default"), Some("startQueue"), Some(200)),
        ],
        "{log:#}"
    );
    assert_eq!(entries[0]["detail"]["name"], json!("alice"));
    assert_eq!((&entries[1]["detail"]["behavior"], &entries[1]["address"]), (&json!("allow"), &json!("127.0.0.1")));
    let page = server.get("/api/audit?limit=2");
    assert_eq!(page["nextBefore"], page["entries"][1]["id"]);
    let rest = server.get(&format!("/api/audit?before={}", page["nextBefore"]));
    assert_eq!(rest["entries"].as_array().map(Vec::len), Some(2));
    server.wait_end(&id);
}

/// Keys of the settings go on working: `API_KEY` is an admin, those of `API_KEYS` are not.
#[test]
fn the_command_line_makes_and_ends_keys() {
    let world = World::new();
    let keys = "ci=a-key-of-sixteen-or-more";
    let server = world.serve("standalone", &[("API_KEYS", keys)]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let run = |args: &[&str]| {
        let mut command = world.command("keys", &[("PORT", &port)]);
        let output = command.args(args).output().expect("the program");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let ci = Client::new(&server.http.url, "a-key-of-sixteen-or-more");
    assert_eq!((ci.ask("GET", "/api/tasks", None).0, ci.ask("GET", "/api/keys", None).0), (200, 403));
    let (done, secret) = run(&["create", "bot", "--scope", "read,submit", "--max-pending", "3"]);
    assert!(done == Some(0) && secret.starts_with("cca_"), "{secret}");
    let bot = Client::new(&server.http.url, secret.trim());
    assert_eq!(bot.ask("GET", "/api/tasks", None).0, 200);
    let (_, listed) = run(&[]);
    assert!(listed.contains("bot") && listed.contains("ci") && listed.contains("from the settings"), "{listed}");
    let (done, rotated) = run(&["rotate", "bot"]);
    assert!(done == Some(0) && rotated.starts_with("cca_"), "{rotated}");
    assert_eq!(bot.ask("GET", "/api/tasks", None).0, 401);
    assert_eq!(run(&["revoke", "bot"]).0, Some(0));
    let (refused, why) = run(&["rotate", "bot"]);
    assert!(refused == Some(1) && why.contains("revoked"), "{why}");
    let audit = world.command("audit", &[("PORT", &port)]).output().expect("the program");
    assert!(String::from_utf8_lossy(&audit.stdout).contains("revokeKey"), "{audit:?}");
}
