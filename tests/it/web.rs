//! The dashboard in a real browser. Its scripts stand in `tests/web`; each is a test of its own here.

use std::process::Command;

use serde_json::json;

use super::isolation::repository;
use crate::support::browser::{browse, root};
use crate::support::{Server, World, task};

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

/// A task that has changed a file of a repository.
fn with_changes(world: &World, server: &Server) -> String {
    let folder = repository(world);
    let mut body = task(&folder, "Change a file", &["bash echo two >> README", "say done"]);
    body["options"] = json!({ "useWorktree": true, "sdk": { "allowedTools": ["Bash"] } });
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["status"], "completed");
    id
}

/// A task whose model has asked a sub-agent.
fn with_agent(world: &World, server: &Server) -> String {
    let input = json!({
        "description": "Look", "subagent_type": "general-purpose", "prompt": "Look.\nstep bash echo within\nstep say seen",
    });
    let mut body = task(&world.ws(), "Ask another", &[&format!("tool Task {input}"), "say done"]);
    body["options"]["sdk"] = json!({ "allowedTools": ["Bash", "Task"] });
    let id = server.submit(body);
    assert_eq!(server.wait_end(&id)["status"], "completed");
    id
}

/// A contender of a race, whose winner a person has to choose.
fn in_a_race(world: &World, server: &Server) -> String {
    let mut body = task(&world.ws().join("repo"), "Race", &["bash echo two >> README", "say done"]);
    body["race"] = json!({ "n": 2, "pick": "me" });
    body["verify"] = json!({ "command": "cat README" });
    let id = server.submit(body);
    crate::support::until("both to end", || {
        (server.get(&format!("/api/tasks/{id}/race"))["state"] == "needsPick").then_some(())
    });
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
    let (changed, agent) = (with_changes(&world, &server), with_agent(&world, &server));
    let race = in_a_race(&world, &server);
    let tasks = [("TASK", id.as_str()), ("CHANGED", &changed), ("AGENT", &agent), ("RACE", &race)];
    browse(&world, &server.http, "pages", &tasks, nothing);
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
