//! Processes that are started before their task.

#![expect(clippy::disallowed_methods, reason = "a repository is changed by git, as its owner does")]

use std::process::Command;

use serde_json::{Value, json};

use crate::support::{Server, World, command_line, running, signal, task, until};

/// The processes of this CLI that have no task yet.
fn waiting(world: &World) -> Vec<u32> {
    let ours = world.processes();
    let all: Vec<u32> = running("--input-format=stream-json").into_iter().filter(|pid| ours.contains(pid)).collect();
    all.into_iter().filter(|pid| !command_line(*pid).contains("agent-shim")).collect()
}

fn wait_ready(world: &World) -> u32 {
    until("a process to wait", || waiting(world).first().copied())
}

fn completed(server: &Server, body: Value) -> Value {
    let done = server.wait_end(&server.submit(body));
    assert_eq!(done["status"], "completed", "{done:#}");
    done
}

#[test]
fn a_task_is_given_the_process_that_waits_and_no_other() {
    let world = World::new();
    let server = world.serve("inline", &[("WARM_STANDBY", "1"), ("MAX_PERMISSION_MODE", "bypassPermissions")]);
    let cold = completed(&server, task(&world.ws(), "cold", &["say cold"]));
    assert_eq!(cold["sdkSessionId"], cold["taskId"]);
    let ready = wait_ready(&world);

    // Another option, another folder: not for them.
    let mut other = task(&world.ws(), "other", &["say other"]);
    other["options"]["sdk"]["appendSystemPrompt"] = json!("Be brief.");
    let other = completed(&server, other);
    assert_eq!(other["sdkSessionId"], other["taskId"]);
    until("the one that was wanted last to wait", || {
        (waiting(&world).first().is_some_and(|pid| *pid != ready)).then_some(())
    });

    let again = completed(&server, task(&world.ws(), "cold again", &["say cold"]));
    assert_eq!(again["sdkSessionId"], again["taskId"], "its process had made room");
    wait_ready(&world);
    let wait =
        format!("bash echo $CC_ANYWHERE_TASK > env; while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let warm = server.submit(task(&world.ws(), "warm", &[&wait, "say warm"]));
    server.wait_tool(&warm);
    server.process.wait_log("Warm start");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let warm = server.wait_end(&warm);
    assert_eq!((&warm["status"], &warm["result"]), (&json!("completed"), &json!("warm")), "{warm:#}");
    let session = warm["sdkSessionId"].as_str().expect("a session");
    assert_ne!(warm["sdkSessionId"], warm["taskId"], "its session was there before it");
    let cookie = std::fs::read_to_string(world.ws().join("env")).expect("a file");
    assert_eq!(cookie.trim(), session, "its processes are known by the session");
    // The conversation goes on like any other.
    let mut on = task(&world.ws(), "on", &["say on"]);
    on["options"]["sdk"]["continueFromTaskId"] = warm["taskId"].clone();
    assert_eq!(completed(&server, on)["sdkSessionId"], warm["sdkSessionId"]);
    let heard = world.model.calls().last().expect("a call").body["messages"].to_string();
    assert!(heard.contains("say warm"));
    crate::support::check_history(&world, &["--settled"]);
}

#[test]
fn what_has_changed_since_it_started_makes_a_process_stale() {
    let world = World::new();
    let git = |args: &[&str]| {
        let identity = ["-c", "user.name=Ann", "-c", "user.email=ann@localhost"];
        let ran = Command::new("git").current_dir(world.ws()).args(identity).args(args).output().expect("git");
        assert!(ran.status.success(), "{ran:?}");
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "-m", "first"]);
    let server = world.serve("inline", &[("WARM_STANDBY", "1")]);
    completed(&server, task(&world.ws(), "one", &["say one"]));
    let stale = wait_ready(&world);
    git(&["commit", "--quiet", "--allow-empty", "-m", "the-newest-commit"]);
    let two = completed(&server, task(&world.ws(), "two", &["say two"]));
    assert_eq!(two["sdkSessionId"], two["taskId"]);
    let call = world.model.calls().into_iter().rfind(|call| call.instruction.starts_with("two")).expect("a call");
    assert!(call.body["system"].to_string().contains("the-newest-commit"), "the model sees the folder as it is");
    until("the stale process to be gone", || (!waiting(&world).contains(&stale)).then_some(()));
}

#[test]
fn a_worker_that_dies_leaves_no_process_that_waits_and_none_that_was_warm() {
    let world = World::new();
    let server = world.serve("managed", &[("WARM_STANDBY", "2")]);
    completed(&server, task(&world.ws(), "one", &["say one"]));
    wait_ready(&world);
    let wait = format!("bash touch begun; while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let id = server.submit(task(&world.ws(), "two", &[&wait, "say two"]));
    until("the command to run", || world.ws().join("begun").exists().then_some(()));
    let before = waiting(&world);
    signal(server.worker_pid("worker-0"), "KILL");
    std::fs::write(world.ws().join("go"), "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(2)), "{done:#}");
    assert_eq!(done["sdkSessionId"], done["attempts"][0]["sdkSessionId"], "the session of the warm process goes on");
    assert!(before.iter().all(|pid| !waiting(&world).contains(pid)), "none of the dead worker's is left");
    crate::support::check_history(&world, &["--settled"]);
}
