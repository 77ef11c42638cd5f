//! Network → API: what clients send that is no honest request, and what they may make the server keep.

#![expect(clippy::disallowed_methods, reason = "a client may be slow, and the program is started by a shell")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{LIMIT, Process, Server, World, scripted_claude, task, until};

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.http.url.trim_start_matches("http://")).expect("a connection");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// Sends bytes as they are. Returns the status of the answer, and its head.
fn raw(server: &Server, request: &[u8]) -> (u16, String) {
    let mut stream = connect(server);
    stream.write_all(request).expect("sent");
    head(&mut stream)
}

fn head(stream: &mut TcpStream) -> (u16, String) {
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while !answer.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        answer.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&answer).into_owned();
    (head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0), head)
}

#[test]
fn a_request_that_can_be_read_in_two_ways_is_refused() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let key = format!("X-API-Key: {}\r\n", server.http.key());
    let ask = |line: &str, headers: &[u8]| {
        let request = [format!("GET {line} HTTP/1.1\r\n{key}").as_bytes(), headers, b"\r\n\r\n"].concat();
        raw(&server, &request).0
    };
    assert_eq!(ask("/api/tasks", b"Host: localhost"), 200);
    assert_eq!(ask("http://localhost/api/tasks", b"Host: localhost"), 200);
    for (line, headers) in [
        ("/api/tasks", &b"Host: localhost\r\nHost: localhost"[..]),
        ("/api/tasks", b"Host: localhost\r\nHost: evil.test"),
        ("/api/tasks", b"Host: evil.test"),
        ("http://evil.test/api/tasks", b"Host: localhost"),
        ("/api/tasks", b"Host: localhost\r\nOrigin: http://localhost\r\nOrigin: http://evil.test"),
        ("/api/tasks", b"Host: localhost\r\nOrigin: http://local\xffhost"),
        ("/api/tasks", b"Host: localhost\r\nOrigin: null"),
        ("/api/tasks", b"Host: localhost\r\nSec-Fetch-Site: none\r\nSec-Fetch-Site: cross-site"),
    ] {
        let status = ask(line, headers);
        assert!(matches!(status, 400 | 403), "{line} {}: {status}", String::from_utf8_lossy(headers));
    }
}

#[test]
fn every_answer_tells_browsers_to_make_no_more_of_it() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    let id = server.submit(task(&world.ws(), "streamed", &[]));
    let stream = format!("/api/tasks/{id}/events");
    let key = server.http.key();
    for (line, shown, host, status) in [
        ("GET /api/tasks", key, "localhost", 200),
        (&*format!("GET {stream}"), key, "localhost", 200),
        ("GET /health", "", "localhost", 200),
        ("GET /api/docs", "", "localhost", 200),
        ("GET /api/tasks", "", "localhost", 401),
        ("GET /api/tasks", key, "evil.test", 403),
        ("GET /nothing", key, "localhost", 404),
        ("DELETE /api/tasks", key, "localhost", 405),
    ] {
        let request = format!("{line} HTTP/1.1\r\nHost: {host}\r\nX-API-Key: {shown}\r\n\r\n");
        let (answered, head) = raw(&server, request.as_bytes());
        let head = head.to_lowercase();
        assert_eq!(answered, status, "{line}");
        for rule in [
            "x-content-type-options: nosniff",
            "referrer-policy: no-referrer",
            "content-security-policy: default-src 'none'",
        ] {
            assert!(head.contains(rule), "{line}: {rule} is missing in {head}");
        }
    }
    server.wait_end(&id);
}

