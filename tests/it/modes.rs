//! The main job, in all three modes.

use crate::support::{Server, World, task};

pub fn writes_a_file(world: &World, server: &Server) {
    let file = world.ws().join("hello.txt");
    let step = format!("write {} hello from claude", file.display());
    let id = server.submit(task(&world.ws(), "write", &[&step, "say written"]));
    let done = server.wait_end(&id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(done["result"], "written");
    assert_eq!(done["attempt"], 1);
    assert_eq!(std::fs::read_to_string(file).expect("the file"), "hello from claude");
    assert_eq!(world.model.begun("write\nstep"), 1);
}

#[test]
fn a_task_writes_a_file_inline() {
    let world = World::new();
    writes_a_file(&world, &world.serve("inline", &[]));
}

#[test]
fn a_task_writes_a_file_managed() {
    let world = World::new();
    writes_a_file(&world, &world.serve("managed", &[]));
}

#[test]
fn a_task_writes_a_file_standalone() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let _worker = world.worker(&[]);
    writes_a_file(&world, &server);
}

/// Each of these tasks must begin one conversation, be at its first attempt, and complete.
pub fn each_ran_once(world: &World, server: &Server, ids: &[String]) {
    for (number, id) in ids.iter().enumerate() {
        let done = server.wait_end(id);
        assert_eq!(done["status"], "completed", "{done:#}");
        assert_eq!(done["attempt"], 1);
        assert_eq!(world.model.begun(&format!("task-{number}-")), 1, "conversations of task {number}");
    }
}

pub fn submit_ten(world: &World, server: &Server, from: usize) -> Vec<String> {
    (from..from + 10).map(|number| server.submit(task(&world.ws(), &format!("task-{number}-"), &["say ok"]))).collect()
}

#[test]
fn twenty_tasks_over_two_managed_workers_run_once_each() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let mut ids = submit_ten(&world, &server, 0);
    ids.extend(submit_ten(&world, &server, 10));
    each_ran_once(&world, &server, &ids);
    let workers: std::collections::BTreeSet<_> = ids.iter().map(|id| server.task(id)["workerId"].to_string()).collect();
    assert_eq!(workers.len(), 2, "both workers had their share");
}

#[test]
fn twenty_tasks_over_two_standalone_workers_run_once_each() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let mut ids = submit_ten(&world, &server, 0);
    let _one = world.worker(&[("WORKER_ID", "one")]);
    let _two = world.worker(&[("WORKER_ID", "two")]);
    ids.extend(submit_ten(&world, &server, 10));
    each_ran_once(&world, &server, &ids);
    assert_eq!(server.get("/api/workers")["workerCount"], 2);
}
