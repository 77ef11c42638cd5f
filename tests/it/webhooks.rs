//! Webhooks: signed, at least once, stored, and to nobody's own network.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, channel};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::support::{LIMIT, Server, World, scripted_claude, task, until};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// Somebody who is told; answers with these, one after the other, the last one again and again.
pub struct Ear {
    pub url: String,
    heard: Receiver<Heard>,
}

pub struct Heard {
    headers: BTreeMap<String, String>,
    body: String,
}

impl Ear {
    pub fn open(answers: &'static [&'static str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let (sender, heard) = channel();
        std::thread::spawn(move || {
            let answers = answers.iter().chain(std::iter::repeat(answers.last().expect("an answer")));
            for (connection, answer) in listener.incoming().map_while(Result::ok).zip(answers) {
                let mut reader = BufReader::new(connection);
                let mut headers = BTreeMap::new();
                let mut line = String::new();
                while reader.read_line(&mut line).is_ok_and(|n| n > 2) {
                    if let Some((name, value)) = line.trim().split_once(": ") {
                        headers.insert(name.to_lowercase(), value.to_owned());
                    }
                    line.clear();
                }
                let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
                let mut body = vec![0; length];
                if reader.read_exact(&mut body).is_err() {
                    continue;
                }
                let text = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                reader.get_mut().write_all(text.as_bytes()).ok();
                if sender.send(Heard { headers, body: String::from_utf8(body).expect("text") }).is_err() {
                    return;
                }
            }
        });
        Self { url, heard }
    }

    pub fn next(&self) -> Heard {
        self.heard.recv_timeout(LIMIT).expect("a message")
    }
}

impl Heard {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }

    /// As a receiver checks it, by the standard.
    fn is_signed_with(&self, secret: &str) -> bool {
        let key = STANDARD.decode(secret.trim_start_matches("whsec_")).expect("base64");
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).expect("a key");
        let (id, at) = (&self.headers["webhook-id"], &self.headers["webhook-timestamp"]);
        mac.update(format!("{id}.{at}.{}", self.body).as_bytes());
        self.headers["webhook-signature"] == format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
    }
}

const SETTINGS: [(&str, &str); 3] =
    [("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1"), ("WEBHOOK_RETRY_DELAY_MS", "50"), ("WORKER_COUNT", "1")];

fn with_hook(world: &World, name: &str, steps: &[&str], hook: Value) -> Value {
    let mut body = task(&world.ws(), name, steps);
    body["options"]["webhook"] = hook;
    body
}

pub fn deliveries(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/tasks/{id}/deliveries"))["deliveries"].clone()
}

#[test]
fn a_task_tells_its_webhook_until_it_listens() {
    let world = World::new();
    let ear = Ear::open(&["500 No", "307 Elsewhere\r\nlocation: /moved", "204 Fine"]);
    let server = world.serve("managed", &SETTINGS);
    let hook = json!({ "url": ear.url, "secret": SECRET, "events": ["started", "completed"] });
    let id = server.submit(with_hook(&world, "tells", &["say done"], hook));
    // Two messages, and each of the two refusals made one of them come again.
    let messages: Vec<Heard> = (0..4).map(|_| ear.next()).collect();
    for heard in &messages {
        assert!(heard.is_signed_with(SECRET), "{:?}", heard.headers);
        assert_eq!(heard.headers["content-type"], "application/json");
    }
    let kinds: Vec<Value> = messages.iter().map(|heard| heard.json()["type"].clone()).collect();
    assert!(kinds.contains(&json!("task.started")) && kinds.contains(&json!("task.completed")), "{kinds:?}");
    let end = messages.iter().map(Heard::json).find(|said| said["type"] == "task.completed").expect("the end");
    assert_eq!((&end["data"]["taskId"], &end["data"]["result"]), (&json!(id), &json!("done")), "{end:#}");
    assert!(!server.get(&format!("/api/tasks/{id}")).to_string().contains(SECRET), "the secret is not shown");
    let all = until("both to be delivered", || {
        let all = deliveries(&server, &id);
        all.as_array().expect("deliveries").iter().all(|one| one["state"] == "delivered").then_some(all)
    });
    let attempts: i64 = all.as_array().expect("deliveries").iter().filter_map(|one| one["attempts"].as_i64()).sum();
    assert_eq!((all.as_array().map(Vec::len), attempts), (Some(2), 4), "two were refused: {all:#}");
    // What was delivered is delivered again when somebody asks for it, as the same message.
    let again = all[0]["deliveryId"].as_str().expect("an id");
    let (status, _) = server.http.ask("POST", &format!("/api/tasks/{id}/deliveries/{again}/retry"), None);
    assert_eq!(status, 202);
    let repeated = ear.next();
    let before = messages.iter().rfind(|heard| heard.headers["webhook-id"] == again).expect("the first time");
    assert_eq!((&repeated.headers["webhook-id"], &repeated.body), (&again.to_owned(), &before.body));
}

