//! Running attempts go on while their worker is replaced.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::barriers::is_stopped;
use crate::support::{Process, Server, World, check_history, signal, task, until};

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
        let (case, worker) = Self::submit(more, |world| task(&world.ws(), "handed-over", &WAITS));
        until("the command to run", || case.world.ws().join("begun").exists().then_some(()));
        (case, worker)
    }

    fn submit(more: &[(&str, &str)], body: impl Fn(&World) -> Value) -> (Self, Process) {
        let world = World::new();
        let server = world.serve("standalone", &[]);
        let worker = world.worker(&[&SETTINGS, more].concat());
        let id = server.submit(body(&world));
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

#[test]
fn an_answer_that_is_on_its_way_is_not_paid_twice() {
    let words = "one two three four five six seven eight nine ten ".repeat(6);
    let (case, mut first) = Case::submit(&[], |world| task(&world.ws(), "streams", &[&format!("slow {words}")]));
    until("the model to be asked", || (case.world.model.begun("streams") == 1).then_some(()));
    assert_eq!(case.server.task(&case.id)["status"], "running");
    let took = stop(&mut first);
    assert!(took < SOON, "{took:?}\n{}", first.logs());
    let _second = case.worker();
    let ended = case.server.wait_end(&case.id);
    assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
    assert_eq!(ended["result"].as_str().map(str::trim), Some(words.trim()));
    assert_eq!(case.world.model.calls().len(), 1, "nothing was asked again");
    assert!(ended["costUsd"].as_f64().is_some_and(|cost| cost > 0.0), "{ended:#}");
}

#[test]
fn the_workers_of_the_next_server_go_on() {
    next_server_goes_on(World::new(), crate::support::PROGRAM);
}

/// What runs when a server is stopped goes on with the next one, which is this program.
pub fn next_server_goes_on(mut world: World, next: &str) {
    let settings = [("WORKER_COUNT", "2"), ("API_KEY", "a-key-of-sixteen-characters")];
    let mut server = world.serve("managed", &settings);
    let ids: Vec<String> = (0..3)
        .map(|n| {
            let folder = world.ws().join(format!("folder-{n}"));
            std::fs::create_dir(&folder).expect("a folder");
            server.submit(task(&folder, &format!("managed-{n}"), &WAITS))
        })
        .collect();
    let folder = world.ws();
    let begun = |n: usize| folder.join(format!("folder-{n}/begun"));
    until("the commands to run", || (0..3).all(|n| begun(n).exists()).then_some(()));
    let since = Instant::now();
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0, "{}", server.process.logs());
    assert!(since.elapsed() < SOON, "{:?}\n{}", since.elapsed(), server.process.logs());
    world.program = next.to_owned();
    let server = world.serve("managed", &settings);
    // Without its worker: another one of this server has it.
    let of = |id: &str| server.task(id)["workerId"].as_str().map(str::to_owned);
    until("the attempts to be taken over", || {
        let logs = server.process.logs();
        (logs.matches("Took over an attempt as it runs").count() == 3).then_some(())
    });
    let worker = of(&ids[0]).expect("a worker");
    let (status, answer) = server.http.ask("DELETE", &format!("/api/workers/{worker}"), None);
    assert!((200..300).contains(&status), "{answer}");
    until("another worker", || of(&ids[0]).filter(|other| *other != worker));
    for (n, id) in ids.iter().enumerate() {
        std::fs::write(world.ws().join(format!("folder-{n}/go")), "").expect("written");
        let ended = server.wait_end(id);
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
        assert_eq!(std::fs::read_to_string(begun(n)).expect("a file"), "begun\n");
    }
    drop(server);
    check_history(&world, &["--settled"]);
}

/// Each worker may meet the looks, the renewals and the beats of the one before at any of their steps.
#[test]
fn slow_attempts_outlive_a_row_of_workers() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let mut worker = world.worker(&SETTINGS);
    let folder = |n: usize| world.ws().join(format!("folder-{n}"));
    let submit = |n: usize| {
        std::fs::create_dir(folder(n)).expect("a folder");
        server.submit(task(&folder(n), &format!("in-a-row-{n}-"), &WAITS))
    };
    let ids: Vec<String> = (0..4).map(submit).collect();
    until("the commands to run", || (0..4).all(|n| folder(n).join("begun").exists()).then_some(()));
    // Kept, so that a failure shows what each of them has said.
    let mut gone = Vec::new();
    for round in 0..10 {
        let mut left = match round % 2 {
            0 => std::mem::replace(&mut worker, world.worker(&SETTINGS)),
            _ => {
                stop(&mut worker);
                std::mem::replace(&mut worker, world.worker(&SETTINGS))
            }
        };
        if left.lives() {
            stop(&mut left);
        }
        gone.push(left);
        // Not always at the same step of the next one.
        if round % 3 == 0 {
            worker.wait_log("Took over an attempt as it runs");
        }
    }
    for (n, id) in ids.iter().enumerate() {
        std::fs::write(folder(n).join("go"), "").expect("written");
        let ended = server.wait_end(id);
        assert_eq!((&ended["status"], &ended["attempt"]), (&json!("completed"), &json!(1)), "{ended:#}");
        assert_eq!(std::fs::read_to_string(folder(n).join("begun")).expect("a file"), "begun\n");
        assert_eq!(world.model.begun(&format!("in-a-row-{n}-")), 1);
    }
    drop(worker);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_question_is_answered_while_nobody_has_the_attempt() {
    let (case, mut first) = Case::submit(&[], |world| {
        let mut body = task(&world.ws(), "asks", &["bash touch answered", "say done"]);
        body["options"]["sdk"] = json!({ "permissionMode": "default" });
        body
    });
    let path = format!("/api/tasks/{}/permissions", case.id);
    let question = until("a question", || case.server.get(&path)["permissions"].get(0).cloned());
    stop(&mut first);
    let answer = format!("{path}/{}", question["requestId"].as_str().expect("an id"));
    let (status, said) = case.server.http.ask("POST", &answer, Some(json!({ "behavior": "allow" })));
    assert_eq!(status, 200, "{said}");
    let _second = case.worker();
    let ended = case.end();
    assert_eq!(ended["attempt"], 1, "{ended:#}");
    assert!(case.world.ws().join("answered").exists());
}

