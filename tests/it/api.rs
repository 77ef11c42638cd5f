//! The contract of the API: shapes, status codes, errors, streams.

use serde_json::{Value, json};

use crate::support::{Server, World, check_history, scripted_claude, task};

/// Asks and compares status and code; returns the error.
fn refused(server: &Server, method: &str, path: &str, body: Option<Value>, status: u16, code: &str) -> Value {
    let (found, answer) = server.http.ask(method, path, body.clone());
    let error = &answer["error"];
    assert_eq!((found, error["code"].as_str()), (status, Some(code)), "{method} {path} {body:?}: {answer}");
    assert!(error["message"].as_str().is_some_and(|message| !message.is_empty()));
    assert!(error["details"].is_object());
    error.clone()
}

#[test]
fn bad_input_is_refused_by_name_and_nothing_is_stored() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let submit = |body: Value, field: &str| {
        let error = refused(&server, "POST", "/api/tasks", Some(body), 422, "INVALID_INPUT");
        assert_eq!(error["details"]["field"], field, "{error}");
        assert!(error["message"].as_str().expect("text").contains(field));
    };
    let ws = world.ws();
    submit(json!({}), "instruction");
    submit(json!({ "instruction": "" }), "instruction");
    submit(json!({ "instruction": "  \n " }), "instruction");
    submit(json!({ "instruction": "x".repeat(2 << 20) }), "instruction");
    submit(json!({ "instruction": 5 }), "instruction");
    submit(json!({ "instruction": "x", "prioritty": 1 }), "prioritty");
    submit(json!({ "instruction": "x", "priority": -1 }), "priority");
    submit(json!({ "instruction": "x", "priority": 101 }), "priority");
    submit(json!({ "instruction": "x", "runAt": "tomorrow" }), "runAt");
    submit(json!({ "instruction": "x", "tags": [""] }), "tags");
    submit(json!({ "instruction": "x", "options": { "timeout": -5 } }), "options.timeout");
    submit(json!({ "instruction": "x", "options": { "timeout": { "idle": -5 } } }), "options.timeout.idle");
    submit(json!({ "instruction": "x", "options": { "maxAttempts": 0 } }), "options.maxAttempts");
    submit(json!({ "instruction": "x", "options": { "retry": { "maxDelay": -1 } } }), "options.retry.maxDelay");
    submit(json!({ "instruction": "x", "options": { "sdk": { "maxTurns": -1 } } }), "options.sdk.maxTurns");
    submit(json!({ "instruction": "x", "options": { "sdk": { "maxBudgetUsd": -0.5 } } }), "options.sdk.maxBudgetUsd");
    submit(
        json!({ "instruction": "x", "options": { "sdk": { "permissionMode": "yolo" } } }),
        "options.sdk.permissionMode",
    );
    submit(json!({ "instruction": "x", "options": { "sdk": { "modle": "x" } } }), "options.sdk.modle");
    submit(json!({ "instruction": "x", "options": { "sdk": { "outputSchema": [] } } }), "options.sdk.outputSchema");
    submit(json!({ "instruction": "x", "context": { "workingDirectory": "ws" } }), "context.workingDirectory");
    submit(
        json!({ "instruction": "x", "context": { "workingDirectory": ws.join("none") } }),
        "context.workingDirectory",
    );
    submit(json!([]), "body");

    for outside in ["/", "/etc", &format!("{}-other", ws.display()), &format!("{}/../data", ws.display()), "/no/such"] {
        let body = json!({ "instruction": "x", "context": { "workingDirectory": outside } });
        refused(&server, "POST", "/api/tasks", Some(body), 403, "PATH_NOT_ALLOWED");
    }
    std::os::unix::fs::symlink("/etc", ws.join("link")).expect("a link");
    let body = json!({ "instruction": "x", "context": { "workingDirectory": ws.join("link") } });
    refused(&server, "POST", "/api/tasks", Some(body), 403, "PATH_NOT_ALLOWED");

    let json_type = ("content-type", "application/json");
    let (status, _, answer) = server.http.send("POST", "/api/tasks", &[json_type], Some("{\"instruction\": "));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_JSON")));
    let (status, _, answer) = server.http.send("POST", "/api/tasks", &[json_type], Some("{\"instruction\":\"x\"} x"));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("INVALID_JSON")));
    let (status, _, answer) =
        server.http.send("POST", "/api/tasks", &[("content-type", "text/plain")], Some("{\"instruction\":\"x\"}"));
    assert_eq!((status, &answer["error"]["code"]), (415, &json!("UNSUPPORTED_MEDIA_TYPE")));
    let huge = format!("{{\"instruction\":\"{}\"}}", "x".repeat(9 << 20));
    let (status, _, answer) = server.http.send("POST", "/api/tasks", &[json_type], Some(&huge));
    assert_eq!((status, &answer["error"]["code"]), (413, &json!("PAYLOAD_TOO_LARGE")));

    assert_eq!(server.get("/api/tasks")["total"], 0, "nothing was stored");
    assert_eq!(server.get("/api/queue/stats")["size"], 0);
}

