//! The database on a server, beside those that keep their jobs there: one server for all of them, in turns.

use std::process::Stdio;
use std::time::{Duration, Instant};

use cc_anywhere::no_op::NoOp;
use serde_json::{Value, json};

use crate::load::Load;
use crate::peers::{self, Backend};
use crate::scale;
use crate::server::{PROGRAM, Peer, Server, request, scratch};
use crate::{Figures, block_on, load};

const CLIENTS: [usize; 3] = [1, 8, 64];
const ROUNDS: u32 = 3;
const TIME: Duration = Duration::from_secs(2);
const TASKS: usize = 50_000;
/// Rounds of so many: some 400,000 tasks are an hour at a hundred a second.
const HOUR_ROUNDS: usize = 8;
const HELD_ROUNDS: usize = 3;
const PATIENCE: Duration = Duration::from_secs(3);
const DISPATCHES: usize = 60;
/// Between two of them: the service is idle again.
const IDLE: Duration = Duration::from_millis(40);
const WORKERS: usize = 50;
const FINISHED: [u32; 3] = [1_000, 100_000, 1_000_000];
/// Of each of them.
const EVENTS: i64 = 10;
const CLAIMS: usize = 300;
/// Workers, and agents of each.
const FLEETS: [(usize, u32); 4] = [(10, 10), (50, 20), (100, 100), (500, 20)];
const FLEET_TIME: Duration = Duration::from_secs(20);
const THREADS: usize = 4;
/// A worker beats so often.
const BEAT: Duration = Duration::from_secs(5);

/// See the module.
pub fn postgres(figures: &mut Figures) {
    let Some(server) = Backend::postgres() else { return };
    submits(figures, &server);
    drain(figures, &server);
    dispatch(figures, &server);
    growth(figures, &server);
    drop(server);
    // On one that has nothing else to do.
    if let Some(server) = Backend::postgres() {
        beats(figures, &server);
    }
}

fn submits(figures: &mut Figures, backend: &Backend) {
    let ours = Server::start("standalone", &[("DATABASE_URL", &backend.database("ours"))]);
    let peer = |name: &'static str, kind: &str| {
        let command = peers::command(&[kind, "serve", &backend.database(&kind.replace('-', "_"))])?;
        Some((name, Peer::of(command)))
    };
    let peers: Vec<_> =
        [peer("pg-boss", "pg-boss"), peer("graphile-worker", "graphile-worker")].into_iter().flatten().collect();
    let mut sides = vec![("cc-anywhere", ours.port)];
    sides.extend(peers.iter().map(|(name, peer)| (*name, peer.port)));
    let request =
        request("POST", "/api/tasks", &json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string());
    for clients in CLIENTS {
        let mut loads: Vec<Vec<Load>> = sides.iter().map(|_| Vec::new()).collect();
        for _ in 0..ROUNDS {
            for (side, loads) in sides.iter().zip(&mut loads) {
                loads.push(block_on(load::run(side.1, &request, clients, TIME)));
            }
        }
        let rate = |loads: &[Load]| loads.iter().map(|load| load.rate).sum::<f64>() / f64::from(ROUNDS);
        let mine = rate(&loads[0]);
        for ((name, _), loads) in sides.iter().zip(&loads) {
            figures.add(&format!("PostgreSQL: submits, {clients} clients, {name}"), rate(loads), "/s");
            if *name != "cc-anywhere" {
                figures.add(&format!("  cc-anywhere over {name}, {clients} clients"), mine / rate(loads), "");
            }
        }
    }
}

fn drain(figures: &mut Figures, backend: &Backend) {
    let url = backend.database("drain");
    let drained = actix::System::new().block_on(async {
        let queue = NoOp::open(&url).await;
        queue.submit(TASKS).await;
        let began = Instant::now();
        assert_eq!(queue.drain(TASKS, PATIENCE).await, TASKS);
        began.elapsed()
    });
    let ours = TASKS as f64 / drained.as_secs_f64();
    figures.add(&format!("PostgreSQL: drain of {TASKS} no-op tasks"), ours, "/s");
    for (name, kind, role) in [
        ("graphile-worker, local queue", "graphile-worker", "drain"),
        ("graphile-worker", "graphile-worker", "each"),
        ("pg-boss", "pg-boss", "drain"),
    ] {
        let database = backend.database(&format!("{}_{role}", kind.replace('-', "_")));
        let Some(mut command) = peers::command(&[kind, role, &database, &TASKS.to_string()]) else { continue };
        let output = command.stdout(Stdio::piped()).output().expect("the peer");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let ms: f64 = text.trim().lines().last().and_then(|ms| ms.parse().ok()).expect("a time");
        let theirs = TASKS as f64 / ms * 1_000.0;
        figures.add(&format!("PostgreSQL: drain of {TASKS} no-op tasks, {name}"), theirs, "/s");
        figures.add(&format!("  cc-anywhere over {name}"), ours / theirs, "");
    }
}

