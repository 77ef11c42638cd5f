//! `make demo`: tasks in all states, without an account; and nothing is left of it.

use std::process::Command;

use crate::support::http::Client;
use crate::support::{Process, World, claude, until};

#[test]
#[expect(clippy::disallowed_methods, reason = "the demo is a program of its own")]
fn the_demo_shows_all_states_and_leaves_nothing() {
    // Its processes are looked for by their home, as those of any other test.
    let world = World::new();
    let folder = world.dir.join("demo");
    let examples = std::env::current_exe().expect("a path");
    let examples = examples.ancestors().nth(2).expect("a folder").join("examples/demo");
    let mut command = Command::new(examples);
    command.arg(&folder).env_clear();
    command.envs([("PATH", "/usr/local/bin:/usr/bin:/bin".into()), ("CLAUDE_PATH", claude().display().to_string())]);
    let mut demo = Process::start(command);
    let link = demo.wait_log("/in#").trim().to_owned();
    let url = link.split("/in#").next().expect("an address");
    let client = Client::new(url, "demo-key-of-nobody");
    until("all states", || {
        let counts = client.ask("GET", "/api/tasks", None).1["counts"].clone();
        let count = |status: &str| counts[status].as_i64().unwrap_or(0);
        let questions = client.ask("GET", "/api/questions", None).1["total"].as_i64().unwrap_or(0);
        let is_full = count("completed") >= 2 && count("failed") >= 1 && count("running") >= 2 && count("pending") >= 4;
        (is_full && questions == 2).then_some(())
    });
    let parked = client.ask("GET", "/health", None).1["parked"].clone();
    assert!(parked.to_string().contains("limit"), "an account waits for its limit: {parked}");
    let days = client.ask("GET", "/api/usage", None).1["days"].as_array().map_or(0, Vec::len);
    assert!(days >= 26, "two weeks of usage: {days}");
    demo.signal("TERM");
    demo.wait();
    assert!(!folder.exists(), "its folder is gone");
    assert!(world.processes().is_empty(), "and its processes");
}