#[test]
fn what_was_to_be_told_outlives_the_server() {
    let world = World::new();
    let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
    let server = world.serve("inline", &SETTINGS);
    // Nobody listens there yet.
    let hook = json!({ "url": format!("http://127.0.0.1:{port}/"), "secret": SECRET });
    let id = server.submit(with_hook(&world, "told later", &["say done"], hook));
    server.wait_end(&id);
    let failed = until("an attempt", || {
        let one = deliveries(&server, &id)[0].clone();
        one["lastError"].is_string().then_some(one)
    });
    assert!(
        failed["state"] == "pending" && failed["lastStatus"].is_null() && failed["nextAttemptAt"].is_string(),
        "{failed:#}"
    );
    crate::support::signal(server.process.pid(), "KILL");
    drop(server);
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the same port");
    let server = world.serve("inline", &SETTINGS);
    let (mut connection, _) = listener.accept().expect("a connection");
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").expect("an answer");
    until("the delivery", || (deliveries(&server, &id)[0]["state"] == "delivered").then_some(()));
}

#[test]
fn a_webhook_of_the_server_hears_of_all_tasks_until_it_is_removed() {
    let world = World::new();
    let ear = Ear::open(&["200 OK"]);
    let own = ("WEBHOOK_SECRET", SECRET);
    let claude = scripted_claude();
    let settings = [SETTINGS[0], SETTINGS[1], own, ("CLAUDE_PATH", &*claude)];
    let server = world.serve("inline", &settings);
    let (status, added) = server.http.ask("POST", "/api/webhooks", Some(json!({ "url": ear.url })));
    assert_eq!((status, &added["events"]), (201, &json!(["completed", "failed", "cancelled"])), "{added}");
    let submit = |name: &str| {
        let mut body = task(&world.ws(), name, &[]);
        body["context"] = json!({});
        server.submit(body)
    };
    let mut ids = vec![submit("a"), submit("b")];
    let mut told = vec![ear.next(), ear.next()];
    assert!(told.iter().all(|heard| heard.is_signed_with(SECRET)), "with the server's secret");
    let mut named: Vec<String> =
        told.drain(..).map(|heard| heard.json()["data"]["taskId"].as_str().expect("an id").to_owned()).collect();
    named.sort();
    ids.sort();
    assert_eq!(named, ids);
    let listed = server.get("/api/webhooks");
    assert_eq!(listed["webhooks"][0]["webhookId"], added["webhookId"]);
    let path = format!("/api/webhooks/{}", added["webhookId"].as_str().expect("an id"));
    assert_eq!(server.http.ask("DELETE", &path, None).0, 204);
    assert_eq!(server.http.ask("DELETE", &path, None).1["error"]["code"], "WEBHOOK_NOT_FOUND");
    let quiet = submit("c");
    server.wait_end(&quiet);
    assert_eq!(deliveries(&server, &quiet), json!([]));
}

#[test]
fn private_addresses_are_refused() {
    let world = World::new();
    let ear = Ear::open(&["200 OK"]);
    let server = world.serve("inline", &[("WEBHOOK_RETRY_DELAY_MS", "50")]);
    let ask = |url: &str| {
        let body = with_hook(&world, "private", &["say done"], json!({ "url": url }));
        server.http.ask("POST", "/api/tasks", Some(body))
    };
    for url in
        [&*ear.url, "http://169.254.169.254/latest/meta-data", "http://[::ffff:10.0.0.1]/", "https://192.168.1.1/"]
    {
        let (status, answer) = ask(url);
        assert_eq!((status, &answer["error"]["code"]), (403, &json!("ADDRESS_NOT_ALLOWED")), "{url}: {answer}");
    }
    for url in ["ftp://example.com/", "http://user:word@example.com/", "/hook"] {
        assert_eq!(ask(url).0, 422, "{url}");
    }
    // Names, and addresses in other figures, are seen through when they are resolved.
    for host in ["localhost", "2130706433", "127.1"] {
        let (status, answer) = ask(&ear.url.replace("127.0.0.1", host));
        assert_eq!(status, 202, "{answer}");
        let id = answer["taskId"].as_str().expect("an id");
        server.wait_end(id);
        let refused = until("an attempt", || {
            let one = deliveries(&server, id)[0].clone();
            one["lastError"].is_string().then_some(one)
        });
        assert!(refused["lastError"].as_str().is_some_and(|why| why.contains("WEBHOOK_ALLOWED_HOSTS")), "{refused:#}");
    }
    assert!(ear.heard.try_recv().is_err(), "nothing was sent");
}

/// The one webhook of a server.
fn registered(server: &Server) -> Value {
    server.get("/api/webhooks")["webhooks"][0].clone()
}

