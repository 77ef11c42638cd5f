//! How fast the queue is when tasks cost nothing: alone, with submits at the same time, and with a process
//! for each.

use std::process::Stdio;
use std::time::{Duration, Instant};

use cc_anywhere::no_op::{NoOp, starts_a_second};
use serde_json::json;

use crate::peers::{self, Backend};
use crate::server::{PROGRAM, Server, request, scratch, text};
use crate::{Figures, load};

const TASKS: usize = 100_000;
const WITH_PROCESSES: usize = 1_500;
/// Tasks at a time.
const CONCURRENCY: usize = 10;
const TIME: Duration = Duration::from_secs(6);
/// Nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(3);

/// See the module.
pub fn drain(figures: &mut Figures) {
    alone(figures);
    for (name, kind, backend) in [
        ("BullMQ, everysec", "bullmq", Backend::redis("everysec")),
        ("graphile-worker, local queue", "graphile-worker", Backend::postgres()),
    ] {
        let Some(backend) = backend else { continue };
        let Some(mut command) = peers::command(&[kind, "drain", &backend.address, &TASKS.to_string()]) else {
            continue;
        };
        let output = command.stdout(Stdio::piped()).output().expect("the peer");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ms: f64 = text.trim().lines().last().and_then(|ms| ms.parse().ok()).expect("a time");
        figures.add(&format!("drain of {TASKS} no-op tasks, {name}"), TASKS as f64 / ms * 1_000.0, "/s");
    }
}

/// Work from one end to the other: with submits at the same time, and with a process for each task.
pub fn whole(figures: &mut Figures) {
    with_submits(figures);
    with_processes(figures);
}

fn alone(figures: &mut Figures) {
    let dir = scratch();
    let (submits, drained) = actix::System::new().block_on(async {
        let queue = NoOp::open(&text(&dir.join("cc.db"))).await;
        let began = Instant::now();
        queue.submit(TASKS).await;
        let submits = began.elapsed();
        let began = Instant::now();
        assert_eq!(queue.drain(TASKS, PATIENCE).await, TASKS);
        (submits, began.elapsed())
    });
    figures.add("submits without HTTP, by the queue alone", TASKS as f64 / submits.as_secs_f64(), "/s");
    figures.add(&format!("drain of {TASKS} no-op tasks, the queue alone"), TASKS as f64 / drained.as_secs_f64(), "/s");
    std::fs::remove_dir_all(dir).ok();
}

/// A server that takes submits, and an executor in another process.
fn with_submits(figures: &mut Figures) {
    let server = Server::start("standalone", &[]);
    let request = request("POST", "/api/tasks", &json!({ "instruction": "x" }).to_string());
    let (done, load, took) = actix::System::new().block_on(async {
        let executor = NoOp::open(&text(&server.dir.join("data/cc-anywhere.db"))).await;
        let began = Instant::now();
        let port = server.port;
        let load = std::thread::spawn(move || crate::block_on(load::run(port, &request, 64, TIME)));
        let done = executor.drain(usize::MAX, PATIENCE).await;
        let took = began.elapsed().saturating_sub(PATIENCE);
        (done, load.join().expect("a load"), took)
    });
    figures.add("end to end, submits at the same time", load.rate, "/s");
    figures.add("end to end, no-op tasks done", done as f64 / took.as_secs_f64(), "/s");
}

fn with_processes(figures: &mut Figures) {
    let stand_in = std::env::current_exe().expect("ourselves");
    let settings = [("CLAUDE_PATH", stand_in.to_str().expect("a path")), ("QUEUE_CONCURRENCY", "10")];
    let server = Server::start("inline", &settings);
    let rate = server.rate_of_tasks(WITH_PROCESSES);
    drop(server);
    let dir = scratch();
    let most = actix::System::new().block_on(starts_a_second(PROGRAM.as_ref(), &stand_in, &dir, CONCURRENCY, TIME));
    std::fs::remove_dir_all(dir).ok();
    figures.add("tasks with a process each", rate, "/s");
    figures.add("shims and stand-ins that can be started at all", most, "/s");
    figures.add("  tasks over starts", rate / most, "");
}