/// A client with a key that stops in the middle of a body, or goes on one byte at a time, is cut off.
#[test]
fn slow_bodies_are_cut_off_with_a_key_too() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let open = || {
        let mut stream = connect(&server);
        let head = format!(
            "POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
            Content-Length: 100000\r\n\r\n{{",
            server.http.key()
        );
        stream.write_all(head.as_bytes()).expect("sent");
        stream
    };
    let (mut silent, mut trickling) = (open(), open());
    let mut from = trickling.try_clone().expect("a clone");
    let begun = Instant::now();
    let trickle = std::thread::spawn(move || {
        while begun.elapsed() < Duration::from_secs(40) && from.write_all(b" ").is_ok() {
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    for stream in [&mut silent, &mut trickling] {
        assert_eq!(head(stream).0, 408);
        assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    }
    drop((silent, trickling));
    trickle.join().expect("no panic");
}

fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("a line");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Sixty clients that have sent nearly all of their largest bodies, and wait; those whose heads come alone, and those whose
/// heads come with the body, in one buffer.
#[test]
fn sixty_held_bodies_cost_less_than_20_mb() {
    for is_together in [false, true] {
        hold_sixty_bodies(is_together);
    }
}

fn hold_sixty_bodies(is_together: bool) {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    assert_eq!(server.http.ask("GET", "/api/tasks", None).0, 200);
    let before = resident(server.process.pid());
    let size = 8 << 20;
    let mut held = Vec::new();
    for _ in 0..60 {
        let mut stream = connect(&server);
        let head = format!(
            "POST /api/tasks HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
            Content-Length: {size}\r\n\r\n",
            server.http.key()
        );
        let body = vec![b' '; size - 100_000];
        let writes = if is_together { vec![[head.into_bytes(), body].concat()] } else { vec![head.into_bytes(), body] };
        for bytes in writes {
            stream.write_all(&bytes).expect("taken");
        }
        held.push(stream);
    }
    let more = resident(server.process.pid()).saturating_sub(before);
    assert!(more < 20 << 10, "{more} KiB for 60 bodies");
    assert_eq!(server.http.ask("GET", "/api/tasks", None).0, 200);
    // One that comes whole is read, also of that length.
    let mut last = held.pop().expect("a stream");
    let body = json!({ "instruction": "x", "runAt": "2125-01-01T00:00:00Z" }).to_string();
    last.write_all(&[vec![b' '; 100_000 - body.len()], body.into_bytes()].concat()).expect("sent");
    assert_eq!(head(&mut last).0, 202);
}

/// Everything below a folder, with its mode.
fn modes(folder: &Path) -> Vec<(String, u32)> {
    let mut found = vec![(folder.display().to_string(), std::fs::metadata(folder).expect("a folder").mode() & 0o777)];
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let kind = entry.file_type().expect("a type");
        if kind.is_dir() {
            found.extend(modes(&entry.path()));
        } else if kind.is_file() {
            found.push((entry.path().display().to_string(), entry.metadata().expect("a file").mode() & 0o777));
        }
    }
    found
}

/// Whatever the umask: the database, what stands beside it, keys and copies can be read by their user alone.
#[test]
fn files_of_the_service_are_closed_to_others() {
    let world = World::new();
    let db = world.dir.join("own/cc.db");
    let settings = [("DB_PATH", db.display().to_string()), ("CLAUDE_PATH", scripted_claude())];
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let bare = |args: &[&str]| {
        let program = world.command(args[0], &settings);
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(program.get_program()).args(args);
        shell.current_dir(world.ws()).env_clear();
        for (name, value) in program.get_envs() {
            shell.env(name, value.expect("set"));
        }
        shell
    };
    let process = Process::start(bare(&["serve", "--mode", "managed"]));
    process.wait_log("Listening url=");
    let key = std::fs::read_to_string(world.dir.join("own/api-key")).expect("a key");
    let server = Server::listening(process, &key);
    let mut body = task(&world.ws(), "ends", &[]);
    body["context"] = json!({});
    let id = server.submit(body);
    server.wait_end(&id);
    let copy = world.dir.join("own/copy.db");
    let backup = bare(&["backup", &copy.display().to_string()]).output().expect("the program");
    assert!(backup.status.success(), "{backup:?}");
    // What the task made in its own folder has the modes that it wants.
    let own = format!("{}/", world.dir.join("own/work").join(&id).display());
    let open: Vec<_> = modes(&world.dir.join("own"))
        .into_iter()
        .filter(|(path, mode)| mode & 0o077 != 0 && !format!("{path}/").starts_with(&own))
        .collect();
    assert!(open.is_empty(), "{open:#?}");
}

#[test]
fn a_key_file_that_others_can_read_is_refused() {
    let world = World::new();
    let file = world.dir.join("data/api-key");
    let refused = |why: &str| {
        let output = world.command("serve", &[]).output().expect("the program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(why), "{why}: {said}");
    };
    std::fs::write(&file, "a-key-of-sixteen-or-more").expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o640)).expect("a mode");
    refused("chmod 600");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("a mode");
    std::fs::write(&file, "short").expect("a file");
    refused("16 to 1024 characters");
    std::fs::write(&file, "x".repeat(2_000)).expect("a file");
    refused("16 to 1024 characters");
    std::fs::remove_file(&file).expect("removed");
    std::fs::create_dir(&file).expect("a folder");
    refused("no plain file");
}

#[test]
fn long_words_are_refused() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let plan = |cron: String, zone: String| json!({ "cron": cron, "timeZone": zone, "task": { "instruction": "x" } });
    let list = (0..60).map(|minute| minute.to_string()).collect::<Vec<_>>().join(",");
    for (field, body) in [
        ("cron", plan(format!("{list},{list} * * * *"), "UTC".to_owned())),
        ("timeZone", plan("0 0 * * *".to_owned(), "x".repeat(1_000))),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/schedules", Some(body));
        assert_eq!((status, answer["error"]["details"]["field"].as_str()), (422, Some(field)), "{answer}");
    }
}

/// A database that has its size takes no new work, says why, and lets what runs come to its end.
#[test]
fn a_database_grows_no_further_than_it_may() {
    let world = World::new();
    let settings = [("MAX_DATABASE_BYTES", "3000000"), ("MAX_TASK_EVENT_BYTES", "20000")];
    let server = world.serve("inline", &settings);
    let wait = format!("bash touch {0}/began; while ! test -e {0}/go; do sleep 0.05; done", world.ws().display());
    let long = "word ".repeat(2_000);
    let running = server.submit(task(&world.ws(), "runs", &[&wait, &format!("say {long}"), &format!("say {long}")]));
    until("the task to run", || world.ws().join("began").exists().then_some(()));
    let large = || Some(json!({ "instruction": "x".repeat(500_000), "runAt": "2125-01-01T00:00:00Z" }));
    let mut stored = Vec::new();
    let refused = until("the database to be full", || match server.http.ask("POST", "/api/tasks", large()) {
        (202, answer) => {
            stored.push(answer["taskId"].as_str().expect("an id").to_owned());
            None
        }
        refused => Some(refused),
    });
    assert_eq!((refused.0, &refused.1["error"]["code"]), (503, &json!("STORE_UNAVAILABLE")), "{}", refused.1);
    let health = until("the health to say why", || {
        let health = server.get("/health");
        health["checks"]["disk"]["error"].as_str().map(str::to_owned)
    });
    assert!(health.contains("MAX_DATABASE_BYTES"), "{health}");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let ended = server.wait_end(&running);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(ended["result"].as_str().is_some_and(|result| result.len() > 9_000), "the result is whole");
    for id in &stored {
        assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{id}"), None).0, 200);
    }
    let pruned = world.command("prune", &[]).args(["--older-than", "0"]).output().expect("the program");
    assert!(pruned.status.success(), "{pruned:?}");
    until("room for tasks", || (server.http.ask("POST", "/api/tasks", large()).0 == 202).then_some(()));
}

#[test]
fn an_attempt_stores_no_more_events_whole_than_it_may() {
    let world = World::new();
    let server = world.serve("inline", &[("MAX_TASK_EVENT_BYTES", "15000")]);
    let long = "word ".repeat(1_000);
    let steps: Vec<String> = (0..8).map(|n| format!("bash echo {n} {long}")).chain([format!("say {long}")]).collect();
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let id = server.submit(task(&world.ws(), "talks", &steps));
    let ended = server.wait_end(&id);
    assert!(
        ended["status"] == "completed" && ended["result"].as_str().is_some_and(|text| text.len() > 4_000),
        "{ended:#}"
    );
    let page = server.get(&format!("/api/tasks/{id}/events/page?limit=1000"));
    let sizes: Vec<usize> =
        page["events"].as_array().expect("events").iter().map(|event| event.to_string().len()).collect();
    assert!(sizes.iter().any(|size| *size > 4_000) && *sizes.iter().rev().nth(2).expect("some") < 5_000, "{sizes:?}");
    assert!(sizes.iter().sum::<usize>() < 15_000 + 5_000 * sizes.len(), "{sizes:?}");
}
