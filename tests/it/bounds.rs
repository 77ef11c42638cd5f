//! Bounds in bytes, descriptors and time: what is large or many costs its own request, not the server.

#![expect(clippy::disallowed_methods, reason = "limits are set by a shell")]

use std::io::Write;
use std::net::TcpStream;
use std::process::Command;

use rusqlite::Connection;
use serde_json::json;

use crate::support::{PROGRAM, Process, Server, World, scripted_claude, task, until};

const KEY: &str = "a-key-for-the-tests-of-bounds";
const MIB: u64 = 1 << 20;

/// The most memory that a process has had, in bytes.
fn memory(server: &Server) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.process.pid())).expect("a status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number") * 1024
}

/// A world with a task that has ended, stopped, and its id as SQL writes it.
fn with_a_task() -> (World, String) {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude()), ("API_KEY", KEY)]);
    let id = server.submit(json!({ "instruction": "x" }));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    drop(server);
    (world, id)
}

fn blob(id: &str) -> String {
    format!("x'{}'", id.replace('-', ""))
}

fn database(world: &World) -> Connection {
    Connection::open(world.dir.join("data/cc.db")).expect("the database")
}

fn columns(db: &Connection, table: &str) -> Vec<String> {
    let mut names = db.prepare(&format!("SELECT name FROM pragma_table_info('{table}')")).expect("columns");
    let names = names.query_map([], |row| row.get(0)).expect("columns");
    names.map(|name| name.expect("a name")).collect()
}

/// Copies of the events of a task, as many as this, each of this size.
fn many_events(world: &World, id: &str, count: u32, bytes: u32) {
    let db = database(world);
    let columns = columns(&db, "events");
    let value = |name: &String| match &**name {
        "n" => "(SELECT MAX(n) FROM events) + value".to_owned(),
        "seq" => "(SELECT last_event FROM tasks WHERE id = task_id) + value".to_owned(),
        "kind" => "'assistant'".to_owned(),
        "data" => format!(
            "'{{\"frame\":{{\"type\":\"assistant\",\"message\":{{\"content\":[{{\"type\":\"text\",\"text\":\"' || printf('%.*c', {bytes}, 'x') || '\"}}]}}}}}}'"
        ),
        other => format!("events.{other}"),
    };
    let values: Vec<_> = columns.iter().map(value).collect();
    let text = format!(
        "WITH RECURSIVE numbers(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM numbers WHERE value < {count})
        INSERT INTO events ({}) SELECT {} FROM numbers, (SELECT * FROM events WHERE task_id = {id} ORDER BY seq LIMIT 1) events",
        columns.join(", "),
        values.join(", "),
        id = blob(id),
    );
    db.execute_batch("PRAGMA synchronous = OFF").expect("set");
    db.execute(&text, []).unwrap_or_else(|error| panic!("{text}: {error}"));
    let last = format!("UPDATE tasks SET last_event = last_event + {count} WHERE id = {}", blob(id));
    db.execute(&last, []).expect("counted");
}

/// A hundred copies of a task, one column of each set to an expression.
fn many_tasks(world: &World, id: &str, column: &str, expression: &str) {
    let db = database(world);
    db.execute_batch("PRAGMA synchronous = OFF; PRAGMA foreign_keys = OFF").expect("set");
    let columns = columns(&db, "tasks");
    for n in 0..100 {
        let value = |name: &String| match &**name {
            "id" => format!("x'{}{n:04x}'", &blob(id)[2..30]),
            name if name == column => expression.to_owned(),
            other => other.to_owned(),
        };
        let values: Vec<_> = columns.iter().map(value).collect();
        let text = format!(
            "INSERT OR REPLACE INTO tasks ({}) SELECT {} FROM tasks WHERE id = {}",
            columns.join(", "),
            values.join(", "),
            blob(id)
        );
        db.execute(&text, []).unwrap_or_else(|error| panic!("{text}: {error}"));
    }
}