#[test]
fn a_task_that_is_cancelled_meanwhile_is_ended_by_the_next_worker() {
    let (case, mut first) = Case::begin(&[]);
    stop(&mut first);
    let (status, _) = case.server.http.ask("DELETE", &format!("/api/tasks/{}", case.id), None);
    assert_eq!(status, 200);
    assert!(!case.world.processes_with("agent-shim").is_empty(), "its shim waits for a worker");
    let _second = case.worker();
    until("its processes to end", || {
        let left = case.world.processes_with("until [ -e go ]");
        left.is_empty().then_some(())
    });
    assert_eq!(case.server.task(&case.id)["status"], "cancelled");
}

#[test]
fn an_attempt_that_nobody_takes_is_ended_in_time_and_runs_again() {
    let (case, mut first) = Case::begin(&[("HANDOVER_TIMEOUT_MS", "1000"), ("LEASE_MS", "3000")]);
    stop(&mut first);
    until("its processes to end", || {
        (case.world.processes_with("agent-shim").is_empty() && case.world.processes_with("agent-proxy").is_empty())
            .then_some(())
    });
    let _second = case.worker();
    let ended = case.end();
    assert_eq!(ended["attempt"], 2, "{ended:#}");
}

#[test]
fn a_shim_or_an_agent_that_dies_meanwhile_costs_its_attempt_alone() {
    for victim in ["agent-shim", "until [ -e go ]", "stream-json"] {
        let (case, mut first) = Case::begin(&[]);
        stop(&mut first);
        let found = case.world.processes_with(victim);
        assert!(!found.is_empty(), "{victim}");
        found.into_iter().for_each(|pid| signal(pid, "KILL"));
        let _second = case.worker();
        case.end();
    }
}

/// A worker that freezes at a step of its leave, or of taking over, and comes back when another one has the task.
#[test]
fn slow_a_worker_that_freezes_at_a_step_of_a_handover() {
    let stop_at = |point: &str| format!("{point}=1*return(stop)->off");
    let thaw = |frozen: &mut Process| {
        frozen.signal("CONT");
        frozen.signal("TERM");
        frozen.wait();
    };
    for point in ["run-held", "hand-over-before", "hand-over-after", "run-let-go"] {
        let (case, mut first) = Case::begin(&[("FAILPOINTS", &stop_at(point)), ("LEASE_MS", "3000")]);
        first.signal("TERM");
        until("it to freeze", || is_stopped(first.pid()).then_some(()));
        let _second = case.worker();
        let ended = case.end();
        assert_eq!(ended["attempt"], 2, "{point}: {ended:#}");
        thaw(&mut first);
    }
    for point in ["adopt-before", "adopt-after", "run-adopted"] {
        let (case, mut first) = Case::begin(&[]);
        stop(&mut first);
        let settings = [("FAILPOINTS", &*stop_at(point)), ("LEASE_MS", "3000")];
        let mut second = Process::start(case.world.command("worker", &[&SETTINGS[..], &settings].concat()));
        until("it to freeze", || is_stopped(second.pid()).then_some(()));
        let _third = case.worker();
        case.end();
        thaw(&mut second);
    }
}

/// A worker that dies at a step of its leave, or of taking over.
#[test]
fn slow_a_worker_that_dies_at_a_step_of_a_handover() {
    let kill = |point: &str| format!("{point}=1*return(kill)->off");
    for point in ["run-hand-over", "run-held", "hand-over-before", "hand-over-after", "run-let-go"] {
        let (case, mut first) = Case::begin(&[("FAILPOINTS", &kill(point)), ("LEASE_MS", "3000")]);
        first.signal("TERM");
        assert_eq!(first.wait(), -9, "{point}");
        let _second = case.worker();
        let ended = case.end();
        assert_eq!(ended["attempt"], 2, "{point}: {ended:#}");
    }
    for (point, attempts) in [("adopt-before", 1), ("adopt-after", 2), ("run-adopted", 2)] {
        let (case, mut first) = Case::begin(&[]);
        stop(&mut first);
        let settings = [("FAILPOINTS", &*kill(point)), ("LEASE_MS", "3000")];
        let mut second = Process::start(case.world.command("worker", &[&SETTINGS[..], &settings].concat()));
        assert_eq!(second.wait(), -9, "{point}");
        let _third = case.worker();
        let ended = case.end();
        assert_eq!(ended["attempt"], attempts, "{point}: {ended:#}");
    }
}
