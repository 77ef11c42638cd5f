//! Memory, as PSS: idle, with many pending tasks, with many streams; of a worker. The processor's time at rest.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::json;

use crate::server::{Server, children, memory, request};
use crate::{Figures, block_on, load};

const PENDING: i64 = 100_000;
const STREAMS: usize = 500;
/// What was freed is given back by then.
const SETTLE: Duration = Duration::from_secs(2);

/// Time for which a server that has started is left alone, and then looked at.
const REST: Duration = Duration::from_secs(20);

/// Prints the part of a core that a server with nothing to do takes.
fn at_rest(figures: &mut Figures, mode: &str) {
    let server = Server::start(mode, &[]);
    std::thread::sleep(REST / 2);
    let before = server.processor_ms();
    std::thread::sleep(REST);
    let part = (server.processor_ms() - before) / REST.as_millis() as f64;
    figures.add(&format!("processor of serve at rest, {mode}"), part * 100.0, "% of a core");
}

/// See the module.
pub fn of_processes(figures: &mut Figures) {
    let server = Server::start("standalone", &[]);
    let idle = server.memory();
    figures.add("memory of serve, idle", idle, "MB");
    let submit = request("POST", "/api/tasks", &json!({ "instruction": "x" }).to_string());
    while server.ask("GET", "/api/queue/stats", None)["pending"].as_i64() < Some(PENDING) {
        block_on(load::run(server.port, &submit, 8, Duration::from_millis(500)));
    }
    std::thread::sleep(SETTLE);
    figures.add(&format!("memory of serve with {PENDING} pending tasks"), server.memory(), "MB");
    drop(server);

    let server = Server::start("standalone", &[]);
    let task = server.ask("POST", "/api/tasks", Some(json!({ "instruction": "x" })));
    let path = format!("/api/tasks/{}/events", task["taskId"].as_str().expect("an id"));
    let follow = request("GET", &path, "");
    let open = |_| {
        let mut stream = TcpStream::connect(("127.0.0.1", server.port)).expect("a connection");
        stream.write_all(&follow).expect("sent");
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).expect("an answer");
        assert_eq!(&begun, b"HTTP/1.1 200", "a stream");
        stream
    };
    let streams: Vec<TcpStream> = (0..STREAMS).map(open).collect();
    std::thread::sleep(SETTLE);
    figures.add(&format!("memory of serve with {STREAMS} streams"), server.memory(), "MB");
    drop(streams);
    drop(server);

    let server = Server::start("managed", &[]);
    server.wait_healthy();
    std::thread::sleep(SETTLE);
    let workers = server.ask("GET", "/api/workers", None);
    let pid = workers["workers"][0]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).expect("a pid");
    figures.add("memory of serve in managed mode, idle", server.memory(), "MB");
    figures.add("memory of a managed worker, idle", memory(pid), "MB");
    let mut shims = children(pid);
    for shim in shims.clone() {
        shims.extend(children(shim));
    }
    figures.add("memory of the shim that waits", shims.into_iter().map(memory).sum(), "MB");
    drop(server);
    for mode in ["inline", "managed"] {
        at_rest(figures, mode);
    }
}