#[test]
fn slow_a_list_of_large_results_is_bounded_in_bytes() {
    let (world, id) = with_a_task();
    many_tasks(&world, &id, "result", "printf('%.*c', 15000000, 'x')");
    let server = world.serve("standalone", &[("API_KEY", KEY)]);
    let before = memory(&server);
    let (mut offset, mut seen) = (0, 0);
    while offset < 100 {
        let (status, body) = server.http.raw(&format!("/api/tasks?limit=100&offset={offset}"));
        assert_eq!(status, 200);
        assert!(body.len() < 6 * MIB as usize, "{} bytes", body.len());
        let page: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let tasks = page["tasks"].as_array().expect("tasks");
        assert!(!tasks.is_empty(), "{page:#}");
        for task in tasks.iter().filter(|task| task["taskId"] != json!(id)) {
            assert_eq!((&task["resultTruncated"], &task["resultBytes"]), (&json!(true), &json!(15_000_000)));
            assert!(task["result"].as_str().is_some_and(|text| text.len() <= 4_096), "{task}");
        }
        (offset, seen) = (offset + tasks.len(), seen + tasks.len());
    }
    assert!(seen >= 100);
    assert!(memory(&server).saturating_sub(before) < 60 * MIB, "{} bytes more", memory(&server) - before);
    let whole = server.get(&format!("/api/tasks/{}0001", &id[..32]));
    assert_eq!(whole["result"].as_str().map(str::len), Some(15_000_000), "the whole is there: {}", whole["error"]);
}

#[test]
fn large_requests_are_listed_in_little_memory() {
    let (world, id) = with_a_task();
    many_tasks(&world, &id, "spec", "json_object('version', 1, 'instruction', printf('%.*c', 1000000, 'x'))");
    let server = world.serve("standalone", &[("API_KEY", KEY)]);
    let before = memory(&server);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let (status, body) = server.http.raw("/api/tasks?limit=100");
                assert_eq!(status, 200);
                assert!(body.len() < 6 * MIB as usize, "{} bytes", body.len());
                let page: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
                let tasks = page["tasks"].as_array().expect("tasks");
                let cut = tasks.iter().filter(|task| task["instructionTruncated"] == json!(true)).count();
                assert!(cut + 1 >= tasks.len() && cut > 10, "{cut} of {} are cut", tasks.len());
            });
        }
    });
    let more = memory(&server).saturating_sub(before);
    assert!(more < 60 * MIB, "{} MiB more", more / MIB);
}

#[test]
fn readers_that_take_nothing_cost_little_memory() {
    let (world, id) = with_a_task();
    many_events(&world, &id, 500, 400_000);
    let server = world.serve("standalone", &[("API_KEY", KEY)]);
    let before = memory(&server);
    let address = server.http.url.trim_start_matches("http://").to_owned();
    let readers: Vec<_> = (0..50)
        .map(|n| {
            let mut connection = TcpStream::connect(&address).expect("connected");
            let path = match n % 3 {
                0 => format!("/api/tasks/{id}/conversation"),
                _ => format!("/api/tasks/{id}/events"),
            };
            let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {KEY}\r\n\r\n");
            connection.write_all(request.as_bytes()).expect("asked");
            connection
        })
        .collect();
    // As long as it takes to answer somebody who does read.
    for _ in 0..20 {
        assert_eq!(server.http.ask("GET", "/health", None).0, 200);
        assert_eq!(server.http.ask("GET", "/api/tasks", None).0, 200);
    }
    let seen = server.http.events(&format!("/api/tasks/{id}/events"), None).count();
    assert!(seen > 500, "{seen}");
    let page = [("accept", "application/json")];
    let (status, _, page) = server.http.send("GET", &format!("/api/tasks/{id}/events?limit=1000"), &page, None);
    assert_eq!((status, &page["hasMore"]), (200, &json!(true)), "a page is cut by bytes");
    assert!(page["events"].as_array().is_some_and(|events| (1..20).contains(&events.len())));
    let more = memory(&server).saturating_sub(before);
    assert!(more < 60 * MIB, "{} MiB more", more / MIB);
    drop(readers);
}

