//! From the submit to the started CLI, when idle.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::server::{Server, scratch};
use crate::stand_in::now;
use crate::{Figures, load, peers};

const DISPATCHES: usize = 100;
/// Between two of them: the service is idle again.
const IDLE: Duration = Duration::from_millis(30);
/// A stand-in that has not started by then never will.
const LIMIT: Duration = Duration::from_secs(20);

/// See the module.
pub fn dispatch(figures: &mut Figures) {
    let stand_in = std::env::current_exe().expect("ourselves").display().to_string();
    let mut direct: Vec<Duration> = (0..DISPATCHES).map(|_| directly(&stand_in)).collect();
    let direct = percentiles(figures, "the CLI, started directly", &mut direct);
    for mode in ["inline", "managed"] {
        let server = Server::start(mode, &[("CLAUDE_PATH", &stand_in)]);
        server.wait_healthy();
        let mut times: Vec<Duration> = (0..DISPATCHES).map(|_| started_after(&server)).collect();
        let p50 = percentiles(figures, &format!("submit to started CLI, {mode}"), &mut times);
        figures.add(&format!("  added by cc-anywhere, {mode}, p50"), p50 - direct, "ms");
    }
    for (name, peer, _backend) in peers::servers("run", &stand_in) {
        let agent = ureq::agent();
        let folder = scratch();
        let mut times: Vec<Duration> = (0..DISPATCHES)
            .map(|n| {
                std::thread::sleep(IDLE);
                let folder = folder.join(n.to_string());
                let sent = now();
                let body = json!({ "instruction": "x", "folder": folder }).to_string();
                let url = format!("http://127.0.0.1:{}/api/tasks", peer.port);
                let answer = agent.post(url).header("content-type", "application/json").send(body);
                let _: Value = answer.expect("an answer").body_mut().read_json().expect("json");
                since(sent, &folder)
            })
            .collect();
        std::fs::remove_dir_all(&folder).ok();
        let p50 = percentiles(figures, &format!("submit to started CLI, {name}"), &mut times);
        figures.add(&format!("  added by {name}, p50"), p50 - direct, "ms");
    }
}

/// Time from a submit to the started CLI, when idle.
pub fn started_after(server: &Server) -> Duration {
    std::thread::sleep(IDLE);
    let sent = now();
    let body = json!({ "instruction": "x", "options": { "async": false } });
    let task = server.ask("POST", "/api/tasks", Some(body));
    since(sent, Path::new(task["workingDirectory"].as_str().expect("a folder")))
}

fn percentiles(figures: &mut Figures, name: &str, times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    let p50 = load::at(times, 0.5);
    figures.add(&format!("{name}, p50"), p50, "ms");
    figures.add(&format!("{name}, p99"), load::at(times, 0.99), "ms");
    p50
}

/// When the stand-in in this folder was started, after `sent`.
fn since(sent: i128, folder: &Path) -> Duration {
    let until = Instant::now() + LIMIT;
    loop {
        let text = std::fs::read_to_string(folder.join("started")).unwrap_or_default();
        if let Ok(started) = text.parse::<i128>() {
            return Duration::from_nanos(u64::try_from(started - sent).unwrap_or(0));
        }
        assert!(Instant::now() < until, "the CLI was not started");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn directly(stand_in: &str) -> Duration {
    let dir = scratch();
    std::thread::sleep(IDLE);
    let sent = now();
    let mut command = Command::new(stand_in);
    command.arg("-p").current_dir(&dir).stdin(Stdio::null()).stdout(Stdio::null());
    command.spawn().expect("the stand-in").wait().expect("an end");
    let time = since(sent, &dir);
    std::fs::remove_dir_all(dir).ok();
    time
}