#[test]
fn what_is_not_there_or_not_allowed_has_its_code() {
    let world = World::new();
    let server = world.serve("inline", &[("MAX_PERMISSION_MODE", "acceptEdits"), ("MAX_PENDING_TASKS", "1")]);
    let none = "01890000-0000-7000-8000-000000000000";
    for id in [none, "nonsense"] {
        for (method, path) in [("GET", ""), ("DELETE", ""), ("GET", "/logs"), ("GET", "/events"), ("POST", "/retry")] {
            refused(&server, method, &format!("/api/tasks/{id}{path}"), None, 404, "TASK_NOT_FOUND");
        }
    }
    refused(&server, "GET", "/api/nothing", None, 404, "NOT_FOUND");
    refused(&server, "PUT", "/api/tasks", None, 405, "METHOD_NOT_ALLOWED");
    for (method, path) in [("GET", ""), ("POST", ""), ("GET", "/x"), ("DELETE", "/x")] {
        refused(&server, method, &format!("/api/workers{path}"), None, 404, "WORKER_MANAGER_UNAVAILABLE");
    }
    for (query, field) in [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("offset=-1", "offset"),
        ("status=done", "status"),
        ("status=running,done", "status"),
        ("errorClass=bad", "errorClass"),
        ("since=yesterday", "since"),
        ("until=", "until"),
        ("session=x", "session"),
        ("schedule=x", "schedule"),
        ("cursor=x", "cursor"),
        ("colour=red", "colour"),
    ] {
        let error = refused(&server, "GET", &format!("/api/tasks?{query}"), None, 422, "INVALID_INPUT");
        assert_eq!(error["details"]["field"], field);
    }
    refused(&server, "PUT", "/api/queue/concurrency", Some(json!({ "concurrency": -1 })), 422, "INVALID_INPUT");
    let ceiling = |sdk: Value| {
        let body = json!({ "instruction": "x", "options": { "sdk": sdk } });
        refused(&server, "POST", "/api/tasks", Some(body), 403, "PERMISSION_CEILING")
    };
    let error = ceiling(json!({ "permissionMode": "bypassPermissions" }));
    assert!(error["message"].as_str().expect("text").contains("MAX_PERMISSION_MODE"));
    ceiling(json!({ "permissionMode": "allow" }));
    ceiling(json!({ "allowedTools": ["Read", "Bash(git *)"] }));
    let body = json!({ "instruction": "x", "options": { "sdk": { "addDirs": ["/etc"] } } });
    refused(&server, "POST", "/api/tasks", Some(body), 403, "PATH_NOT_ALLOWED");

    server.http.ask("POST", "/api/queue/pause", None);
    let id = server.submit(json!({ "instruction": "waits" }));
    let (status, headers, answer) = server.http.send(
        "POST",
        "/api/tasks",
        &[("content-type", "application/json")],
        Some("{\"instruction\":\"x\"}"),
    );
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("QUEUE_FULL")));
    assert!(headers.contains_key("retry-after"));
    refused(&server, "POST", &format!("/api/tasks/{id}/retry"), None, 409, "TASK_NOT_ENDED");
}

