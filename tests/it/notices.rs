//! Notifications: messages to people in the shape of their service, with an answer to a question in them.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, check_history, task, until};
use crate::webhooks::{Ear, deliveries};

/// A server that people reach under its own address.
fn serve(world: &World, settings: &[(&str, &str)]) -> Server {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    let (port, url) = (free.to_string(), format!("http://127.0.0.1:{free}/"));
    let own = [("PORT", &*port), ("PUBLIC_URL", &*url), ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1")];
    world.serve("inline", &[&own, settings].concat())
}

fn register(client: &Client, options: Value) {
    let (status, answer) = client.ask("POST", "/api/webhooks", Some(options));
    assert_eq!(status, 201, "{answer}");
}

fn asks(world: &World, name: &str) -> Value {
    let mut body = task(&world.ws(), name, &[&format!("bash touch {name}"), "say *done* <b>"]);
    body["options"]["sdk"] = json!({ "permissionMode": "ask" });
    body
}

/// The path of an address of the server.
fn path_of(server: &Server, url: &Value) -> String {
    let url = url.as_str().unwrap_or_else(|| panic!("no address: {url}"));
    url.strip_prefix(&server.http.url).unwrap_or_else(|| panic!("{url}")).to_owned()
}

fn a_notification_answers(world: &World) {
    let server = serve(world, &[]);
    let ear = Ear::open(&["200 Fine"]);
    register(&server.http, json!({ "url": ear.url, "format": "ntfy" }));
    let id = server.submit(asks(world, "made"));
    let asked = ear.next().json();
    assert_eq!((&asked["topic"], &asked["title"], &asked["priority"]), (&json!("hook"), &json!("made"), &json!(4)));
    assert!(asked["message"].as_str().is_some_and(|text| text.contains("Bash: touch made")), "{asked:#}");
    assert_eq!(path_of(&server, &asked["click"]), format!("/tasks/{id}"));
    let [allow, deny] = [0, 1].map(|n| path_of(&server, &asked["actions"][n]["url"]));
    // Who shows the message may look at its links.
    let nobody = Client::new(&server.http.url, "");
    let (status, page) = nobody.raw(&allow);
    let page = String::from_utf8_lossy(&page).into_owned();
    assert!(status == 200 && page.contains("touch made") && page.contains(">Allow</button>"), "{page}");
    assert!(server.task(&id)["waitingFor"].is_object(), "a look is no answer");
    for spoilt in
        ["/a/x".to_owned(), format!("{allow}0"), allow.replace(".ao.", ".do."), allow.replacen("/a/", "/a/0", 1)]
    {
        assert_eq!(nobody.send("POST", &spoilt, &[], Some("")).0, 410, "{spoilt}");
    }
    // A page of theirs sends it.
    let theirs = [("origin", "https://ntfy.test"), ("sec-fetch-site", "cross-site")];
    let (status, headers, page) = nobody.send("POST", &allow, &theirs, Some(""));
    assert!(status == 200 && page.as_str().is_some_and(|page| page.contains("It was allowed")), "{page}");
    assert_eq!(headers["access-control-allow-origin"], "https://ntfy.test");
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert!(world.ws().join("made").exists());
    // Pressed again it says the same; the other answer is too late.
    assert_eq!(nobody.send("POST", &allow, &[], Some("")).0, 200);
    assert_eq!(nobody.send("POST", &deny, &[], Some("")).0, 409);
    assert!(String::from_utf8_lossy(&nobody.raw(&deny).1).contains("It was allowed"));
    let ended = ear.next().json();
    assert!(
        ended["message"].as_str().is_some_and(|text| text.starts_with("Completed (") && text.ends_with("*done* <b>")),
        "{ended:#}"
    );
    let audit = server.get("/api/audit");
    let noted = audit["entries"].as_array().into_iter().flatten().find(|one| one["action"] == "answerPermission");
    let noted = noted.unwrap_or_else(|| panic!("{audit:#}"));
    assert_eq!((&noted["key"], &noted["detail"]["byCode"]), (&json!("default"), &json!(true)), "{noted}");
    assert!(!noted["path"].as_str().unwrap_or_default().contains("/a/"), "the code is in no log: {noted}");
    let denied = server.submit(asks(world, "never"));
    let deny = path_of(&server, &ear.next().json()["actions"][1]["url"]);
    assert_eq!(nobody.send("POST", &deny, &[], Some("")).0, 200);
    server.wait_end(&denied);
    assert!(!world.ws().join("never").exists());
    check_history(world, &["--settled"]);
}

#[test]
fn a_notification_answers_a_question() {
    a_notification_answers(&World::new());
}

#[test]
fn a_notification_answers_a_question_on_postgres() {
    a_notification_answers(&World::on_postgres());
}

#[test]
fn only_who_may_decide_gets_answers_and_tags_choose_what_is_told() {
    let world = World::new();
    let server = serve(&world, &[]);
    let key = |name: &str, scopes: &[&str]| {
        let (status, made) = server.http.ask("POST", "/api/keys", Some(json!({ "name": name, "scopes": scopes })));
        assert_eq!(status, 201, "{made}");
        Client::new(&server.http.url, made["key"].as_str().expect("a secret"))
    };
    let (alice, bob) = (key("alice", &["read", "submit"]), key("bob", &["read", "submit", "decide"]));
    let (of_alice, of_bob) = (Ear::open(&["200 Fine"]), Ear::open(&["200 Fine"]));
    register(&alice, json!({ "url": of_alice.url, "format": "slack", "tags": ["loud", "x,y"] }));
    register(&bob, json!({ "url": of_bob.url, "format": "discord", "events": ["waiting"] }));
    let submit = |client: &Client, mut body: Value, tags: &[&str]| {
        body["tags"] = json!(tags);
        let (status, answer) = client.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{answer}");
        answer["taskId"].as_str().expect("an id").to_owned()
    };
    let quiet = submit(&alice, task(&world.ws(), "quiet", &["say a"]), &["low", "x"]);
    server.wait_end(&quiet);
    assert_eq!(deliveries(&server, &quiet), json!([]));
    submit(&alice, asks(&world, "one"), &["low", "x,y"]);
    let asked = of_alice.next().json();
    let buttons = asked["blocks"][1]["elements"].as_array().cloned().unwrap_or_default();
    assert_eq!(buttons.len(), 1, "a page, and no answer: {asked:#}");
    let theirs = submit(&bob, asks(&world, "two"), &[]);
    let asked = of_bob.next().json();
    let text = asked["embeds"][0]["description"].as_str().expect("a text").to_owned();
    let allow = text.split("[Allow](").nth(1).and_then(|rest| rest.split(')').next()).expect("an answer").to_owned();
    let allow = path_of(&server, &json!(allow));
    // A key that is gone answers no more.
    assert_eq!(server.http.ask("DELETE", "/api/keys/bob", None).0, 200);
    until("the key to be gone", || (server.http.send("POST", &allow, &[], Some("")).0 == 410).then_some(()));
    assert!(server.task(&theirs)["waitingFor"].is_object());
    for (options, field) in [
        (json!({ "url": "https://ntfy.test/", "format": "ntfy" }), "url"),
        (json!({ "url": "https://ntfy.test/a b", "format": "ntfy" }), "url"),
        (json!({ "url": "https://ntfy.test/a", "tags": ["a\u{1f}b"] }), "tags"),
        (json!({ "url": "https://ntfy.test/a", "format": "pigeon" }), "format"),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/webhooks", Some(options));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
}

#[test]
fn the_command_line_adds_and_removes_them() {
    let world = World::new();
    let server = serve(&world, &[]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let run = |args: &[&str]| {
        let mut command = world.command("webhooks", &[("PORT", &port)]);
        let output = command.args(args).output().expect("the program");
        (output.status.code(), String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let ear = Ear::open(&["200 Fine"]);
    let add = ["add", &ear.url, "--format", "ntfy", "--event", "failed", "--tag", "loud", "--quiet"];
    let (code, id) = run(&add);
    assert_eq!(code, Some(0), "{id}");
    let (_, listed) = run(&[]);
    assert_eq!(listed, format!("{id}\tntfy\t{}\tfailed\tloud\twell", ear.url));
    let one = server.get("/api/webhooks")["webhooks"][0].clone();
    assert_eq!((&one["webhookId"], &one["quiet"], &one["tags"]), (&json!(id), &json!(true), &json!(["loud"])));
    assert_eq!(run(&["disable", &id]), (Some(0), "disabled".to_owned()));
    assert!(run(&[]).1.contains("disabled: somebody asked for it"));
    assert_eq!(run(&["enable", &id]), (Some(0), "enabled".to_owned()));
    assert_eq!(run(&["remove", &id]), (Some(0), "removed".to_owned()));
    assert_eq!(run(&["remove", &id]).0, Some(1));
    assert_eq!(run(&["add", "https://ntfy.test/", "--format", "ntfy"]).0, Some(1), "a topic is missing");
}

#[test]
fn nobody_is_told_what_they_look_at() {
    let world = World::new();
    let server = serve(&world, &[]);
    let ear = Ear::open(&["200 Fine"]);
    register(&server.http, json!({ "url": ear.url, "format": "apprise", "quiet": true }));
    let page = open_page(&server);
    let seen = server.submit(task(&world.ws(), "seen", &["say a"]));
    server.wait_end(&seen);
    let rested = until("the message to rest", || {
        Some(deliveries(&server, &seen)[0].clone()).filter(|one| one["state"] == "delivered")
    });
    assert_eq!((&rested["lastStatus"], &rested["lastError"]), (&Value::Null, &json!("somebody has a page open")));
    // A question is told of when it has waited for long.
    let asking = server.submit(asks(&world, "later"));
    let rests = until("the question to rest", || {
        Some(deliveries(&server, &asking)[0].clone()).filter(|one| one["lastError"].is_string())
    });
    assert_eq!((&rests["state"], &rests["lastError"]), (&json!("pending"), &json!("somebody has a page open")));
    drop(page);
    let told = until("the page to be closed", || {
        let id = server.submit(task(&world.ws(), "alone", &["say b"]));
        server.wait_end(&id);
        until("a delivery to end", || (deliveries(&server, &id)[0]["state"] == "delivered").then_some(()));
        (deliveries(&server, &id)[0]["lastStatus"] == 200).then_some(id)
    });
    let said = ear.next().json();
    assert_eq!((&said["type"], &said["title"]), (&json!("success"), &json!("alone")));
    assert!(said["body"].as_str().is_some_and(|text| text.contains(&format!("/tasks/{told}"))), "{said:#}");
}

/// Opens a page of the dashboard, signed in with the operator's key: its stream.
fn open_page(server: &Server) -> TcpStream {
    let address = server.http.url.strip_prefix("http://").expect("an address");
    let ask = |request: String| {
        let mut stream = TcpStream::connect(address).expect("connected");
        stream.write_all(request.as_bytes()).expect("asked");
        stream
    };
    let form = format!("key={}", server.http.key());
    let head =
        format!("host: {address}\r\ncontent-type: application/x-www-form-urlencoded\r\ncontent-length: {}", form.len());
    let answer = BufReader::new(ask(format!("POST /in HTTP/1.1\r\n{head}\r\n\r\n{form}")));
    let set = answer.lines().map_while(Result::ok).find(|line| line.to_lowercase().starts_with("set-cookie:"));
    let cookie = set.as_deref().and_then(|line| line.split([':', ';']).nth(1)).expect("a cookie").trim().to_owned();
    let stream = ask(format!("GET /web/live HTTP/1.1\r\nhost: {address}\r\ncookie: {cookie}\r\n\r\n"));
    let mut lines = BufReader::new(stream.try_clone().expect("a copy")).lines().map_while(Result::ok);
    assert!(lines.next().is_some_and(|line| line.contains("200")), "a stream");
    lines.find(|line| line.contains(": here")).expect("it is heard");
    stream
}