/// Processes that claim and finish tasks which do nothing.
pub fn executors(figures: &mut Figures) {
    let Some(server) = Backend::postgres() else { return };
    for processes in [1, 4, 8] {
        let url = server.database(&format!("executors_{processes}"));
        let rate = actix::System::new().block_on(scale::executors(&url, processes, scale::TASKS));
        figures.add(&format!("PostgreSQL: no-op tasks by {processes} processes"), rate, "/s");
    }
}

/// From the commit of a task to its claim by another process, both by the server's clock.
fn dispatch(figures: &mut Figures, backend: &Backend) {
    let (url, dir) = (backend.database("dispatch"), scratch());
    let stand_in = std::env::current_exe().expect("ourselves").display().to_string();
    let server = Server::start("standalone", &[("DATABASE_URL", &url)]);
    let mut worker = std::process::Command::new(PROGRAM);
    worker.arg("worker").current_dir(&dir).env_clear().env("HOME", dir.join("home")).env("PATH", "/usr/bin:/bin");
    worker.envs([("DATABASE_URL", &*url), ("CLAUDE_PATH", &stand_in), ("ANTHROPIC_API_KEY", "none")]);
    let mut worker = worker.stdout(Stdio::null()).spawn().expect("a worker");
    while server.ask("GET", "/api/workers", None)["workerCount"] != 1 {
        std::thread::sleep(IDLE);
    }
    let mut times: Vec<f64> = (0..DISPATCHES)
        .map(|_| {
            std::thread::sleep(IDLE);
            let task =
                server.ask("POST", "/api/tasks", Some(json!({ "instruction": "x", "options": { "async": false } })));
            ms(&task["startedAt"]) - ms(&task["createdAt"])
        })
        .collect();
    times.sort_unstable_by(f64::total_cmp);
    figures.add("PostgreSQL: commit to claim by another process, p50", times[DISPATCHES / 2], "ms");
    figures.add("PostgreSQL: commit to claim by another process, p95", times[DISPATCHES * 95 / 100], "ms");
    worker.kill().expect("killed");
    worker.wait().expect("an end");
    std::fs::remove_dir_all(dir).ok();
}

/// Milliseconds within its day of a time such as `2026-01-31T08:15:00.000Z`.
fn ms(time: &Value) -> f64 {
    let text = time.as_str().expect("a time");
    let parts: Vec<f64> = text[11..text.len() - 1].split(':').map(|part| part.parse().expect("a number")).collect();
    ((parts[0] * 60.0 + parts[1]) * 60.0 + parts[2]) * 1_000.0
}

fn beats(figures: &mut Figures, backend: &Backend) {
    let url = backend.database("beats");
    let share = actix::System::new().block_on(async {
        let queue = NoOp::open(&url).await;
        let (before, began) = (backend.cpu_seconds(), Instant::now());
        for round in 0..4 {
            for worker in 0..WORKERS {
                queue.beat(worker as u128).await;
                let due = BEAT * round + BEAT * u32::try_from(worker).expect("small") / WORKERS as u32;
                tokio::time::sleep(due.saturating_sub(began.elapsed())).await;
            }
        }
        (backend.cpu_seconds() - before) / began.elapsed().as_secs_f64()
    });
    figures.add(&format!("PostgreSQL: heartbeats of {WORKERS} workers"), share * 100.0, "% of a core");
}

