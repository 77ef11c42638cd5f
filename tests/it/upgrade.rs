//! Rolling upgrades: a version before this one and this one beside each other on one database. `make upgrade BASE=REVISION`
//! builds the one before.

use crate::modes::submit_ten;
use crate::support::{World, check_history, until};

/// The program of the version before.
#[expect(clippy::disallowed_methods, reason = "the other program is named by its maker")]
fn before() -> String {
    std::env::var("BASE_PROGRAM").expect("BASE_PROGRAM, which make upgrade sets")
}

/// Agents that the version before has started, behind its shims, with its streams.
#[test]
#[ignore = "needs the version before: make upgrade BASE=REVISION"]
fn agents_go_on_when_the_next_version_takes_their_place() {
    let mut world = World::new();
    world.program = before();
    crate::handover::next_server_goes_on(world, crate::support::PROGRAM);
}

#[test]
#[ignore = "needs the version before: make upgrade BASE=REVISION"]
fn two_versions_work_beside_each_other_and_the_older_one_leaves() {
    two_versions(World::on_postgres());
}

/// On a file they count tasks in different ways: by triggers, and with each transaction.
#[test]
#[ignore = "needs the version before: make upgrade BASE=REVISION"]
fn two_versions_work_beside_each_other_on_a_file() {
    two_versions(World::new());
}

fn two_versions(mut world: World) {
    world.program = before();
    let (old_server, old_worker) = (world.serve("standalone", &[]), world.worker(&[("WORKER_ID", "old")]));
    let mut ids = submit_ten(&world, &old_server, 0);
    // It brings the schema up to date under the feet of the older ones.
    world.program = crate::support::PROGRAM.to_owned();
    let server = world.serve("standalone", &[]);
    let worker = world.worker(&[("WORKER_ID", "new")]);
    ids.extend(submit_ten(&world, &old_server, 10));
    ids.extend(submit_ten(&world, &server, 20));
    for (number, id) in ids.iter().enumerate() {
        let (one, other) = (old_server.wait_end(id), server.task(id));
        assert_eq!((&one["status"], &one["attempt"]), (&"completed".into(), &1.into()), "{one:#}");
        assert_eq!((&other["status"], &other["workerId"]), (&one["status"], &one["workerId"]));
        assert_eq!(world.model.begun(&format!("task-{number}-")), 1, "conversations of task {number}");
    }
    let by: std::collections::BTreeSet<_> =
        ids[10..].iter().map(|id| server.task(id)["workerId"].to_string()).collect();
    assert_eq!(by.len(), 2, "both had their share");
    // The older ones go, with what they have in hand given back.
    drop((old_server, old_worker));
    let id = server.submit(crate::support::task(&world.ws(), "after", &["say ok"]));
    assert_eq!(server.wait_end(&id)["workerId"], "new");
    let counted = server.get("/api/queue/stats");
    assert_eq!((&counted["completed"], &counted["pending"], &counted["running"]), (&31.into(), &0.into(), &0.into()));
    until("the older worker to be forgotten", || (server.get("/api/workers")["workerCount"] == 1).then_some(()));
    drop(worker);
    check_history(&world, &["--settled"]);
}
