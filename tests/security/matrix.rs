//! Key → key: every operation with every kind of key. A new operation without a row fails here.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::support::http::Client;
use crate::support::{Server, World, scripted_claude, task, until};

/// What an operation is about, and what one learns of it that isn't one's own.
#[derive(Clone, Copy, PartialEq)]
enum About {
    /// A thing of one key: to others it is not there.
    Own,
    /// A list, at this place of the answer: others see none of it.
    List(&'static str),
    /// Something new: it is the caller's own.
    New,
    /// The server: for admins.
    Server,
    /// Nothing of anybody.
    Nothing,
    /// Nothing that needs a key.
    Open,
}

use About::{List, New, Nothing, Open, Own, Server as Whole};

/// Operation, scope that it needs, what it is about, and a body.
const ROWS: &[(&str, &str, About, &str)] = &[
    ("submitTask", "submit", New, r#"{"instruction": "x", "runAt": "2125-01-01T00:00:00Z"}"#),
    ("listTasks", "read", List("/tasks"), ""),
    ("submitTasks", "submit", New, r#"{"tasks": [{"instruction": "x", "runAt": "2125-01-01T00:00:00Z"}]}"#),
    ("changeTasks", "submit", List("matched"), r#"{"filter": {}, "action": "amend", "priority": 5, "expect": 9}"#),
    ("listSessions", "read", List("/sessions"), ""),
    ("searchConversations", "read", List("/hits"), "?q=ended"),
    ("getTask", "read", Own, ""),
    ("changeTask", "submit", Own, r#"{"priority": 5}"#),
    ("retryTask", "submit", Own, ""),
    ("followTask", "read", Own, ""),
    ("listTaskEvents", "read", Own, ""),
    ("followTasks", "read", List("stream"), ""),
    ("listEvents", "read", List("/events"), ""),
    ("openWebSocket", "read", Open, ""),
    ("explainTask", "read", Own, ""),
    ("getTaskGraph", "read", Own, ""),
    ("getRace", "read", Own, ""),
    ("pickWinner", "submit", Own, ""),
    ("getTaskPatch", "read", Own, ""),
    ("getConversation", "read", Own, ""),
    ("getTaskLogs", "read", Own, ""),
    ("listPermissions", "read", Own, ""),
    ("listQuestions", "read", List("/questions"), ""),
    ("answerPermission", "decide", Own, r#"{"behavior": "deny"}"#),
    ("sendMessage", "submit", Own, r#"{"text": "more"}"#),
    ("interruptTask", "submit", Own, ""),
    ("listDeliveries", "read", Own, ""),
    ("retryDelivery", "submit", Own, ""),
    ("callTool", "read", Nothing, r#"{"jsonrpc": "2.0", "id": 1, "method": "ping"}"#),
    ("listWorktrees", "read", List("/worktrees"), ""),
    ("removeWorktree", "submit", Own, ""),
    ("listArtifacts", "read", Own, ""),
    ("getArtifact", "read", Own, "?path=x"),
    ("getArtifactArchive", "read", Own, ""),
    ("sendFile", "submit", New, "!x"),
    ("sendFilePart", "submit", New, "!of the stranger"),
    ("listFiles", "read", List("/files"), ""),
    ("getFile", "read", Own, ""),
    ("readFile", "read", Own, ""),
    ("putSecret", "submit", New, r#"{"value": "a-value-of-the-caller"}"#),
    ("listRules", "read", List("/rules"), ""),
    ("addRule", "decide", New, r#"{"rule": "Read", "tag": "ci"}"#),
    ("removeRule", "decide", Own, ""),
    ("listSecrets", "read", List("/secrets"), ""),
    ("getQueueStats", "read", List("counts"), ""),
    ("pauseQueue", "admin", Whole, r#"{"tag": "none"}"#),
    ("startQueue", "admin", Whole, r#"{"tag": "none"}"#),
    ("setConcurrency", "admin", Whole, r#"{"concurrency": 2}"#),
    ("listLimits", "admin", Whole, ""),
    ("setLimit", "admin", Whole, r#"{"group": "tag", "name": "none", "concurrency": 5}"#),
    ("removeLimit", "admin", Whole, "?group=tag&name=none"),
    ("addSchedule", "submit", New, r#"{"cron": "0 0 1 1 *", "task": {"instruction": "x"}}"#),
    ("listSchedules", "read", List("/schedules"), ""),
    ("previewSchedule", "read", Nothing, "?cron=0%200%201%201%20*"),
    ("getSchedule", "read", Own, ""),
    ("changeSchedule", "submit", Own, r#"{"name": "other"}"#),
    ("runSchedule", "submit", Own, ""),
    ("listScheduleRuns", "read", Own, ""),
    ("addWebhook", "submit", New, r#"{"url": "http://localhost:9/"}"#),
    ("listWebhooks", "read", List("/webhooks"), ""),
    ("changeWebhook", "submit", Own, r#"{"enabled": true}"#),
    ("getUsage", "read", List("/days"), ""),
    ("getSeries", "admin", Whole, ""),
    ("listSettings", "admin", Whole, ""),
    ("proveAll", "admin", Whole, ""),
    ("proveTask", "read", Own, ""),
    ("getMetrics", "admin", Whole, ""),
    ("runDoctor", "admin", Whole, ""),
    ("listWorkers", "admin", Whole, ""),
    ("startWorker", "admin", Whole, ""),
    ("getWorker", "admin", Whole, ""),
    ("listKeys", "admin", Whole, ""),
    ("createKey", "admin", Whole, r#"{"name": "fresh", "scopes": ["read"]}"#),
    ("rotateKey", "admin", Whole, ""),
    ("listAudit", "admin", Whole, ""),
    ("getHealth", "", Open, ""),
    ("checkLive", "", Open, ""),
    ("checkReady", "", Open, ""),
    ("getContract", "", Open, ""),
    ("getContractPage", "", Open, ""),
    // What takes something away comes last.
    ("removeFile", "submit", Own, ""),
    ("removeSecret", "submit", Own, ""),
    ("removeWebhook", "submit", Own, ""),
    ("removeSchedule", "submit", Own, ""),
    ("cancelTask", "submit", Own, ""),
    ("crashWorker", "admin", Whole, ""),
    ("stopWorker", "admin", Whole, ""),
    ("revokeKey", "admin", Whole, ""),
];

/// An operation of the contract: its name, method, path and scope.
fn operations(server: &Server) -> Vec<(String, String, String, String)> {
    let document = server.get("/api/openapi.json");
    let paths = document["paths"].as_object().expect("paths").clone();
    let of_path = |(path, methods): (String, Value)| {
        let methods = methods.as_object().expect("methods").clone();
        methods.into_iter().map(move |(method, one)| {
            let text = |name: &str| one[name].as_str().unwrap_or_default().to_owned();
            (text("operationId"), method.to_uppercase(), path.clone(), text("x-scope"))
        })
    };
    paths.into_iter().flat_map(of_path).collect()
}

/// Things of alice, to put into paths.
struct Things {
    task: String,
    ended: String,
    schedule: String,
    webhook: String,
    delivery: String,
    file: String,
    race: String,
    rule: String,
}

/// Sends a file, and returns its id.
fn sent(client: &Client, bytes: &[u8]) -> String {
    let (status, _, answer) = client.bytes("POST", "/api/files", &[], Some(bytes));
    assert_eq!(status, 201);
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    answer["fileId"].as_str().expect("an id").to_owned()
}

fn things(alice: &Client, ended: String) -> Things {
    let made = |path: &str, body: Value, id: &str| {
        let (status, answer) = alice.ask("POST", path, Some(body));
        assert!(matches!(status, 201 | 202), "{path}: {answer}");
        answer[id].as_str().expect("an id").to_owned()
    };
    let later = json!({ "instruction": "x", "runAt": "2125-01-01T00:00:00Z" });
    let mut race = later.clone();
    race["race"] = json!({ "n": 2, "pick": "cheapest" });
    let plan = json!({ "cron": "0 0 1 1 *", "task": { "instruction": "x" } });
    let deliveries = alice.ask("GET", &format!("/api/tasks/{ended}/deliveries"), None).1;
    Things {
        task: made("/api/tasks", later, "taskId"),
        schedule: made("/api/schedules", plan, "scheduleId"),
        webhook: made("/api/webhooks", json!({ "url": "http://localhost:9/" }), "webhookId"),
        delivery: deliveries["deliveries"][0]["deliveryId"].as_str().expect("a delivery").to_owned(),
        ended,
        race: made("/api/tasks", race, "taskId"),
        rule: made("/api/rules", json!({ "rule": "Read" }), "ruleId"),
        file: sent(alice, b"of alice"),
    }
}

fn path_of(path: &str, id: &str, things: &Things) -> String {
    let subject = match path.split('/').nth(2) {
        Some("schedules") => &things.schedule,
        Some("webhooks") => &things.webhook,
        Some("workers") => "worker-0",
        Some("rules") => &things.rule,
        _ if matches!(id, "getRace" | "pickWinner") => &things.race,
        _ if matches!(id, "retryTask" | "retryDelivery" | "listDeliveries" | "getTaskPatch") => &things.ended,
        _ => &things.task,
    };
    // A part of a file is sent by its digest, which is the same for everybody.
    let stranger = hex::encode(Sha256::digest("of the stranger"));
    let path = path.replace("{file}", if id == "sendFilePart" { &stranger } else { &things.file });
    let path = path.replace("{id}", subject).replace("{request}", "none").replace("{delivery}", &things.delivery);
    path.replace("{name}", "spare")
}

pub fn key(server: &Server, name: &str, scopes: &[&str], more: Value) -> Client {
    let mut body = json!({ "name": name, "scopes": scopes });
    body.as_object_mut().expect("an object").extend(more.as_object().cloned().unwrap_or_default());
    let (status, answer) = server.http.ask("POST", "/api/keys", Some(body));
    assert_eq!(status, 201, "{answer}");
    Client::new(&server.http.url, answer["key"].as_str().expect("a secret"))
}

#[test]
fn every_operation_is_closed_to_keys_that_may_not() {
    let world = World::new();
    let settings = [
        ("CLAUDE_PATH", &*scripted_claude()),
        ("WEBHOOK_ALLOWED_HOSTS", "localhost"),
        ("WORKER_COUNT", "1"),
        ("CRASH_BUTTON", "on"),
        ("SECRETS_KEY_FILE", &*world.key_of_secrets()),
    ];
    let server = world.serve("managed", &settings);
    let all = ["read", "submit", "decide"];
    let alice = key(&server, "alice", &all, json!({}));
    // Bob has nothing; what a stranger makes, carol makes.
    let [bob, carol] = ["bob", "carol"].map(|name| key(&server, name, &all, json!({})));
    let single = all.map(|scope| (scope, key(&server, &format!("only-{scope}"), &[scope], json!({}))));
    key(&server, "spare", &["read"], json!({}));

    let mut body = task(&world.ws(), "ended", &[]);
    body["options"]["webhook"] = json!({ "url": "http://localhost:9/", "events": ["completed"] });
    let (status, ended) = alice.ask("POST", "/api/tasks", Some(body));
    assert_eq!(status, 202, "{ended}");
    let ended = ended["taskId"].as_str().expect("an id").to_owned();
    server.wait_end(&ended);
    let things = things(&alice, ended);

    let operations = operations(&server);
    let known: BTreeSet<&str> = operations.iter().map(|(id, ..)| id.as_str()).collect();
    let rows: BTreeSet<&str> = ROWS.iter().map(|(id, ..)| *id).collect();
    assert_eq!(known, rows, "each operation has one row");
    for (id, scope, about, body) in ROWS.iter().copied() {
        let (_, method, path, contract) = operations.iter().find(|(known, ..)| known == id).expect("an operation");
        assert!(contract == scope || about == Open, "{id}: the contract says {contract}");
        let mut path = path_of(path, id, &things);
        if body.starts_with('?') {
            path.push_str(body);
        }
        let body = match body.chars().next() {
            Some('{') => Some(body),
            Some('!') => Some(&body[1..]),
            _ => None,
        };
        let ask = |client: &Client| {
            if id.starts_with("follow") {
                return (stream_of(client, &path), json!({ "error": { "code": "SCOPE_MISSING" } }));
            }
            let (status, _, answer) = client.send(method, &path, &[("content-type", "application/json")], body);
            (status, answer)
        };
        let nobody = ask(&Client::new(&server.http.url, "")).0;
        if about == Open {
            assert!(matches!(nobody, 200 | 400 | 503), "{id}: {nobody} without a key");
            continue;
        }
        assert_eq!(nobody, 401, "{id} without a key");
        for (has, one) in &single {
            let (status, answer) = ask(one);
            if *has == scope {
                assert!(status != 403 && status != 401, "{id} with the scope {has}: {status} {answer}");
            } else {
                assert_eq!((status, &answer["error"]["code"]), (403, &json!("SCOPE_MISSING")), "{id} with {has}");
            }
        }
        // A thing of alice's is not there for bob; a list has none of it.
        let (status, answer) = ask(if about == New { &carol } else { &bob });
        match about {
            Own => assert_eq!(status, 404, "{id} of another key: {answer}"),
            List("matched") => assert_eq!((status, &answer["matched"]), (200, &json!(0)), "{id}: {answer}"),
            List("counts") => assert_eq!((status, &answer["completed"]), (200, &json!(0)), "{id}: {answer}"),
            List("stream") => assert_eq!(status, 200, "{id}"),
            List(place) => assert_eq!(answer.pointer(place), Some(&json!([])), "{id}: {answer}"),
            New | Nothing => assert!(matches!(status, 200..300), "{id}: {status} {answer}"),
            Whole => assert_eq!(status, 403, "{id}: {answer}"),
            Open => {}
        }
        let text = answer.to_string();
        for secret in [&things.ended, &things.webhook, &things.schedule, &things.file] {
            // An error may repeat what was asked for.
            assert!(path.contains(&**secret) || !text.contains(&**secret), "{id} tells bob of {secret}: {text}");
        }
        // Alice herself, and an admin, are let through.
        let (status, answer) = ask(if about == Whole { &server.http } else { &alice });
        let may_lack = matches!(id, "getTaskPatch" | "answerPermission" | "removeWorktree" | "getArtifact");
        assert!(!matches!(status, 401 | 403) && (may_lack || status != 404), "{id} of one's own: {status} {answer}");
    }
}

/// Status of a stream, which has no end.
fn stream_of(client: &Client, path: &str) -> u16 {
    use std::io::{Read, Write};
    let address = client.url.trim_start_matches("http://");
    let mut stream = std::net::TcpStream::connect(address).expect("a connection");
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n", client.key());
    stream.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).expect("a head");
    String::from_utf8_lossy(&answer[9..]).parse().expect("a status")
}

#[test]
fn an_admin_sees_what_all_keys_have() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let alice = key(&server, "alice", &["submit"], json!({}));
    let (_, answer) =
        alice.ask("POST", "/api/tasks", Some(json!({ "instruction": "x", "runAt": "2125-01-01T00:00:00Z" })));
    let id = answer["taskId"].as_str().expect("an id");
    assert_eq!(server.task(id)["taskId"], json!(id));
    assert_eq!(server.get("/api/tasks")["total"], json!(1));
    let boss = key(&server, "boss", &["admin"], json!({}));
    assert_eq!(boss.ask("GET", "/api/queue/stats", None).1["pending"], json!(1));
    assert_eq!(boss.ask("DELETE", &format!("/api/tasks/{id}"), None).0, 200);
    until("the use of the key to be noted", || {
        let keys = server.get("/api/keys");
        let boss = keys["keys"].as_array()?.iter().find(|key| key["name"] == "boss").cloned()?;
        boss["lastUsedAt"].is_string().then_some(())
    });
}
