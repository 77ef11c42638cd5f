//! Following what happens: all tasks in one stream, over a WebSocket, many at once, and slowly.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::support::{LIMIT, Server, World, scripted_claude, task, until};

fn address(server: &Server) -> SocketAddr {
    server.http.url.trim_start_matches("http://").parse().expect("an address")
}

/// A stream of events, as its bytes.
fn open(server: &Server, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address(server)).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    let head = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\n\r\n", server.http.key());
    stream.write_all(head.as_bytes()).expect("a request");
    stream
}

/// Lines of a stream from its first on, each with what it begins with.
fn lines(stream: TcpStream, begin: &'static str) -> impl Iterator<Item = String> {
    BufReader::new(stream)
        .lines()
        .map_while(Result::ok)
        .filter_map(move |line| Some(line.strip_prefix(begin)?.to_owned()))
}

fn ended(event: &Value) -> bool {
    event["kind"] == "status" && event["data"]["status"] == "completed"
}

#[test]
fn all_tasks_are_followed_in_one_stream_that_goes_on_where_it_broke_off() {
    let world = World::new();
    let settings = [("CLAUDE_PATH", &*scripted_claude()), ("QUEUE_CONCURRENCY", "4"), ("WORKER_COUNT", "2")];
    let server = world.serve("managed", &settings);
    let submit = |server: &Server, name: &str, tag: &str| {
        let mut body = task(&world.ws(), name, &[]);
        (body["tags"], body["context"]) = (json!([tag]), json!({}));
        server.submit(body)
    };
    let mut live = server.http.events("/api/events", None);
    let tagged = server.http.events("/api/events?tag=b&kind=status,result", None);
    let ids: Vec<String> =
        (0..6).map(|n| submit(&server, &format!("{n}"), if n % 2 == 0 { "a" } else { "b" })).collect();
    let mut open: Vec<&String> = ids.iter().collect();
    let mut seen: BTreeMap<String, Vec<i64>> = BTreeMap::new();
    while !open.is_empty() {
        let event = live.next().expect("an event");
        let of = event["taskId"].as_str().expect("an id").to_owned();
        open.retain(|id| **id != of || !ended(&event));
        seen.entry(of).or_default().push(event["seq"].as_i64().expect("a number"));
    }
    for (id, numbers) in &seen {
        assert!(numbers.iter().copied().eq(1..=numbers.len() as i64), "{id}: {numbers:?}");
    }
    let of_b = tagged.take_while({
        let mut left = 3;
        move |event| {
            let more = left > 0;
            left -= i32::from(ended(event));
            more
        }
    });
    // One more makes the last of them arrive.
    submit(&server, "one more", "b");
    for event in of_b {
        let id = event["taskId"].as_str().expect("an id");
        assert!(ids.iter().position(|known| known == id).is_none_or(|n| n % 2 == 1), "{event}");
        assert!(event["kind"] == "status" || event["kind"] == "result", "{event}");
    }

    // Everything again, in pages and as a stream, over a restart of the server.
    drop((live, server));
    let server = world.serve("managed", &settings);
    let page = |path: &str| server.http.send("GET", path, &[("accept", "application/json")], None).2;
    let (mut after, mut numbers) = (0, Vec::new());
    loop {
        let page = page(&format!("/api/events?limit=7&after={after}"));
        let events = page["events"].as_array().expect("events").clone();
        if events.is_empty() {
            break;
        }
        numbers.extend(events.iter().filter_map(|event| event["n"].as_i64()));
        after = page["last"].as_i64().expect("a number");
    }
    assert!(numbers.is_sorted() && numbers.len() >= ids.len() * 8, "{numbers:?}");
    let at = numbers.len() / 2;
    let stream = open_from(&server, numbers[at]);
    let replayed: Vec<i64> =
        lines(stream, "id: ").take(numbers.len() - at - 1).filter_map(|id| id.parse().ok()).collect();
    assert_eq!(replayed, numbers[at + 1..]);
    let of_one = page(&format!("/api/events?limit=1000&taskId={}", ids[2]));
    assert_eq!(of_one["events"].as_array().map(Vec::len), seen.get(&ids[2]).map(Vec::len));
    for (path, field) in [("?kind=partial", "kind"), ("?after=x", "after"), ("?colour=red", "colour")] {
        let (status, _, answer) = server.http.send("GET", &format!("/api/events{path}"), &[], None);
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
}

fn open_from(server: &Server, after: i64) -> TcpStream {
    open(server, &format!("/api/events?after={after}"))
}

#[test]
fn slow_streams_of_quiet_tasks_send_heartbeats() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let id = server.submit(task(&world.ws(), "waits", &["say done"]));
    for path in ["/api/events".to_owned(), format!("/api/tasks/{id}/events")] {
        assert_eq!(lines(open(&server, &path), ": here").take(2).count(), 2, "{path}");
    }
}