/// Claims, lists and pages of events, with few and with many rows.
fn growth(figures: &mut Figures, backend: &Backend) {
    let url = backend.database("growth");
    let (mut has, mut first) = (0, Vec::new());
    for rows in FINISHED {
        let server = Server::start("standalone", &[("DATABASE_URL", &url)]);
        Backend::fill(&url, has, rows);
        has = rows;
        let mut times = vec![("a claim", claim(&url))];
        let last = format!("/api/events/page?after={}&limit=100", i64::from(rows) * EVENTS / 2);
        for (what, path) in [
            ("a list of tasks", "/api/tasks?limit=50"),
            ("a page of events", &*last),
            ("the counts", "/api/queue/stats"),
        ] {
            let load = block_on(load::run(server.port, &request("GET", path, ""), 1, Duration::from_secs(1)));
            times.push((what, load.p50));
        }
        if first.is_empty() {
            first.clone_from(&times);
        }
        for ((what, p50), (_, first)) in times.iter().zip(&first) {
            figures.add(&format!("PostgreSQL: {what}, {rows} finished tasks, p50"), *p50, "ms");
            figures.add("  over one with a thousand", p50 / first, "");
        }
    }
}

fn claim(url: &str) -> f64 {
    actix::System::new().block_on(async {
        let queue = NoOp::open(url).await;
        queue.submit(CLAIMS).await;
        load::at(&queue.claim_times(CLAIMS).await, 0.5)
    })
}

/// Workers in one process, each with a store of its own, and thousands of agents: how long does an event take to be stored?
pub fn fleet(figures: &mut Figures) {
    for (workers, agents) in FLEETS {
        let Some(server) = Backend::postgres_with(&["max_connections=1700"]) else { return };
        let url = server.database("fleet");
        let (mut times, share) = actix::System::new().block_on(async {
            let threads: Vec<_> = (0..THREADS).map(|_| actix::Arbiter::new()).collect();
            let mut all = Vec::new();
            for worker in 0..workers {
                all.push(NoOp::open_on(&url, &threads[worker % THREADS].handle()).await);
            }
            all[0].submit(workers * agents as usize).await;
            let (before, began) = (server.cpu_seconds(), Instant::now());
            let times = futures_util::future::join_all(all.iter().map(|worker| worker.live(agents, FLEET_TIME))).await;
            let share = (server.cpu_seconds() - before) / began.elapsed().as_secs_f64();
            (times.concat(), share)
        });
        times.sort_unstable();
        let name = format!("PostgreSQL: {workers} workers with {agents} agents each");
        figures.add(&format!("{name}, events"), times.len() as f64 / FLEET_TIME.as_secs_f64(), "/s");
        figures.add("  an event is stored after, p50", load::at(&times, 0.5), "ms");
        figures.add("  an event is stored after, p99", load::at(&times, 0.99), "ms");
        figures.add("  the server uses", share * 100.0, "% of a core");
    }
}

/// The rows of an hour at a hundred tasks a second, claimed and finished as fast as it goes: do claims stay as fast? Then the
/// same while somebody's transaction keeps the server from cleaning up.
pub fn hour(figures: &mut Figures) {
    // The server looks once a minute what there is to clean up; here a minute passes in a second.
    let Some(backend) = Backend::postgres_with(&["autovacuum_naptime=1s"]) else { return };
    for is_held in [false, true] {
        let (rounds, suffix) = if is_held { (HELD_ROUNDS, ", with a snapshot held") } else { (HOUR_ROUNDS, "") };
        let url = backend.database(if is_held { "held" } else { "hour" });
        let first = claim(&url);
        let mut holder = is_held.then(|| {
            let sql = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM tasks LIMIT 1; SELECT pg_sleep(3600)";
            std::process::Command::new("psql").args([&*url, "-qc", sql]).stdout(Stdio::null()).spawn().expect("psql")
        });
        let rates: Vec<f64> = (0..rounds).map(|_| round(&url)).collect();
        let last = claim(&url);
        if let Some(holder) = &mut holder {
            holder.kill().expect("killed");
            holder.wait().expect("an end");
        }
        let total = rounds * TASKS;
        figures.add(&format!("PostgreSQL: the last {TASKS} of {total} no-op tasks{suffix}"), rates[rounds - 1], "/s");
        figures.add("  over the first", rates[rounds - 1] / rates[0], "");
        figures.add(&format!("PostgreSQL: a claim behind them{suffix}, p50"), last, "ms");
        figures.add("  over one before", last / first, "");
    }
}

fn round(url: &str) -> f64 {
    actix::System::new().block_on(async {
        let queue = NoOp::open(url).await;
        queue.submit(TASKS).await;
        let began = Instant::now();
        assert_eq!(queue.drain(TASKS, PATIENCE).await, TASKS);
        TASKS as f64 / began.elapsed().as_secs_f64()
    })
}