#[test]
fn a_receiver_that_is_gone_is_not_asked_again() {
    let world = World::new();
    let ear = Ear::open(&["410 Gone"]);
    let server = world.serve("inline", &[&SETTINGS[..], &[("CLAUDE_PATH", &scripted_claude())]].concat());
    // A task's own: what else is due to it is over as well.
    let own = json!({ "url": ear.url, "events": ["started", "completed"] });
    let mut body = json!({ "instruction": "own" });
    body["options"]["webhook"] = own;
    let id = server.submit(body);
    server.wait_end(&id);
    until("the end of its deliveries", || {
        let all = deliveries(&server, &id);
        let all = all.as_array().filter(|all| all.len() == 2)?;
        all.iter().all(|one| one["state"] == "failed").then_some(())
    });
    // A registered one is marked, and can be enabled again.
    let (status, hook) = server.http.ask("POST", "/api/webhooks", Some(json!({ "url": ear.url })));
    assert_eq!(status, 201, "{hook}");
    server.wait_end(&server.submit(json!({ "instruction": "registered" })));
    let disabled = until("the mark", || {
        let hook = registered(&server);
        (hook["enabled"] == false).then_some(hook)
    });
    assert!(disabled["disabledAt"].is_string(), "{disabled:#}");
    assert!(disabled["disabledReason"].as_str().is_some_and(|why| why.contains("410")), "{disabled:#}");
    while ear.heard.try_recv().is_ok() {}
    server.wait_end(&server.submit(json!({ "instruction": "unheard" })));
    assert!(ear.heard.recv_timeout(std::time::Duration::from_millis(500)).is_err(), "it is told nothing");
    let path = format!("/api/webhooks/{}", hook["webhookId"].as_str().expect("an id"));
    let (status, enabled) = server.http.ask("PATCH", &path, Some(json!({ "enabled": true })));
    assert_eq!((status, &enabled["enabled"], &enabled["disabledAt"]), (200, &json!(true), &Value::Null), "{enabled}");
    server.wait_end(&server.submit(json!({ "instruction": "heard" })));
    ear.next();
}

#[test]
fn a_webhook_that_has_failed_for_long_is_disabled() {
    let world = World::new();
    let ear = Ear::open(&["500 No"]);
    let more = [("CLAUDE_PATH", &*scripted_claude()), ("WEBHOOK_DISABLE_AFTER_MS", "1000")];
    let server = world.serve("inline", &[&SETTINGS[..], &more].concat());
    server.http.ask("POST", "/api/webhooks", Some(json!({ "url": ear.url })));
    server.wait_end(&server.submit(json!({ "instruction": "x" })));
    let hook = until("the mark", || {
        let hook = registered(&server);
        (hook["enabled"] == false).then_some(hook)
    });
    assert!(hook["failingSince"].is_string() && hook["disabledReason"].is_string(), "{hook:#}");
    server.process.wait_log("disabled");
}

#[test]
fn a_receiver_that_never_answers_keeps_no_other_waiting() {
    let world = World::new();
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let ear = Ear::open(&["204 Fine"]);
    let more = [("CLAUDE_PATH", &*scripted_claude()), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1,localhost")];
    let mut server = world.serve("inline", &[&SETTINGS[..], &more].concat());
    server.http.ask("POST", "/api/queue/pause", None);
    let port = silent.local_addr().expect("an address").port();
    for n in 0..30 {
        let mut body = json!({ "instruction": format!("bad {n}") });
        body["options"]["webhook"] = json!({ "url": format!("http://localhost:{port}/") });
        server.submit(body);
    }
    let mut body = json!({ "instruction": "good" });
    body["options"]["webhook"] = json!({ "url": ear.url });
    server.submit(body);
    server.http.ask("POST", "/api/queue/start", None);
    // Less than the first of the silent ones is waited for.
    let heard = ear.heard.recv_timeout(std::time::Duration::from_secs(9));
    assert!(heard.is_ok(), "{}", server.process.logs());
    let began = std::time::Instant::now();
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0);
    assert!(began.elapsed() < std::time::Duration::from_secs(5), "{:?}", began.elapsed());
    drop(silent);
}

#[test]
fn a_worker_tells_what_an_api_that_died_has_left() {
    let world = World::new();
    let ear = Ear::open(&["200 OK"]);
    let cli = scripted_claude();
    let settings = [&SETTINGS[..], &[("CLAUDE_PATH", cli.as_str()), ("WEBHOOK_SECRET", SECRET)]].concat();
    let server = world.serve("standalone", &settings);
    let hook = json!({ "url": ear.url, "events": ["completed"] });
    let id = server.submit(with_hook(&world, "told by its worker", &[], hook));
    crate::support::signal(server.process.pid(), "KILL");
    let _worker = world.worker(&settings);
    let heard = ear.next();
    assert_eq!(heard.json()["data"]["taskId"], json!(id));
    assert!(heard.is_signed_with(SECRET));
}