#[test]
fn keys_hosts_and_origins_are_checked() {
    let world = World::new();
    let server = world.serve("standalone", &[("CORS_ORIGIN", "https://good.example")]);
    let ask = |method: &str, path: &str, headers: &[(&str, &str)]| {
        let (status, headers, answer) = server.http.send(method, path, headers, None);
        (status, answer["error"]["code"].as_str().unwrap_or_default().to_owned(), headers)
    };
    let code = |headers: &[(&str, &str)]| {
        let (status, code, _) = ask("GET", "/api/tasks", headers);
        (status, code)
    };
    let key = server.http.key.clone();
    assert_eq!(code(&[("x-api-key", &key)]), (200, String::new()));
    assert_eq!(code(&[("x-api-key", ""), ("authorization", &format!("Bearer {key}"))]).0, 401, "one key, not two");
    for wrong in ["", "guess", &key[1..], &format!("{key}x")] {
        assert_eq!(code(&[("x-api-key", wrong)]), (401, "UNAUTHORIZED".to_owned()));
    }
    for path in ["/health", "/health/live", "/health/ready"] {
        assert_eq!(ask("GET", path, &[("x-api-key", "")]).0, 200, "{path} is open");
    }
    for host in ["evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "10.0.0.1"] {
        assert_eq!(code(&[("host", host)]), (403, "HOST_NOT_ALLOWED".to_owned()), "{host}");
        assert_eq!(ask("GET", "/health", &[("host", host)]).0, 403);
    }
    for host in ["localhost", "LOCALHOST:5000", "127.0.0.1:1", "[::1]:5000"] {
        assert_eq!(code(&[("host", host)]).0, 200, "{host}");
    }
    for origin in ["https://evil.example", "null", "http://127.0.0.1:1"] {
        assert_eq!(code(&[("origin", origin)]), (403, "ORIGIN_NOT_ALLOWED".to_owned()), "{origin}");
    }
    assert_eq!(code(&[("sec-fetch-site", "cross-site")]), (403, "ORIGIN_NOT_ALLOWED".to_owned()));
    assert_eq!(code(&[("origin", &server.http.url)]).0, 200, "our own page");
    let (status, _, headers) = ask("OPTIONS", "/api/tasks", &[("origin", "https://good.example"), ("x-api-key", "")]);
    assert_eq!(status, 204);
    assert_eq!(headers["access-control-allow-origin"], "https://good.example");
    let file = world.dir.join("data/api-key");
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file).expect("the key").permissions());
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_task_has_every_field_and_the_list_its_pages() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let ids: Vec<_> = (0..5).map(|number| {
        server.submit(json!({ "instruction": format!("n{number}"), "priority": number, "tags": [format!("t{}", number % 2)] }))
    }).collect();
    let (status, headers, answer) = server.http.send(
        "POST",
        "/api/tasks",
        &[("content-type", "application/json")],
        Some("{\"instruction\":\"last\"}"),
    );
    assert_eq!((status, &answer["status"]), (202, &json!("pending")));
    assert_eq!(
        headers["location"].to_str().ok(),
        answer["taskId"].as_str().map(|id| format!("/api/tasks/{id}")).as_deref()
    );

    let task = server.task(&ids[0]);
    for field in [
        "taskId",
        "status",
        "instruction",
        "context",
        "options",
        "priority",
        "createdAt",
        "runAt",
        "startedAt",
        "completedAt",
        "attempt",
        "maxAttempts",
        "workerId",
        "result",
        "structuredOutput",
        "error",
        "sdkSessionId",
        "continuedFrom",
        "costUsd",
        "usage",
        "numTurns",
        "durationMs",
        "permissionDenials",
        "waitingFor",
        "workingDirectory",
        "tags",
    ] {
        assert!(task.get(field).is_some(), "{field} in {task:#}");
    }
    let created = task["createdAt"].as_str().expect("a time");
    assert!(created.len() == 24 && created.ends_with('Z') && created.as_bytes()[19] == b'.', "{created}");

    let page = server.get("/api/tasks?limit=2");
    assert_eq!((&page["total"], &page["limit"], &page["offset"]), (&json!(6), &json!(2), &json!(0)));
    assert_eq!(page["tasks"][0]["instruction"], "last", "newest first");
    let next = server.get(&format!("/api/tasks?limit=2&cursor={}", page["nextCursor"].as_str().expect("a cursor")));
    assert_eq!(next["tasks"][0]["taskId"], ids[3]);
    assert_eq!(server.get("/api/tasks?offset=5")["tasks"][0]["taskId"], ids[0]);
    assert_eq!(server.get("/api/tasks?offset=5")["nextCursor"], Value::Null);
    assert_eq!(server.get("/api/tasks?tag=t1")["total"], 2);
    assert_eq!(server.get("/api/tasks?status=pending")["total"], 6);
    assert_eq!(server.get("/api/tasks?status=running")["total"], 0);
    let own = task["workingDirectory"].as_str().expect("a folder of its own");
    assert_eq!(server.get(&format!("/api/tasks?workingDirectory={own}"))["total"], 1);

    server.http.ask("DELETE", &format!("/api/tasks/{}", ids[0]), None);
    let stats = server.get("/api/queue/stats");
    let expected = json!({ "size": 5, "pending": 5, "running": 0, "completed": 0, "failed": 0, "cancelled": 1,
        "isPaused": false, "concurrency": 2, "oldestPendingMs": stats["oldestPendingMs"] });
    assert_eq!(stats, expected);
    let health = server.get("/health");
    assert_eq!(health["queue"], json!({ "size": 5, "pending": 5, "running": 0, "completed": 0, "failed": 0 }));
    assert_eq!((&health["status"], &health["workerMode"]), (&json!("healthy"), &json!("standalone")));
}

