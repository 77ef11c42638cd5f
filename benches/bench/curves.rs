//! Curves: what memory and times become with more workers, streams, pending tasks and events. Each should be flat.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use cc_anywhere::no_op::NoOp;
use serde_json::json;

use crate::server::{Server, request, scratch, text};
use crate::stand_in::{instruction, now};
use crate::{Figures, block_on, events, growth, load, scale};

const WORKERS: [usize; 4] = [1, 4, 16, 64];
/// Of each of them.
const TASKS: usize = 1_000;
const STREAMS: [usize; 4] = [50, 500, 1_000, 2_000];
/// Streams of them on which times are taken.
const WATCHED: usize = 50;
const FRAMES: u32 = 30;
/// Milliseconds between two frames.
const EVERY: u64 = 100;
/// Time within which all streams are open, in nanoseconds.
const START: i128 = 8_000_000_000;
const PENDING: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];
const EVENTS: [u32; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
/// Events of a task.
const OF_A_TASK: u32 = 1_000;
const CLAIMS: usize = 200;
const TIME: Duration = Duration::from_secs(1);

/// See the module.
pub fn curves(figures: &mut Figures) {
    workers(figures);
    for streams in STREAMS {
        followers(figures, streams);
    }
    pending(figures);
    stored_events(figures);
}

fn workers(figures: &mut Figures) {
    for workers in WORKERS {
        let dir = scratch();
        let rate = actix::System::new().block_on(scale::executors(&text(&dir.join("cc.db")), workers, workers * TASKS));
        figures.add(&format!("{workers} workers, {TASKS} no-op tasks each"), rate, "/s");
        std::fs::remove_dir_all(dir).ok();
    }
}

/// Streams of one task that prints: when is each frame at its followers?
fn followers(figures: &mut Figures, streams: usize) {
    let stand_in = std::env::current_exe().expect("ourselves");
    let server = Server::start("inline", &[("CLAUDE_PATH", stand_in.to_str().expect("a path"))]);
    let begin = now() + START;
    let instruction = instruction(begin, FRAMES, EVERY);
    let task = server.ask("POST", "/api/tasks", Some(json!({ "instruction": instruction })));
    let path = format!("/api/tasks/{}/events", task["taskId"].as_str().expect("an id"));
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.write_all(&request("GET", &path, "")).expect("sent");
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).expect("an answer");
        assert_eq!(&begun, b"HTTP/1.1 200", "a stream");
        stream
    };
    let mut all: Vec<TcpStream> = (0..streams).map(open).collect();
    // What the others are sent stays in their sockets.
    let watched = all.split_off(streams - WATCHED);
    let watched: Vec<_> = watched.into_iter().map(|one| std::thread::spawn(move || events::times(one))).collect();
    // In the middle of them.
    let middle = begin + i128::from(EVERY) * i128::from(FRAMES) * 500_000;
    std::thread::sleep(Duration::from_nanos(u64::try_from(middle - now()).expect("all streams are open by then")));
    let memory = server.memory();
    let mut times: Vec<Duration> = watched.into_iter().flat_map(|one| one.join().expect("a stream")).collect();
    times.sort_unstable();
    assert_eq!(times.len(), WATCHED * FRAMES as usize, "every frame came once");
    let name = format!("{streams} streams of a task");
    figures.add(&format!("{name}, a frame at its followers, p50"), load::at(&times, 0.5), "ms");
    figures.add("  p99", load::at(&times, 0.99), "ms");
    figures.add("  memory of serve", memory, "MB");
}

fn pending(figures: &mut Figures) {
    let dir = scratch();
    let (db, mut has) = (dir.join("data/cc-anywhere.db"), 0);
    for rows in PENDING {
        let server = Server::start_in(dir.clone(), "standalone", &[]).keep();
        block_on(growth::insert(
            &db,
            &format!(
                "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {})
                INSERT INTO tasks (id, status, spec, priority, created_at, attempt, finished_attempts, crashes, max_attempts,
                    epoch, last_event)
                SELECT randomblob(16), 'pending', '{{\"instruction\":\"x\"}}', 0, i, 0, 0, 0, 3, 0, 0 FROM n",
                rows - has
            ),
        ));
        has = rows;
        let name = format!("{rows} pending tasks");
        let body = json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
        measure(
            figures,
            &server,
            &name,
            &[
                ("a submit", request("POST", "/api/tasks", &body)),
                ("a list of 50", request("GET", "/api/tasks?status=pending&limit=50", "")),
                ("the counts", request("GET", "/api/queue/stats", "")),
            ],
        );
        drop(server);
        let claims = actix::System::new().block_on(async { NoOp::open(&text(&db)).await.claim_times(CLAIMS).await });
        figures.add("  a claim with its commit, p50", load::at(&claims, 0.5), "ms");
    }
    std::fs::remove_dir_all(dir).ok();
}

fn stored_events(figures: &mut Figures) {
    let dir = scratch();
    let (db, mut has) = (dir.join("data/cc-anywhere.db"), 0);
    for rows in EVENTS {
        let server = Server::start_in(dir.clone(), "standalone", &[]).keep();
        let task = server.ask("POST", "/api/tasks", Some(json!({ "instruction": "x" })));
        let (from, data) = (has, "x".repeat(60));
        block_on(growth::insert(
            &db,
            &format!(
                "WITH RECURSIVE n (i) AS (SELECT {from} UNION ALL SELECT i + 1 FROM n WHERE i < {rows} - 1)
                INSERT INTO events (task_id, seq, at, kind, data)
                SELECT CAST(printf('%016d', i / {OF_A_TASK}) AS BLOB), i % {OF_A_TASK} + 1, i, 'log', '{{\"message\":\"{data}\"}}' FROM n"
            ),
        ));
        has = rows;
        let id = task["taskId"].as_str().expect("an id");
        let body = json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
        measure(
            figures,
            &server,
            &format!("{rows} events"),
            &[
                ("a submit", request("POST", "/api/tasks", &body)),
                (
                    "a page of 100 in the middle",
                    request("GET", &format!("/api/events/page?after={}&limit=100", rows / 2), ""),
                ),
                ("a task", request("GET", &format!("/api/tasks/{id}"), "")),
            ],
        );
    }
    std::fs::remove_dir_all(dir).ok();
}

/// Times of requests, one at a time, and the memory behind them.
fn measure(figures: &mut Figures, server: &Server, name: &str, requests: &[(&str, Vec<u8>)]) {
    for (what, request) in requests {
        let load = block_on(load::run(server.port, request, 1, TIME));
        figures.add(&format!("{name}: {what}, p50"), load.p50, "ms");
        figures.add("  p99", load.p99, "ms");
    }
    figures.add(&format!("{name}: memory of serve"), server.memory(), "MB");
}
