//! A hostile CLI: recorded streams of the real one, broken in every way, cost at most the one task.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::{Dice, LIMIT, Server, World, check_history, poll};

/// Stands in a changed frame for what serde_json can't write.
const HALF: &str = "HALF-A-LETTER";
const DEEP: &str = "\"NESTED-DEEPLY\"";
const HUGE: &str = "\"A-HUGE-NUMBER\"";

/// Streams of the real CLI, each with its name.
fn recordings() -> Vec<Vec<String>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let mut files: Vec<_> = fs::read_dir(folder).expect("recordings").flatten().map(|file| file.path()).collect();
    files.sort();
    let lines = |file| fs::read_to_string(file).expect("a recording").lines().map(str::to_owned).collect();
    files.iter().map(lines).collect()
}

/// Some value that a field should not have.
fn strange(dice: &mut Dice, was: &Value) -> Value {
    match dice.below(14) {
        0 => Value::Null,
        1 => json!([]),
        2 => json!({}),
        3 => json!(""),
        4 => json!(was.to_string()),
        5 => json!(-1),
        6 => json!(1.5),
        7 => json!(true),
        8 => json!("false"),
        9 => json!(format!("text {HALF} text")),
        10 => json!(DEEP.trim_matches('"')),
        11 => json!(HUGE.trim_matches('"')),
        12 => json!("x".repeat(1 << dice.below(21))),
        _ => json!([was, was]),
    }
}

/// Changes one field, anywhere in a value.
fn change(dice: &mut Dice, value: &mut Value) {
    let goes_deeper = dice.below(3) > 0;
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            let name = fields.keys().nth(dice.below(fields.len())).cloned().expect("a field");
            match fields.get_mut(&name) {
                Some(field @ (Value::Object(_) | Value::Array(_))) if goes_deeper => change(dice, field),
                Some(_) if dice.below(4) == 0 => _ = fields.remove(&name),
                Some(field) => *field = strange(dice, field),
                None => {}
            }
        }
        Value::Array(items) if !items.is_empty() && goes_deeper => {
            let at = dice.below(items.len());
            change(dice, &mut items[at]);
        }
        other => *other = strange(dice, other),
    }
}

/// Breaks a stream in one way.
fn mutate(dice: &mut Dice, lines: &mut Vec<Vec<u8>>, all: &[Vec<String>]) {
    let at = dice.below(lines.len().max(1));
    match dice.below(12) {
        _ if lines.is_empty() => {}
        0 => _ = lines.remove(at),
        1 => lines.insert(at, lines[at].clone()),
        2 => {
            let other = dice.below(lines.len());
            lines.swap(at, other);
        }
        3 => {
            let keep = dice.below(lines[at].len().max(1));
            lines[at].truncate(keep);
        }
        4 => {
            let other = &all[dice.below(all.len())];
            lines.insert(at, other[dice.below(other.len())].clone().into_bytes());
        }
        5 => {
            let noise: [&[u8]; 6] = [b"", b"\xff\xfe\xd8", b"null", b"[[[[", b"Error: something", b"{\"type\":7}"];
            lines.insert(at, noise[dice.below(noise.len())].to_vec());
        }
        _ => {
            let Ok(mut frame) = serde_json::from_slice::<Value>(&lines[at]) else { return };
            change(dice, &mut frame);
            let text = frame.to_string().replace(HALF, "\\ud83d").replace(HUGE, "1e308");
            let deep = "[".repeat(140) + &"]".repeat(140);
            lines[at] = text.replace(DEEP, &deep).into_bytes();
        }
    }
}

/// So many broken streams, each a task; then all of them have ended as they may, and the next one is done.
fn storm(streams: usize, seed: u64) {
    eprintln!("seed {seed}");
    let world = World::new();
    let claude = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/replayed-claude.sh");
    let settings = [
        ("CLAUDE_PATH", claude.to_str().expect("a path")),
        ("QUEUE_CONCURRENCY", "6"),
        ("PERMISSION_TIMEOUT_MS", "200"),
        ("LOG_LEVEL", "warn,cc_anywhere::api=info"),
    ];
    let server = world.serve("inline", &settings);
    let (mut dice, all) = (Dice::new(seed), recordings());
    let good = world.dir.join("witness/good.jsonl");
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/writes.jsonl");
    fs::copy(recorded, &good).expect("copied");
    let replay = |file: &Path, code: usize, stay: f32| {
        json!({
            "instruction": format!("replay {} {code} {stay};", file.display()),
            "options": {
                "timeout": 20_000, "maxAttempts": 2, "retry": { "initialDelay": 10, "maxDelay": 20 },
                "sdk": { "permissionMode": "default" },
            },
        })
    };
    let mut open = HashSet::new();
    for n in 0..streams {
        let mut lines: Vec<_> = all[dice.below(all.len())].iter().map(|line| line.clone().into_bytes()).collect();
        for _ in 0..=dice.below(4) {
            mutate(&mut dice, &mut lines, &all);
        }
        let file = world.dir.join(format!("witness/stream-{n}.jsonl"));
        fs::write(&file, [lines.join(&b'\n'), b"\n".to_vec()].concat()).expect("a file");
        let code = if dice.below(4) == 0 { 1 } else { 0 };
        open.insert(server.submit(replay(&file, code, 0.05)));
        if open.len() >= 50 {
            settle(&server, &mut open, 25);
        }
    }
    settle(&server, &mut open, 0);
    let done = server.wait_end(&server.submit(replay(&good, 0, 0.0)));
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("after write")), "{done:#}");
    let health = server.get("/health");
    assert_eq!((&health["panics"], &health["checks"]["store"]["ok"]), (&json!(0), &json!(true)), "{health:#}");
    check_history(&world, &["--settled"]);
}