#[test]
fn a_paused_queue_starts_nothing_and_starts_by_priority_then_age() {
    let world = World::new();
    let server = world.serve("inline", &[("QUEUE_CONCURRENCY", "1")]);
    assert_eq!(server.http.ask("POST", "/api/queue/pause", None).1["isPaused"], true);
    let submit = |name: &str, priority| server.submit(json!({ "instruction": name, "priority": priority }));
    let ids = [submit("third", 1), submit("first", 9), submit("fourth", 1), submit("second", 9)];
    let later = server.submit(json!({ "instruction": "later", "priority": 100, "runAt": "2099-01-01T00:00:00Z" }));
    assert_eq!(server.http.ask("PUT", "/api/queue/concurrency", Some(json!({ "concurrency": 1 }))).1["concurrency"], 1);
    assert_eq!(server.http.ask("POST", "/api/queue/start", None).1["isPaused"], false);
    let mut started: Vec<_> = ids.iter().map(|id| server.wait_end(id)).collect();
    started.sort_by_key(|task| task["startedAt"].to_string());
    let names: Vec<_> = started.iter().map(|task| task["instruction"].as_str().expect("text")).collect();
    assert_eq!(names, ["first", "second", "third", "fourth"]);
    assert_eq!(server.task(&later)["status"], "pending");
}

#[test]
fn events_are_numbered_without_gap_and_replayed_from_the_last_one_seen() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let id = server.submit(task(&world.ws(), "events", &["bash echo one", "slow a few words that come one by one"]));
    let path = format!("/api/tasks/{id}/events");
    let live: Vec<Value> = server.http.events(&path, None).collect();
    let stored: Vec<&Value> = live.iter().filter(|event| event["seq"].is_i64()).collect();
    let numbers: Vec<i64> = stored.iter().filter_map(|event| event["seq"].as_i64()).collect();
    assert_eq!(numbers, (1..=numbers.len() as i64).collect::<Vec<_>>());
    let kinds: Vec<_> = stored.iter().map(|event| event["kind"].as_str().expect("a kind")).collect();
    for kind in ["status", "init", "tool_use", "tool_result", "assistant", "result"] {
        assert!(kinds.contains(&kind), "{kind} in {kinds:?}");
    }
    assert_eq!(stored.first().map(|event| &event["data"]["status"]), Some(&json!("pending")));
    assert_eq!(stored.last().map(|event| &event["data"]["status"]), Some(&json!("completed")));
    let partial: String =
        live.iter().filter(|event| event["seq"].is_null()).filter_map(|event| event["text"].as_str()).collect();
    assert!(partial.contains("words"), "partial text came as it was written: {partial:?}");

    let rest: Vec<i64> = server.http.events(&path, Some("3")).filter_map(|event| event["seq"].as_i64()).collect();
    assert_eq!(rest, (4..=numbers.len() as i64).collect::<Vec<_>>());
    let after: Vec<i64> =
        server.http.events(&format!("{path}?after=5"), None).filter_map(|event| event["seq"].as_i64()).collect();
    assert_eq!(after.first(), Some(&6));
    let (_, _, page) =
        server.http.send("GET", &format!("{path}?after=2&limit=2"), &[("accept", "application/json")], None);
    assert_eq!((&page["events"][0]["seq"], &page["last"]), (&json!(3), &json!(4)));
    let logs = server.get(&format!("/api/tasks/{id}/logs"));
    assert_eq!(logs["logs"].as_array().map(Vec::len), Some(numbers.len()));
    assert_eq!(logs["taskId"], id);
}