#[test]
fn five_hundred_streams_hear_the_same() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    let streams: Vec<TcpStream> = (0..500).map(|_| open(&server, "/api/events?kind=status")).collect();
    // Each is there when its first comment has come.
    let mut streams: Vec<BufReader<TcpStream>> = streams.into_iter().map(BufReader::new).collect();
    let read_to = |stream: &mut BufReader<TcpStream>, what: &str| {
        let mut line = String::new();
        while !line.contains(what) {
            line.clear();
            assert_ne!(stream.read_line(&mut line).expect("a line"), 0, "the stream ended");
        }
    };
    streams.iter_mut().for_each(|stream| read_to(stream, ": here"));
    let mut body = task(&world.ws(), "heard by all", &[]);
    body["context"] = json!({});
    let id = server.submit(body);
    for stream in &mut streams {
        read_to(stream, "\"status\":\"completed\"");
    }
    assert_eq!(server.wait_end(&id)["status"], "completed");
}

#[test]
fn a_client_that_does_not_read_is_cut_off_and_holds_nobody_up() {
    let world = World::new();
    let loud = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/loud-claude.sh").display().to_string();
    let server = world.serve("inline", &[("CLAUDE_PATH", &loud), ("SLOW_CLIENT_TIMEOUT_MS", "1000")]);
    let mut asleep = open(&server, "/api/events");
    let port = asleep.local_addr().expect("an address").port();
    let live = server.http.events("/api/events", None);
    let mut body = task(&world.ws(), "loud", &[]);
    body["context"] = json!({});
    let id = server.submit(body);
    assert!(live.into_iter().any(|event| ended(&event)), "who reads gets everything");
    until("the other one to be cut off", || (!is_connected(address(&server).port(), port)).then_some(()));
    let mut rest = Vec::new();
    let all = asleep.read_to_end(&mut rest).is_ok() && String::from_utf8_lossy(&rest).contains("\"completed\"");
    assert!(!all, "it was cut off before the end");
    assert_eq!(server.wait_end(&id)["status"], "completed");
}

/// True if the server has an open connection from this port.
fn is_connected(server: u16, client: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the connections");
    let (local, remote) = (format!(":{server:04X}"), format!(":{client:04X}"));
    table.lines().any(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        // 01 is ESTABLISHED, https://docs.kernel.org/networking/proc_net_tcp.html.
        words.len() > 3 && words[1].ends_with(&local) && words[2].ends_with(&remote) && words[3] == "01"
    })
}

pub struct Socket(WebSocket<TcpStream>);

impl Socket {
    pub fn connect(server: &Server) -> Self {
        let stream = TcpStream::connect(address(server)).expect("a connection");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let url = format!("ws://{}/ws", address(server));
        Self(tungstenite::client(url, stream).expect("a WebSocket").0)
    }

    fn say(&mut self, kind: &str, payload: Value) {
        self.say_text(&json!({ "type": kind, "payload": payload }).to_string());
    }