/// Waits until no more than so many are open, and looks at each that has ended.
fn settle(server: &Server, open: &mut HashSet<String>, most: usize) {
    let settled = poll(3 * LIMIT, || {
        // A stream may say that the account can't pay; here somebody mends it at once.
        for parked in server.get("/health")["parked"].as_array().into_iter().flatten() {
            let go_on = json!({ "credential": parked["credential"] });
            server.http.ask("POST", "/api/queue/start", Some(go_on));
        }
        let page = server.get("/api/tasks?limit=100");
        let listed = page["tasks"].as_array().unwrap_or_else(|| panic!("the list can be read: {page:#}"));
        for task in listed.iter().filter(|task| task["completedAt"].is_string()) {
            let id = task["taskId"].as_str().expect("an id");
            if open.remove(id) {
                look(server, id);
            }
        }
        (open.len() <= most).then_some(())
    });
    assert!(settled.is_some(), "{open:?} did not end: {}", server.process.logs());
}

/// An ended task is paid as often as it may be, and everything of it can be read.
fn look(server: &Server, id: &str) {
    let task = server.task(id);
    let attempts = task["attempts"].as_array().unwrap_or_else(|| panic!("{task:#}"));
    assert!(attempts.len() <= 3, "{task:#}");
    let paid: f64 = attempts.iter().filter_map(|attempt| attempt["costUsd"].as_f64()).sum();
    assert!((task["costUsd"].as_f64().unwrap_or_default() - paid).abs() < 1e-6, "{task:#}");
    assert!(paid.is_finite() && (0.0..=300_000.0).contains(&paid), "{task:#}");
    let read = |path: &str| {
        let page = [("accept", "application/json"), ("last-event-id", "0")];
        let (status, _, answer) = server.http.send("GET", path, &page, None);
        assert_eq!(status, 200, "{path} {answer}");
    };
    read(&format!("/api/tasks/{id}/events"));
    read("/api/events");
    read(&format!("/api/tasks/{id}/logs"));
    let seen = server.http.events(&format!("/api/tasks/{id}/events"), None).count();
    assert!(seen > 1, "{seen} events of {id}");
}

fn seed() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(1, |now| now.as_nanos() as u64)
}

#[test]
fn whatever_the_cli_prints_costs_at_most_its_task() {
    storm(200, seed());
}

#[test]
fn slow_whatever_the_cli_prints_costs_at_most_its_task() {
    storm(2_000, seed());
}

/// What fuzzers have found worth keeping.
fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
    let files = fs::read_dir(folder).expect("a corpus").flatten();
    let kept: Vec<_> = files.map(|file| fs::read(file.path()).expect("a file")).collect();
    assert!(kept.len() > 8, "{} files in the corpus {name}", kept.len());
    kept
}

#[test]
fn the_corpus_of_the_fuzzers_and_what_is_like_it_is_read() {
    let mut dice = Dice::new(seed());
    eprintln!("seed {}", dice.seed);
    let recorded: Vec<_> = recordings().concat().into_iter().map(String::into_bytes).collect();
    let readers = [
        ("frame", cc_anywhere::borders::frame as fn(&[u8])),
        ("stored", cc_anywhere::borders::stored),
        ("link", cc_anywhere::borders::link),
        ("body", cc_anywhere::borders::body),
        ("answer", cc_anywhere::borders::answer),
    ];
    for (name, read) in readers {
        let kept = corpus(name);
        kept.iter().chain(&recorded).for_each(|bytes| read(bytes));
        let all = [recordings(), vec![kept.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()]];
        for _ in 0..2_000 {
            let mut lines = vec![kept[dice.below(kept.len())].clone()];
            mutate(&mut dice, &mut lines, &all.concat());
            lines.iter().for_each(|line| read(line));
        }
    }
}