#[test]
fn a_long_conversation_is_read_in_pieces() {
    let (world, id) = with_a_task();
    many_events(&world, &id, 200_000, 300);
    let server = world.serve("standalone", &[("API_KEY", KEY)]);
    let before = memory(&server);
    let (status, body) = server.http.raw(&format!("/api/tasks/{id}/conversation?source=events"));
    assert!(status == 200 && body.len() > 1_000_000, "{status} {}", body.len());
    let more = memory(&server).saturating_sub(before);
    assert!(more < 60 * MIB, "{} MiB more", more / MIB);
}

/// The API in a shell that sets a limit first.
fn limited(world: &World, descriptors: u32) -> Command {
    let mut command = Command::new("sh");
    command.args([
        "-c",
        &format!("ulimit -n {descriptors} && exec \"$@\""),
        "sh",
        PROGRAM,
        "serve",
        "--mode",
        "inline",
    ]);
    let claude = scripted_claude();
    let inner = world.command("serve", &[("API_KEY", KEY), ("CLAUDE_PATH", &claude), ("QUEUE_CONCURRENCY", "1")]);
    command.current_dir(world.ws()).env_clear();
    command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    command
}

#[test]
fn few_descriptors_are_refused_or_enough_for_a_flood() {
    let world = World::new();
    let ran = limited(&world, 40).output().expect("a shell");
    let said = String::from_utf8_lossy(&ran.stderr).into_owned() + &String::from_utf8_lossy(&ran.stdout);
    assert_eq!(ran.status.code(), Some(1), "{said}");
    assert_eq!(said.trim().lines().count(), 1, "one clear line: {said}");
    let needed = said.split("ulimit -n ").nth(1).and_then(|rest| rest.split(')').next()).expect("the number needed");
    // With just so many it works, and a flood of others passes.
    let server = Server::listening(Process::start(limited(&world, needed.parse().expect("a number"))), KEY);
    let address = server.http.url.trim_start_matches("http://").to_owned();
    let request = format!("GET /api/events HTTP/1.1\r\nHost: {address}\r\nX-API-Key: {KEY}\r\n\r\n");
    let flood: Vec<_> = (0..200)
        .map(|_| {
            let mut connection = TcpStream::connect(&address).expect("connected");
            connection.write_all(request.as_bytes()).ok();
            connection
        })
        .collect();
    assert_eq!(server.http.ask("GET", "/health", None).0, 200, "there is room for that");
    drop(flood);
    until("the server to answer", || {
        let answer = server.http.try_ask("POST", "/api/tasks", &[], Some(&json!({ "instruction": "after" })));
        answer.filter(|(status, _)| *status == 202)
    });
    let id = server.submit(json!({ "instruction": "more" }));
    assert_eq!(server.wait_end(&id)["status"], "completed");
    let (status, health) = server.http.ask("GET", "/health", None);
    assert_eq!((status, &health["panics"]), (200, &json!(0)), "{health:#}");
}