#[test]
fn a_submit_can_wait_for_the_end() {
    let world = World::new();
    let patient = world.serve("inline", &[]);
    let mut body = task(&world.ws(), "quick", &["say quick"]);
    body["options"]["async"] = json!(false);
    let (status, done) = patient.http.ask("POST", "/api/tasks", Some(body));
    assert_eq!((status, &done["status"], &done["result"]), (200, &json!("completed"), &json!("quick")));
    drop(patient);
    let server = world.serve("inline", &[("WAIT_TIMEOUT_MS", "3000")]);
    let mut body = task(&world.ws(), "slow", &["delay 60000", "say slow"]);
    body["options"]["async"] = json!(false);
    let (status, running) = server.http.ask("POST", "/api/tasks", Some(body));
    assert_eq!((status, &running["status"]), (504, &json!("running")), "it goes on");
}

#[test]
fn a_key_for_a_request_gives_the_same_task() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let ask = |key: &str, body: &str| {
        server.http.send(
            "POST",
            "/api/tasks",
            &[("content-type", "application/json"), ("idempotency-key", key)],
            Some(body),
        )
    };
    let (_, _, first) = ask("k1", "{\"instruction\":\"x\"}");
    let (status, headers, again) = ask("k1", "{\"instruction\":\"x\"}");
    assert_eq!((status, &again["taskId"]), (202, &first["taskId"]));
    assert_eq!(headers["idempotent-replayed"], "true");
    assert_eq!(ask("k1", "{\"instruction\":\"y\"}").0, 422);
    let ids: std::collections::BTreeSet<String> = std::thread::scope(|scope| {
        let racers: Vec<_> =
            (0..8).map(|_| scope.spawn(|| ask("race", "{\"instruction\":\"x\"}").2["taskId"].to_string())).collect();
        racers.into_iter().map(|racer| racer.join().expect("an answer")).collect()
    });
    assert_eq!(ids.len(), 1, "also under race");
    assert_eq!(server.get("/api/tasks")["total"], 2);
}

#[test]
fn a_retry_is_a_new_task_that_names_the_old_one() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "again", &["error 400"]));
    let failed = server.wait_end(&id);
    assert_eq!((&failed["status"], &failed["error"]["class"]), (&json!("failed"), &json!("invalid")));
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{id}/retry"), None);
    assert_eq!((status, &answer["retryOf"]), (202, &json!(id)));
    let new = answer["taskId"].as_str().expect("an id");
    assert_ne!(new, id);
    assert_eq!(server.wait_end(new)["instruction"], failed["instruction"]);
    assert_eq!(server.task(&id), failed, "the old one never changes");
    let (status, answer) = server.http.ask("DELETE", &format!("/api/tasks/{id}"), None);
    assert_eq!((status, &answer["error"]["code"]), (409, &json!("TASK_ENDED")));
    assert_eq!(answer["error"]["details"]["task"]["taskId"], id);
}

#[test]
fn workers_are_listed_started_and_refused() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "1")]);
    let list = server.get("/api/workers");
    assert_eq!((&list["healthy"], &list["workerCount"]), (&json!(true), &json!(1)));
    let worker = &list["workers"][0];
    assert_eq!(
        (&worker["workerId"], &worker["restartCount"], &worker["connected"]),
        (&json!("worker-0"), &json!(0), &json!(true))
    );
    assert!(worker["pid"].is_u64() && worker["uptime"].is_i64() && worker["startTime"].is_string());
    let (status, started) = server.http.ask("POST", "/api/workers", None);
    assert_eq!((status, &started["workerId"]), (201, &json!("worker-1")));
    refused(&server, "POST", "/api/workers", Some(json!({ "workerId": "worker-1" })), 409, "WORKER_EXISTS");
    refused(&server, "POST", "/api/workers", Some(json!({ "workerId": "../x" })), 422, "INVALID_INPUT");
    refused(&server, "POST", "/api/workers", Some(json!({ "name": "x" })), 422, "INVALID_INPUT");
    refused(&server, "GET", "/api/workers/nobody", None, 404, "WORKER_NOT_FOUND");
    refused(&server, "DELETE", "/api/workers/nobody", None, 404, "WORKER_NOT_FOUND");
    assert_eq!(server.get("/health")["workers"]["count"], 2);
}

