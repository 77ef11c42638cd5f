//! A service with nothing to do is ready for the next task.

use std::time::{Duration, Instant};

use sea_orm::{ConnectionTrait, DbBackend, Statement};
use serde_json::json;

use crate::support::postgres::Cluster;
use crate::support::{LIMIT, World, command_line, poll, scripted_claude, signal, task, until};

/// Everything that was done, one text for each commit.
fn history(world: &World) -> Vec<String> {
    if let Some(url) = &world.database {
        let database = url.rsplit('/').next().expect("a name");
        let all = Cluster::shared().sql(database, "SELECT done FROM history ORDER BY seq");
        return all.lines().map(str::to_owned).collect();
    }
    let name = format!("sqlite:{}", world.dir.join("data/cc.db").display());
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let db = sea_orm::Database::connect(name).await.expect("the database");
        let all = Statement::from_string(DbBackend::Sqlite, "SELECT done FROM history ORDER BY seq");
        let rows = db.query_all_raw(all).await.expect("the history");
        rows.iter().map(|row| row.try_get_by_index(0).expect("a text")).collect()
    })
}

#[test]
fn what_is_submitted_while_a_worker_waits_is_claimed_in_the_same_commit() {
    submit_and_claim(&World::new());
}

#[test]
fn what_is_submitted_while_a_worker_waits_is_claimed_in_the_same_commit_on_postgres() {
    submit_and_claim(&World::on_postgres());
}

fn submit_and_claim(world: &World) {
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude()), ("QUEUE_CONCURRENCY", "1")]);
    // The worker looks as soon as it has started, and then waits.
    let fused = poll(LIMIT, || {
        let id = server.submit(json!({ "instruction": "x" }));
        assert_eq!(server.wait_end(&id)["status"], "completed");
        let commits = history(world);
        let mut its = commits.iter().filter(|done| done.contains(&id));
        its.next().is_some_and(|first| first.contains("submit") && first.contains("claim")).then_some(())
    });
    assert!(fused.is_some(), "{:#?}", history(world));
    // A pause holds what is submitted behind it, also where the worker waits.
    server.http.ask("POST", "/api/queue/pause", None);
    let held = server.submit(json!({ "instruction": "x" }));
    assert_eq!(server.task(&held)["status"], "pending");
    server.http.ask("POST", "/api/queue/start", None);
    assert_eq!(server.wait_end(&held)["status"], "completed");
    crate::support::check_history(world, &[]);
}

/// A hint that follows every look, and is followed by one, would keep it busy for ever.
#[test]
fn without_work_there_are_hardly_any_commits() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let commits = || -> u64 {
        let (_, _, metrics) = server.http.send("GET", "/metrics", &[("accept", "*/*")], None);
        let line = metrics
            .as_str()
            .expect("text")
            .lines()
            .find(|line| line.starts_with("cc_anywhere_store_commit_duration_seconds_count"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).expect("a number of commits")
    };
    let next = |after: u64| until("commits", || Some(commits()).filter(|now| *now > after));
    let rests = poll(LIMIT, || {
        let (from, began) = (next(commits()), Instant::now());
        next(next(from));
        (began.elapsed() > Duration::from_secs(1)).then_some(())
    });
    assert!(rests.is_some(), "it commits all the time");
}

#[test]
fn behind_a_rest_that_is_longer_than_a_lease_a_task_has_a_whole_one() {
    let world = World::new();
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude()), ("LEASE_MS", "3000")]);
    let began = Instant::now();
    until("a long rest", || (began.elapsed() > Duration::from_secs(4)).then_some(()));
    let done = server.wait_end(&server.submit(json!({ "instruction": "x" })));
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
}

#[test]
fn a_shim_that_waits_may_die_and_costs_no_attempt() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let waiting = || {
        let shims = world.processes().into_iter().filter(|pid| command_line(*pid).contains("agent-shim"));
        Some(shims.collect::<Vec<u32>>()).filter(|shims| !shims.is_empty())
    };
    let shims = until("a shim to wait", waiting);
    shims.iter().for_each(|shim| signal(*shim, "KILL"));
    until("it to be gone", || waiting().is_none_or(|left| left.iter().all(|pid| !shims.contains(pid))).then_some(()));
    let id = server.submit(task(&world.ws(), "next", &["say done"]));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"], &done["crashes"]), (&json!("completed"), &json!(1), &json!(0)));
}