#[test]
fn a_disk_that_does_not_answer_holds_up_nobody_else() {
    let world = World::new();
    // One path takes for ever, and each commit 200 ms.
    let points = "path-resolve=1*sleep(8000)->off;queue-commit=sleep(200)";
    let claude = scripted_claude();
    let settings = [("API_KEY", KEY), ("CLAUDE_PATH", &*claude), ("FAILPOINTS", points), ("LEASE_MS", "3000")];
    let server = world.serve("inline", &settings);
    let body = || json!({ "instruction": "x", "context": { "workingDirectory": world.ws() } });
    let stuck = std::thread::scope(|scope| {
        let stuck = scope.spawn(|| server.http.ask("POST", "/api/tasks", Some(body())));
        // All of this is answered before the one that waits.
        for _ in 0..10 {
            assert_eq!(server.http.ask("GET", "/health", None).0, 200);
        }
        assert!(!stuck.is_finished(), "it waits for its folder");
        stuck.join().expect("an answer")
    });
    assert_eq!((stuck.0, &stuck.1["error"]["code"]), (503, &json!("FOLDER_UNAVAILABLE")), "{stuck:?}");
    let last = server.wait_end(&server.submit(json!({ "instruction": "long" })));
    assert_eq!(
        (&last["status"], &last["attempt"]),
        (&json!("completed"), &json!(1)),
        "its lease was renewed: {last:#}"
    );
}

#[test]
fn a_transcript_that_is_a_pipe_holds_up_nobody_else() {
    let world = World::new();
    let server = world.serve("inline", &[("API_KEY", KEY)]);
    let done = server.wait_end(&server.submit(task(&world.ws(), "said", &["say something"])));
    let session = done["sdkSessionId"].as_str().expect("a session");
    let found =
        Command::new("find").arg(&world.dir).args(["-name", &format!("{session}.jsonl")]).output().expect("find");
    let file = String::from_utf8(found.stdout).expect("text");
    let file = std::path::Path::new(file.trim());
    std::fs::remove_file(file).expect("removed");
    assert!(Command::new("mkfifo").arg(file).status().expect("mkfifo").success());
    let path = format!("/api/tasks/{}/conversation", done["taskId"].as_str().expect("an id"));
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| server.http.ask("GET", &path, None));
        for _ in 0..10 {
            assert_eq!(server.http.ask("GET", "/health", None).0, 200);
        }
        let next = server.wait_end(&server.submit(task(&world.ws(), "next", &["say fine"])));
        assert_eq!(next["status"], "completed");
        let (status, answer) = asked.join().expect("an answer");
        assert!(status == 200 || status == 503, "{status} {answer}");
    });
}

#[test]
fn a_database_that_was_renamed_away_takes_no_task() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude()), ("API_KEY", KEY)]);
    server.wait_end(&server.submit(json!({ "instruction": "x" })));
    let data = world.dir.join("data");
    std::fs::rename(data.join("cc.db"), data.join("elsewhere.db")).expect("renamed");
    let (status, answer) = server.http.ask("POST", "/api/tasks", Some(json!({ "instruction": "lost" })));
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("STORE_UNAVAILABLE")), "{answer}");
    let why = || server.http.ask("GET", "/health", None).1["reason"].as_str().map(str::to_owned);
    until("the reason", || why().filter(|why| why.contains("cc.db")));
    std::fs::rename(data.join("elsewhere.db"), data.join("cc.db")).expect("back");
    until("the store", || {
        let answer = server.http.try_ask("POST", "/api/tasks", &[], Some(&json!({ "instruction": "again" })));
        answer.filter(|(status, _)| *status == 202)
    });
}

#[test]
fn slow_a_pause_of_the_api_ends_no_healthy_worker() {
    let world = World::new();
    let server = world.serve("managed", &[("API_KEY", KEY), ("WORKER_COUNT", "2")]);
    let id = server.submit(task(&world.ws(), "long", &["bash sleep 14", "say done"]));
    server.wait_tool(&id);
    let workers = [server.worker_pid("worker-0"), server.worker_pid("worker-1")];
    server.process.signal("STOP");
    // The fault itself: longer than a worker may be silent.
    std::thread::sleep(std::time::Duration::from_secs(12));
    server.process.signal("CONT");
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!(server.task(&id)["attempts"].as_array().map(Vec::len), Some(1));
    assert_eq!([server.worker_pid("worker-0"), server.worker_pid("worker-1")], workers);
    assert!(!server.process.logs().contains("silent"), "{}", server.process.logs());
}