#[test]
fn a_batch_is_stored_as_a_whole_or_not_at_all() {
    let world = World::new();
    let server = world.serve("standalone", &[("MAX_PENDING_TASKS", "5")]);
    let batch = |tasks: Value| server.http.ask("POST", "/api/tasks/batch", Some(json!({ "tasks": tasks })));
    let one = || json!({ "instruction": "x" });
    let total = || server.get("/api/tasks")["total"].clone();

    let refused = [
        (json!([]), 422, "tasks", Value::Null),
        (json!([one(), { "instruction": "" }]), 422, "tasks[1].instruction", json!(1)),
        (
            json!([one(), { "instruction": "x", "options": { "async": false } }]),
            422,
            "tasks[1].options.async",
            json!(1),
        ),
        (json!([{ "instruction": "x", "nothing": 1 }]), 422, "tasks[0].nothing", Value::Null),
    ];
    for (tasks, status, field, index) in refused {
        let (got, answer) = batch(tasks);
        let details = &answer["error"]["details"];
        assert_eq!((got, &details["field"], &details["index"]), (status, &json!(field), &index), "{answer}");
    }
    let (status, answer) = batch(json!([one(), one(), one(), one(), one(), one()]));
    assert_eq!((status, &answer["error"]["code"]), (429, &json!("QUEUE_FULL")), "the sixth has no room");
    assert_eq!(total(), 0, "none of them is stored");

    let body = json!({ "tasks": [one(), { "instruction": "y", "priority": 7 }] });
    let keyed = |body: &Value| {
        let headers = [("Idempotency-Key", "once")];
        server.http.try_ask("POST", "/api/tasks/batch", &headers, Some(body)).expect("an answer")
    };
    let (status, first) = keyed(&body);
    assert_eq!(status, 202, "{first}");
    let priorities: Vec<_> = first["tasks"].as_array().expect("tasks").iter().map(|task| &task["priority"]).collect();
    assert_eq!(priorities, [0, 7], "in order");
    assert_eq!(keyed(&body).1["tasks"], first["tasks"], "the same tasks");
    assert_eq!(keyed(&json!({ "tasks": [one()] })).0, 422, "the key stands for another batch");
    assert_eq!(total(), 2);
    check_history(&world, &[]);
}

#[test]
fn a_pending_task_can_be_moved_in_the_line() {
    let world = World::new();
    let settings = [("CLAUDE_PATH", scripted_claude()), ("QUEUE_CONCURRENCY", "1".to_owned())];
    let settings = settings.each_ref().map(|(name, value)| (*name, value.as_str()));
    let server = world.serve("inline", &settings);
    server.http.ask("POST", "/api/queue/pause", None);
    let ids: Vec<String> =
        (0..3).map(|n| server.submit(json!({ "instruction": format!("{n}"), "priority": n }))).collect();
    let path = |n: usize| format!("/api/tasks/{}", ids[n]);
    let change = |n: usize, changes: Value| server.http.ask("PATCH", &path(n), Some(changes));

    let (status, moved) = change(0, json!({ "priority": 100 }));
    assert_eq!((status, &moved["priority"], &moved["status"]), (200, &json!(100), &json!("pending")), "{moved}");
    let (_, later) = change(1, json!({ "runAt": "2125-01-01T00:00:00Z" }));
    assert_eq!(later["runAt"], "2125-01-01T00:00:00.000Z");
    for wrong in [json!({}), json!({ "priority": 101 }), json!({ "runAt": "soon" }), json!({ "instruction": "x" })] {
        refused(&server, "PATCH", &path(2), Some(wrong), 422, "INVALID_INPUT");
    }
    let nobody = "/api/tasks/00000000-0000-7000-8000-000000000000";
    refused(&server, "PATCH", nobody, Some(json!({ "priority": 1 })), 404, "TASK_NOT_FOUND");

    server.http.ask("POST", "/api/queue/start", None);
    let started = |n: usize| server.wait_end(&ids[n])["startedAt"].as_str().expect("a time").to_owned();
    assert!(started(0) < started(2), "the last has become the first");
    assert_eq!(server.task(&ids[1])["status"], "pending", "its time has not come");
    assert_eq!(change(1, json!({ "runAt": null })).0, 200);
    assert_eq!(server.wait_end(&ids[1])["status"], "completed", "at once");
    refused(&server, "PATCH", &path(1), Some(json!({ "priority": 1 })), 409, "TASK_NOT_PENDING");
    check_history(&world, &[]);
}
