//! Many processes on one database: where is the knee?

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use cc_anywhere::no_op::NoOp;

use crate::Figures;
use crate::server::{Server, scratch, text};

const PROCESSES: [usize; 6] = [1, 2, 5, 10, 25, 50];
pub const TASKS: usize = 20_000;
/// All processes are there by then.
const PATIENCE: Duration = Duration::from_secs(8);
const WORKERS: [&str; 3] = ["2", "10", "50"];
const WITH_PROCESSES: usize = 600;

/// See the module.
pub fn scale(figures: &mut Figures) {
    for processes in PROCESSES {
        let dir = scratch();
        let db = dir.join("cc.db");
        let rate = actix::System::new().block_on(executors(&text(&db), processes, TASKS));
        figures.add(&format!("no-op tasks by {processes} processes"), rate, "/s");
        std::fs::remove_dir_all(dir).ok();
    }
    let stand_in = std::env::current_exe().expect("ourselves").display().to_string();
    for count in WORKERS {
        let server = Server::start("managed", &[("CLAUDE_PATH", &stand_in), ("WORKER_COUNT", count)]);
        server.wait_healthy();
        let rate = server.rate_of_tasks(WITH_PROCESSES);
        figures.add(&format!("tasks with a process each, {count} workers"), rate, "/s");
    }
}

/// Tasks that so many processes end in a second.
pub async fn executors(db: &str, processes: usize, tasks: usize) -> f64 {
    let queue = NoOp::open(db).await;
    queue.submit(tasks).await;
    queue.pause(true).await;
    let us = std::env::current_exe().expect("ourselves");
    let start = |_| Command::new(&us).arg("executor").arg(db).spawn().expect("an executor");
    let children: Vec<Child> = (0..processes).map(start).collect();
    queue.workers(processes).await;
    let began = Instant::now();
    queue.pause(false).await;
    while queue.completed().await < i64::try_from(tasks).expect("small") {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = tasks as f64 / began.elapsed().as_secs_f64();
    for mut child in children {
        child.kill().expect("killed");
        child.wait().expect("an end");
    }
    rate
}

/// The role of one of those processes.
pub fn executor(db: &str) {
    actix::System::new().block_on(async {
        let queue = NoOp::open(db).await;
        queue.say_that_it_is_here().await;
        queue.drain(usize::MAX, PATIENCE).await;
    });
}
