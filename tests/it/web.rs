//! The dashboard in a real browser. Its scripts stand in `tests/web`; each is a test of its own here.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, task};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

/// A link that signs a browser in.
fn link(world: &World, server: &Client) -> String {
    let port = server.url.rsplit(':').next().expect("a port").to_owned();
    let settings = [("PORT", &*port), ("API_KEY", &*server.key)];
    let output = world.command("open", &settings).arg("--print").output().expect("a link");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Runs a script of `tests/web`; what it asks to be done is done.
#[expect(clippy::disallowed_methods, reason = "the browser is driven by another program")]
fn browse(world: &World, server: &Client, script: &str, settings: &[(&str, &str)], mut act: impl FnMut(&str)) {
    let (tools, link) = (root().join(".tools/node_modules"), link(world, server));
    let folder = world.dir.join("web");
    std::fs::create_dir_all(&folder).expect("a folder");
    // Modules are looked for beside the script.
    for file in std::fs::read_dir(root().join("tests/web")).expect("scripts").flatten() {
        std::fs::copy(file.path(), folder.join(file.file_name())).expect("a copy");
    }
    std::os::unix::fs::symlink(tools, folder.join("node_modules")).ok();
    let mut node = Command::new("node")
        .args([folder.join("run.mjs").as_os_str(), script.as_ref()])
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", &folder)
        .env("CHROMIUM", "/usr/bin/chromium")
        .envs([("URL", &*server.url), ("KEY", &*server.key), ("LINK", &link)])
        .env("WS", world.ws())
        .envs(settings.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("node");
    let mut input = node.stdin.take().expect("a pipe");
    for line in BufReader::new(node.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
        match line.strip_prefix("do ") {
            Some(what) => {
                act(what);
                input.write_all(b"\n").expect("told");
            }
            None => eprintln!("{script}: {line}"),
        }
    }
    assert!(node.wait().expect("an end").success(), "{script} failed; see above");
}

fn nothing(what: &str) {
    panic!("nothing is to be done: {what}");
}

/// A task that has used some tools.
fn with_tools(world: &World, server: &Server) -> String {
    let edit = json!({ "file_path": world.ws().join("x.txt"), "content": "one\ntwo\n" });
    let write = format!("tool Write {edit}");
    let mut body = task(&world.ws(), "Use some tools", &["bash seq 1 200", "bash false", &write, "say **done**"]);
    body["options"]["sdk"] = json!({ "allowedTools": ["Bash", "Write"] });
    let id = server.submit(body);
    server.wait_end(&id);
    id
}

#[test]
fn slow_every_page_is_open_to_everybody() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let id = with_tools(&world, &server);
    let mut asks = task(&world.ws(), "Asks", &["bash touch asked", "say done"]);
    asks["options"]["sdk"] = json!({ "permissionMode": "default" });
    let waits = server.submit(asks);
    crate::support::until("a question", || (server.get("/api/questions")["total"] == 1).then_some(()));
    let plan = json!({ "name": "Nightly", "cron": "0 3 * * *", "task": { "instruction": "x" } });
    assert_eq!(server.http.ask("POST", "/api/schedules", Some(plan)).0, 201);
    browse(&world, &server.http, "pages", &[("TASK", &id)], nothing);
    server.http.ask("DELETE", &format!("/api/tasks/{waits}"), None);
}

#[test]
fn slow_everything_is_done_with_a_keyboard() {
    let world = World::new();
    let server = world.serve("managed", &[("PERMISSION_PARK_MS", "600000"), ("QUEUE_CONCURRENCY", "3")]);
    browse(&world, &server.http, "flows", &[], nothing);
}

#[test]
fn everything_works_without_a_script() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    browse(&world, &server.http, "noscript", &[], nothing);
}

#[test]
fn a_page_outlives_its_server() {
    let world = World::new();
    let settings = [("API_KEY", "a-key-for-the-browser-1"), ("LEASE_MS", "3000")];
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("a port").port();
    let port = free.to_string();
    let serve = || world.serve("standalone", &[settings[0], settings[1], ("PORT", &port)]);
    let mut server = Some(serve());
    let worker = world.worker(&[("LEASE_MS", "3000")]);
    let first = server.as_ref().expect("a server");
    let wait = "bash while [ ! -e go ]; do sleep 0.05; done";
    let id = first.submit(task(&world.ws(), "outlives", &["bash echo first", wait, "say the end of it"]));
    let client = first.http.clone();
    browse(&world, &client, "gone", &[("TASK", &id)], |what| match what {
        "kill" => drop(server.take()),
        "start" => server = Some(serve()),
        _ => std::fs::write(world.ws().join("go"), "").expect("a file"),
    });
    drop(worker);
}

#[test]
fn seven_tabs_are_live_when_they_are_seen() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    browse(&world, &server.http, "tabs", &[], nothing);
}

/// Texts that have broken pages.
const HOSTILE: &str = include_str!("../web/hostile.txt");