    pub fn say_text(&mut self, text: &str) {
        self.0.send(Message::text(text)).expect("sent");
    }

    /// The next message of the server; `None` when it has closed.
    pub fn hear(&mut self) -> Option<Value> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
                Ok(Message::Close(_)) | Err(tungstenite::Error::ConnectionClosed) => return None,
                Ok(_) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn until(&mut self, kind: &str) -> Value {
        loop {
            let heard = self.hear().unwrap_or_else(|| panic!("no {kind}"));
            if heard["type"] == kind {
                return heard["payload"].clone();
            }
        }
    }
}

#[test]
fn a_websocket_tells_of_the_tasks_that_it_subscribes_to() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let mut socket = Socket::connect(&server);
    socket.say("subscribe", json!({ "taskId": "*" }));
    assert_eq!(socket.until("error")["code"], "UNAUTHORIZED");
    socket.say("auth", json!({ "apiKey": "not the key" }));
    assert_eq!(socket.until("error")["code"], "UNAUTHORIZED");
    socket.say("auth", json!({ "apiKey": server.http.key() }));
    socket.until("auth-success");
    for (kind, payload, code) in [
        ("dance", json!({}), "INVALID_MESSAGE"),
        ("subscribe", json!({ "taskId": "42" }), "TASK_NOT_FOUND"),
        ("subscribe", json!({}), "INVALID_MESSAGE"),
    ] {
        socket.say(kind, payload);
        assert_eq!(socket.until("error")["code"], code);
    }
    socket.say_text(r#"{"type":"ping"}"#);
    assert!(socket.until("pong")["timestamp"].is_string());

    let hold = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "followed", &[&hold, "say goodbye"]));
    let other = server.submit(task(&world.ws(), "not followed", &["say other"]));
    server.wait_end(&other);
    server.wait_tool(&id);
    socket.say("subscribe", json!({ "taskId": id }));
    assert_eq!(socket.until("subscribe-success")["taskId"], json!(id));
    let update = socket.until("task-update");
    assert_eq!((&update["taskId"], &update["status"]), (&json!(id), &json!("running")), "{update}");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let mut logs = Vec::new();
    let done = loop {
        let heard = socket.hear().expect("a message");
        let payload = &heard["payload"];
        assert_eq!(payload["taskId"], json!(id), "{heard}");
        match heard["type"].as_str().expect("a type") {
            "task-log" => logs.push(payload["log"].as_str().expect("a line").to_owned()),
            "task-complete" => break payload.clone(),
            kind => assert_eq!(kind, "task-update"),
        }
    };
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("goodbye")), "{done:#}");
    assert!(logs.iter().any(|line| line.contains("goodbye")), "{logs:?}");
    // Who comes late is told at once; who unsubscribes hears no more.
    socket.say("unsubscribe", json!({ "taskId": id }));
    socket.until("unsubscribe-success");
    socket.say("subscribe", json!({ "taskId": other }));
    assert_eq!(socket.until("task-complete")["result"], "other");
    socket.say("subscribe", json!({ "taskId": "*" }));
    socket.until("subscribe-success");
    let third = server.submit(task(&world.ws(), "all are followed", &["say third"]));
    assert_eq!(socket.until("task-complete")["taskId"], json!(third));
    server.process.signal("TERM");
    while socket.hear().is_some() {}
}

#[test]
fn a_websocket_without_a_key_is_cut_off() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let mut socket = Socket::connect(&server);
    socket.0.get_mut().set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    assert_eq!(socket.hear(), None);
    let (status, _, answer) = server.http.send("GET", "/ws", &[], None);
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("NO_WEBSOCKET")), "{answer}");
    let (status, _, _) = server.http.send("GET", "/ws", &[("origin", "http://evil.example")], None);
    assert_eq!(status, 403, "pages of others can't open one");
}
