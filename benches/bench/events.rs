//! The path of an event: printed by the CLI, stored, streamed to a client, with a hundred tasks at once.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::server::{Server, request};
use crate::stand_in::{instruction, now};
use crate::{Figures, load};

const TASKS: usize = 100;
const FRAMES: u32 = 60;
/// Milliseconds between two frames of a task.
const EVERY: u64 = 100;
/// Until all of them run, in nanoseconds.
const START: i128 = 6_000_000_000;

/// See the module.
pub fn events(figures: &mut Figures) {
    let stand_in = std::env::current_exe().expect("ourselves");
    let settings = [("CLAUDE_PATH", stand_in.to_str().expect("a path")), ("QUEUE_CONCURRENCY", "100")];
    let server = Server::start("inline", &settings);
    let begin = now() + START;
    let follow = |n: usize| {
        // Each at a time of its own.
        let begin = begin + i128::from(EVERY) * 1_000_000 * n as i128 / TASKS as i128;
        let instruction = instruction(begin, FRAMES, EVERY);
        let task = server.ask("POST", "/api/tasks", Some(json!({ "instruction": instruction })));
        let path = format!("/api/tasks/{}/events", task["taskId"].as_str().expect("an id"));
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.write_all(&request("GET", &path, "")).expect("sent");
        std::thread::spawn(move || times(stream))
    };
    let followers: Vec<_> = (0..TASKS).map(follow).collect();
    let mut times: Vec<Duration> = followers.into_iter().flat_map(|one| one.join().expect("a stream")).collect();
    times.sort_unstable();
    assert_eq!(times.len(), TASKS * FRAMES as usize, "every frame came once");
    figures.add("an event from the CLI to the client, 100 tasks, p50", load::at(&times, 0.5), "ms");
    figures.add("an event from the CLI to the client, 100 tasks, p99", load::at(&times, 0.99), "ms");
}

/// How long each frame was under way.
pub fn times(stream: TcpStream) -> Vec<Duration> {
    let mut times = Vec::new();
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        let printed = line.split("t=").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<i128>().ok());
        if let Some(printed) = printed {
            times.push(Duration::from_nanos(u64::try_from(now() - printed).unwrap_or(0)));
        }
        if line == "event: result" {
            break;
        }
    }
    times
}