#[test]
fn hostile_text_runs_nothing_and_loads_nothing() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    for text in HOSTILE.lines().filter(|line| !line.is_empty()) {
        let body = json!({
            "instruction": format!("{text}\nstep bash printf '%s' {}\nstep json {}", quoted(text), json!(text)),
            "tags": [text.chars().take(60).collect::<String>()],
            "context": { "workingDirectory": world.ws() },
            "options": { "sdk": { "allowedTools": ["Bash"] } },
        });
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{text}: {answer}");
        server.wait_end(answer["taskId"].as_str().expect("an id"));
        let plan = json!({ "name": text, "cron": "0 3 * * *", "task": { "instruction": text } });
        server.http.ask("POST", "/api/schedules", Some(plan));
    }
    // And one with all of them, and with a line of a megabyte.
    let lines = HOSTILE.lines().filter(|line| !line.is_empty());
    let mut steps: Vec<String> = lines.map(|line| format!("bash printf '%s' {}", quoted(line))).collect();
    steps.push("bash head -c 1000000 /dev/zero | tr '\\0' x".to_owned());
    steps.push("say <script>alert(1)</script>".to_owned());
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let last = server.submit(task(&world.ws(), "<script>alert(2)</script>", &steps));
    server.wait_end(&last);
    browse(&world, &server.http, "hostile", &[("TASK", &last)], nothing);
}

fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// Adds events to a task in the database of this folder.
fn add_events(folder: &Path, id: &str, numbers: std::ops::RangeInclusive<i64>) {
    let mut db = Connection::open(folder.join("data/cc.db")).expect("a database");
    db.busy_timeout(Duration::from_secs(10)).expect("a limit");
    let id = uuid::Uuid::parse_str(id).expect("an id");
    let changes = db.transaction().expect("a transaction");
    for seq in numbers.clone() {
        let (kind, data) = match seq % 4 {
            0 => (
                "assistant",
                says(&format!("Event **{seq}**: the lease is renewed in `store/lease.rs`, and this is why.")),
            ),
            1 => ("tool_use", calls(seq, &format!("cargo test --lib lease::{seq}"))),
            2 => ("tool_result", answers(seq - 1, &"test lease::renewed ... ok\n".repeat(12))),
            _ => ("log", json!({ "message": format!("event {seq}") })),
        };
        let text = "INSERT INTO events (task_id, seq, at, kind, data) VALUES (?1, ?2, 1795000000000, ?3, ?4)";
        changes.execute(text, rusqlite::params![id.as_bytes(), seq, kind, data.to_string()]).expect("an event");
    }
    let last = "UPDATE tasks SET last_event = ?2 WHERE id = ?1";
    changes.execute(last, rusqlite::params![id.as_bytes(), numbers.end()]).expect("a task");
    changes.commit().expect("committed");
}

fn says(text: &str) -> Value {
    json!({ "frame": { "message": { "content": [{ "type": "text", "text": text }] } } })
}

fn calls(seq: i64, command: &str) -> Value {
    let call = json!({ "type": "tool_use", "id": format!("t{seq}"), "name": "Bash", "input": { "command": command } });
    json!({ "frame": { "message": { "content": [call] } } })
}

fn answers(seq: i64, text: &str) -> Value {
    let result = json!({ "type": "tool_result", "tool_use_id": format!("t{seq}"), "content": text });
    json!({ "frame": { "message": { "content": [result] } } })
}

/// Measured with the test program, which is not optimized, beside other tests: the bounds are those of docs/performance.md
/// times this.
const SLACK: &str = "20";

#[test]
fn slow_ten_thousand_events_stay_within_their_bounds() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let id = server.submit(json!({ "instruction": "Ten thousand", "runAt": "2125-01-01T00:00:00Z" }));
    add_events(&world.dir, &id, 2..=10_000);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        browse(&world, &server.http, "long", &[("TASK", &id), ("SLACK", SLACK)], |_| {
            // Fifty a second, beside the browser.
            scope.spawn(|| {
                for from in (10_001..10_301).step_by(5).take_while(|_| !done.load(Ordering::Relaxed)) {
                    add_events(&world.dir, &id, from..=from + 4);
                    std::thread::park_timeout(Duration::from_millis(100));
                }
            });
        });
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
#[expect(clippy::disallowed_methods, reason = "the types are checked by another program")]
fn scripts_are_what_their_types_say() {
    let scripts =
        ["live", "page", "task", "forms", "keys"].map(|name| root().join(format!("src/web/assets/{name}.js")));
    let mut check = Command::new("node");
    check.arg(root().join(".tools/node_modules/typescript/bin/tsc"));
    check.args(["--noEmit", "--allowJs", "--checkJs", "--strict", "--target", "es2022", "--module", "es2022"]);
    check.args(["--lib", "es2022,dom,dom.iterable", "--maxNodeModuleJsDepth", "0"]).args(scripts).current_dir(root());
    let output = check.output().expect("a check");
    let said = String::from_utf8_lossy(&output.stdout);
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("error") && !line.contains("idiomorph")).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}
