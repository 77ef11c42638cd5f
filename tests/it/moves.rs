//! A database that moves from a file to a server.

use serde_json::{Value, json};

use crate::support::postgres::Cluster;
use crate::support::{Server, World, check_history, scripted_claude, until};
use crate::webhooks::{Ear, deliveries};

const KEY: &str = "a-key-of-sixteen-characters";

/// What a client sees of everything.
fn seen(server: &Server) -> Vec<Value> {
    let tasks = server.get("/api/tasks?limit=100");
    let ids =
        tasks["tasks"].as_array().expect("tasks").iter().map(|task| task["taskId"].as_str().expect("an id").to_owned());
    let each = ids.flat_map(|id| {
        ["", "/events/page", "/deliveries", "/permissions"].map(|of| server.get(&format!("/api/tasks/{id}{of}")))
    });
    let all = [
        "/api/schedules",
        "/api/queue/limits",
        "/api/webhooks",
        "/api/usage",
        "/api/files",
        "/api/keys",
        "/api/audit",
        "/api/events/page",
    ];
    let all = all.map(|path| server.get(path));
    let stats = server.get("/api/queue/stats");
    let counts = json!([stats["pending"], stats["running"], stats["completed"], stats["failed"], stats["cancelled"]]);
    each.chain(all).chain([tasks.clone(), counts]).collect()
}

fn moved(world: &World, url: &str) -> (bool, String) {
    let ran = world.command("db", &[]).args(["move", "--to", url]).output().expect("the program");
    (ran.status.success(), String::from_utf8_lossy(&ran.stdout).into_owned() + &String::from_utf8_lossy(&ran.stderr))
}

#[test]
fn everything_moves_to_a_server_with_its_ids_and_numbers() {
    let (mut world, cluster) = (World::with(None), Cluster::shared());
    let database = cluster.database();
    let url = cluster.url(&database);
    let scripted = scripted_claude();
    let settings = [("API_KEY", KEY), ("CLAUDE_PATH", &*scripted), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")];
    let server = world.serve("inline", &settings);
    let post = |path: &str, body: Value| {
        let (status, answer) = server.http.ask("POST", path, Some(body));
        assert!((200..300).contains(&status), "{path}: {answer:#}");
        answer
    };
    let ear = Ear::open(&["200 OK"]);
    post("/api/webhooks", json!({ "url": ear.url, "events": ["completed", "failed"] }));
    let ids: Vec<String> = (0..5)
        .map(|n| {
            server.submit(json!({ "instruction": format!("quick {n} \u{1F980}"), "tags": ["a", "b"], "priority": n }))
        })
        .collect();
    for id in &ids {
        server.wait_end(id);
        // What is still to be told changes by itself.
        until("the webhook to be told", || {
            let all = deliveries(&server, id).as_array().cloned().unwrap_or_default();
            (!all.is_empty() && all.iter().all(|one| one["state"] == "delivered")).then_some(())
        });
    }
    post("/api/queue/pause", json!({}));
    let waiting = server.submit(json!({ "instruction": "quick later", "concurrencyKey": "lane" }));
    let gone = server.submit(json!({ "instruction": "quick never" }));
    server.http.ask("DELETE", &format!("/api/tasks/{gone}"), None);
    post("/api/schedules", json!({ "cron": "0 0 1 1 *", "name": "yearly", "task": { "instruction": "quick" } }));
    post("/api/keys", json!({ "name": "ci", "scopes": ["read", "submit"], "limits": { "dailyBudgetUsd": 5 } }));
    let limit = json!({ "group": "tag", "name": "a", "concurrency": 3 });
    assert_eq!(server.http.ask("PUT", "/api/queue/limits", Some(limit)).0, 200);

    let content: Vec<u8> = (0..600_000_u32).map(|n| (n % 249) as u8).collect();
    let (status, _, file) = server.http.bytes("POST", "/api/files", &[], Some(&content));
    assert_eq!(status, 201);
    let file: Value = serde_json::from_slice(&file).expect("JSON");
    let file = format!("/api/files/{}/content", file["fileId"].as_str().expect("an id"));
    assert_eq!(server.http.bytes("POST", "/api/files", &[], Some(b"")).0, 201);

    let (ok, said) = moved(&world, &url);
    assert!(!ok && said.contains("is in use"), "{said}");
    let before = seen(&server);
    drop(server);
    let (ok, said) = moved(&world, &url);
    assert!(ok && said.contains("tasks") && said.contains("Moved."), "{said}");
    assert!(world.dir.join("data/cc.db.moved").exists() && !world.dir.join("data/cc.db").exists());
    let (ok, said) = moved(&world, &url);
    assert!(!ok && said.contains("there is no database"), "{said}");

    world.database = Some(url.clone());
    let server = world.serve("inline", &settings);
    let after = seen(&server);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before, after);
    }
    assert_eq!(server.http.raw(&file), (200, content));
    assert!(world.dir.join("data/cc.db.moved-files").is_dir() && !world.dir.join("data/cc.db-files").exists());
    let newest = |page: &Value| page["events"].as_array().and_then(|all| all.last()?["n"].as_i64()).unwrap_or(0);
    server.http.ask("POST", "/api/queue/start", None);
    assert_eq!(server.wait_end(&waiting)["status"], "completed");
    let page = server.get(&format!("/api/events/page?after={}", newest(&before[before.len() - 3])));
    assert!(page["events"].as_array().is_some_and(|events| !events.is_empty()), "{page:#}");
    drop(server);
    check_history(&world, &["--settled"]);
    std::fs::rename(world.dir.join("data/cc.db.moved"), world.dir.join("data/cc.db")).expect("a file");
    world.database = None;
    let (ok, said) = moved(&world, &url);
    assert!(!ok && said.contains("has tasks of its own"), "{said}");
}
