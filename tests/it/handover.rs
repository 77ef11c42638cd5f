//! Running attempts go on while their worker is replaced.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::{Process, Server, World, check_history, task, until};

/// A worker that leaves is gone within this time; measured: 0.1 to 0.3 s.
const SOON: Duration = Duration::from_millis(1_000);

/// Steps of a task that runs a command until there is a file `go` in its folder, and then says what it has read there.
const WAITS: [&str; 2] = ["bash echo begun >>begun; until [ -e go ]; do sleep 0.02; done; echo went", "say done"];

/// Settings of workers that hand over.
const SETTINGS: [(&str, &str); 2] = [("HANDOVER", "on"), ("QUEUE_CONCURRENCY", "4")];

struct Case {
    server: Server,
    id: String,
    world: World,
}

impl Case {
    /// A task that is in the middle of a command, on a worker of its own.
    fn begin(more: &[(&str, &str)]) -> (Self, Process) {
        let world = World::new();
        let server = world.serve("standalone", &[]);
        let worker = world.worker(&[&SETTINGS, more].concat());
        let id = server.submit(task(&world.ws(), "handed-over", &WAITS));
        server.wait_tool(&id);
        until("the command to run", || world.ws().join("begun").exists().then_some(()));
        (Self { server, id, world }, worker)
    }

    fn worker(&self) -> Process {
        self.world.worker(&SETTINGS)
    }

    /// Lets the task go on, and waits for its end.
    fn end(&self) -> Value {
        std::fs::write(self.world.ws().join("go"), "").expect("written");
        let ended = self.server.wait_end(&self.id);
        assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("done")), "{ended:#}");
        ended
    }

    /// Nothing was begun twice, and no event is lost or doubled.
    fn went_on(&self) {
        let ended = self.end();
        assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "{ended:#}");
        assert_eq!(std::fs::read_to_string(self.world.ws().join("begun")).expect("a file"), "begun\n");
        assert_eq!(self.world.model.begun("handed-over"), 1, "the model was asked once for each step");
        let events = self.server.get(&format!("/api/tasks/{}/events/page?limit=200", self.id));
        let events = events["events"].as_array().expect("events");
        let calls = events.iter().filter(|event| event["kind"] == "tool_use").count();
        let results = events.iter().filter(|event| event["kind"] == "tool_result").count();
        assert_eq!((calls, results), (1, 1), "{events:#?}");
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            check_history(&self.world, &["--settled"]);
        }
    }
}

/// Stops a worker as for an upgrade. Returns the time that it took.
fn stop(worker: &mut Process) -> Duration {
    let since = Instant::now();
    worker.signal("TERM");
    assert_eq!(worker.wait(), 0, "{}", worker.logs());
    since.elapsed()
}

#[test]
fn a_running_attempt_goes_on_with_the_next_worker() {
    let (case, mut first) = Case::begin(&[]);
    let took = stop(&mut first);
    assert!(took < SOON, "{took:?}\n{}", first.logs());
    let held = case.server.task(&case.id);
    assert_eq!((&held["status"], &held["attempt"]), (&json!("running"), &json!(1)), "{held:#}");
    let mut second = case.worker();
    second.wait_log("Took over an attempt as it runs");
    // And on to a third, beside the second.
    let third = case.worker();
    stop(&mut second);
    third.wait_log("Took over an attempt as it runs");
    case.went_on();
}
