//! What breaks, and what comes of it.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{LIMIT, Server, World, command_line, poll, running, signal, task, until};

/// Submits a task that sleeps in Bash, in the background too, and waits until it does. Returns
/// its id. `mark` is a number of seconds that no other test uses.
fn sleeping(world: &World, server: &Server, mark: &str) -> String {
    let bash = format!("bash setsid sleep {mark} & sleep {mark}");
    let id = server.submit(task(&world.ws(), "sleeper", &[&bash, "say slept"]));
    server.wait_tool(&id);
    until("the sleep to begin", || (sleeps(mark).len() >= 2).then_some(()));
    id
}

/// The processes that sleep, and not the shells that have the word in their command line.
fn sleeps(mark: &str) -> Vec<u32> {
    let asleep = format!("sleep {mark}");
    running(&asleep).into_iter().filter(|pid| command_line(*pid) == asleep).collect()
}

pub fn gone(mark: &str) {
    until("the processes to be gone", || sleeps(mark).is_empty().then_some(()));
}

/// A task whose Bash call sleeps for ever in its first attempt, and ends at once in the next.
pub fn once_asleep(world: &World, server: &Server, mark: &str) -> String {
    let flag = world.ws().join(format!("flag-{mark}"));
    let bash = format!(
        "bash if [ -e {0} ]; then echo again; else touch {0}; setsid sleep {mark} & sleep {mark}; fi",
        flag.display()
    );
    let id = server.submit(task(&world.ws(), "once", &[&bash, "say done"]));
    until("the sleep to begin", || (sleeps(mark).len() >= 2).then_some(()));
    id
}

pub fn completes_at_its_second_attempt(server: &Server, id: &str) -> Value {
    let done = server.wait_end(id);
    assert_eq!(done["status"], "completed", "{done:#}");
    assert_eq!(done["attempt"], 2);
    done
}

#[test]
fn a_killed_worker_is_replaced_and_its_task_runs_again() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "2")]);
    let id = once_asleep(&world, &server, "98701");
    let session = server.task(&id)["sdkSessionId"].clone();
    let name = server.task(&id)["workerId"].as_str().expect("a worker").to_owned();
    signal(server.worker_pid(&name), "KILL");
    let done = completes_at_its_second_attempt(&server, &id);
    assert_eq!(done["sdkSessionId"], session, "the conversation goes on");
    let outcomes: Vec<_> = done["attempts"].as_array().expect("attempts").iter().map(|each| &each["outcome"]).collect();
    assert_eq!(outcomes, ["crashed", "completed"]);
    gone("98701");
    until("the worker to be back", || (server.get("/health")["status"] == "healthy").then_some(()));
    assert_eq!(server.get(&format!("/api/workers/{name}"))["restartCount"], 1);
}

#[test]
fn a_frozen_worker_is_replaced_and_its_task_runs_again() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_HEARTBEAT_TIMEOUT_MS", "2000")]);
    let id = once_asleep(&world, &server, "98702");
    let frozen = server.worker_pid("worker-0");
    signal(frozen, "STOP");
    completes_at_its_second_attempt(&server, &id);
    gone("98702");
    assert_ne!(server.worker_pid("worker-0"), frozen);
}

#[test]
fn a_killed_standalone_worker_leaves_its_task_to_another() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let one = world.worker(&[("WORKER_ID", "one")]);
    let id = once_asleep(&world, &server, "98703");
    let _two = world.worker(&[("WORKER_ID", "two")]);
    one.signal("KILL");
    let done = completes_at_its_second_attempt(&server, &id);
    assert_eq!(done["workerId"], "two");
    gone("98703");
}

#[test]
fn a_crash_of_the_api_leaves_managed_workers_at_work_and_the_next_one_finds_them() {
    let world = World::new();
    let mut server = world.serve("managed", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done; echo went", go.display());
    let id = server.submit(task(&world.ws(), "long", &[&bash, "say done"]));
    server.wait_tool(&id);
    let worker = server.worker_pid("worker-0");
    server.process.signal("KILL");
    assert_eq!(server.process.wait(), -9);

    let next = world.serve("managed", &[]);
    assert_eq!(next.worker_pid("worker-0"), worker);
    std::fs::write(go, "").expect("a file");
    let done = next.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
}

#[test]
fn a_crash_of_an_inline_server_leaves_no_process_and_the_task_runs_again() {
    let world = World::new();
    let one = [("QUEUE_CONCURRENCY", "1")];
    let mut server = world.serve("inline", &one);
    let id = once_asleep(&world, &server, "98704");
    let behind = server.submit(task(&world.ws(), "behind", &["say later"]));
    server.process.signal("KILL");
    assert_eq!(server.process.wait(), -9);
    gone("98704");
    let server = world.serve("inline", &one);
    let done = completes_at_its_second_attempt(&server, &id);
    let began = |task: &Value, attempt: usize| task["attempts"][attempt]["startedAt"].as_str().map(str::to_owned);
    assert!(began(&done, 1) < began(&server.wait_end(&behind), 0), "what was interrupted goes on first");
}

/// The wall where the system allows it, and the one elsewhere.
const WALLS: [(&str, &str); 2] = [("ISOLATION", "auto"), ("ISOLATION", "subreaper")];

#[test]
fn a_killed_shim_takes_its_tree_along() {
    for (wall, mark) in WALLS.into_iter().zip(["98705", "98715"]) {
        a_killed_shim(wall, mark);
    }
}

fn a_killed_shim(wall: (&str, &str), mark: &str) {
    let world = World::new();
    let server = world.serve("inline", &[wall]);
    let id = once_asleep(&world, &server, mark);
    let shims = world.processes().into_iter().filter(|pid| command_line(*pid).contains("agent-shim"));
    let shims: Vec<u32> = shims.collect();
    assert!(!shims.is_empty(), "it runs behind a shim");
    // The one that waits for the next task as well.
    shims.into_iter().for_each(|shim| signal(shim, "KILL"));
    let done = completes_at_its_second_attempt(&server, &id);
    assert_eq!(done["crashes"], 0, "an attempt that ended by itself makes up for it");
    gone(mark);
}

#[test]
fn a_task_that_ends_well_leaves_no_daemon_behind() {
    let world = World::new();
    for (wall, mark) in WALLS.into_iter().zip(["98706", "98716"]) {
        let server = world.serve("inline", &[wall]);
        let daemons = format!(
            "bash setsid sleep {mark} > /dev/null 2>&1 & env -i setsid sleep {mark} > /dev/null 2>&1 & echo on"
        );
        let id = server.submit(task(&world.ws(), "daemon", &[&daemons, "say done"]));
        assert_eq!(server.wait_end(&id)["status"], "completed");
        assert_eq!(sleeps(mark), Vec::<u32>::new(), "{wall:?}");
    }
}

#[test]
fn without_a_namespace_the_tree_ends_all_the_same() {
    let world = World::new();
    let wall = ("ISOLATION", "subreaper");
    let server = world.serve("managed", &[wall, ("WORKER_HEARTBEAT_TIMEOUT_MS", "2000")]);
    is_cancelled_at_once(&world, &server, "98717");
    for (signal_name, mark) in [("KILL", "98718"), ("STOP", "98719")] {
        let id = once_asleep(&world, &server, mark);
        signal(server.worker_pid("worker-0"), signal_name);
        completes_at_its_second_attempt(&server, &id);
        gone(mark);
    }
}

#[test]
fn slow_a_worker_that_ends_too_often_is_marked_and_tried_again() {
    let world = World::new();
    let server = world.serve("managed", &[("WORKER_COUNT", "1")]);
    let worker = || server.get("/api/workers/worker-0");
    for restarts in 0..6 {
        until("the worker to run", || {
            let worker = worker();
            (worker["restartCount"] == restarts && worker["connected"] == true).then_some(())
        });
        signal(server.worker_pid("worker-0"), "KILL");
    }
    until("the mark", || (worker()["crashLooping"] == true).then_some(()));
    let (status, health) = server.http.ask("GET", "/health", None);
    assert_eq!((status, &health["status"]), (503, &json!("unhealthy")));
    assert_eq!(server.get("/api/workers")["healthy"], false);
    until("another try", || (worker()["connected"] == true).then_some(()));
}

#[test]
fn a_queue_that_panics_under_load_loses_nothing_that_it_acknowledged() {
    let world = World::new();
    let server = world.serve("standalone", &[("FAILPOINTS", "queue-command=10%5*panic;queue-commit=10%4*panic")]);
    let acknowledged: Vec<String> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|client| {
                let (server, ws) = (&server, world.ws());
                scope.spawn(move || {
                    let body = |number| task(&ws, &format!("load-{client}-{number}"), &["say ok"]);
                    let asked = (0..100).map(|number| server.http.ask("POST", "/api/tasks", Some(body(number))));
                    asked
                        .filter_map(|(status, answer)| match status {
                            202 => Some(answer["taskId"].as_str().expect("an id").to_owned()),
                            503 => {
                                assert_eq!(answer["error"]["code"], "STORE_UNAVAILABLE");
                                None
                            }
                            other => panic!("{other}: {answer}"),
                        })
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        clients.into_iter().flat_map(|client| client.join().expect("a client")).collect()
    });
    assert!(server.process.logs().contains("panicked, restarting"), "the failpoint fired");
    assert!(acknowledged.len() < 400 && acknowledged.len() > 200, "{} of 400", acknowledged.len());
    for id in &acknowledged {
        assert_eq!(server.task(id)["status"], "pending");
    }
}

#[test]
fn a_worker_actor_that_panics_goes_on_with_its_attempts() {
    let world = World::new();
    let server = world.serve("inline", &[("FAILPOINTS", "worker-hint=20%5*panic;worker-claim=30%3*panic")]);
    let ids: Vec<_> =
        (0..6).map(|n| server.submit(task(&world.ws(), &format!("task-{n}-"), &["bash echo hi", "say ok"]))).collect();
    for (number, id) in ids.iter().enumerate() {
        let done = server.wait_end(id);
        assert_eq!(done["status"], "completed", "{done:#}");
        // A claim whose answer the actor didn't live to hear goes back; nothing had started.
        let begun = done["attempts"].as_array().expect("attempts").iter().filter(|one| one["outcome"] != "released");
        assert_eq!(begun.count(), 1, "{done:#}");
        assert_eq!(world.model.begun(&format!("task-{number}-")), 1);
    }
    assert!(server.process.logs().contains("panicked, restarting"), "the failpoint fired");
}

#[test]
fn a_supervisor_that_panics_goes_on_with_its_workers() {
    let world = World::new();
    let server = world.serve("managed", &[("FAILPOINTS", "supervisor-look=20%5*panic"), ("WORKER_COUNT", "2")]);
    let workers = [server.worker_pid("worker-0"), server.worker_pid("worker-1")];
    let id = server.submit(task(&world.ws(), "goes on", &["bash sleep 3", "say ok"]));
    server.process.wait_log("panicked, restarting");
    assert_eq!(server.wait_end(&id)["status"], "completed");
    assert_eq!([server.worker_pid("worker-0"), server.worker_pid("worker-1")], workers);
    assert!(server.get("/health")["panics"].as_u64().is_some_and(|panics| panics > 0));
}

#[test]
fn a_request_that_panics_costs_itself_alone() {
    let world = World::new();
    let server = world.serve("standalone", &[("FAILPOINTS", "api-request=3*panic")]);
    for _ in 0..3 {
        let (status, answer) = server.http.ask("GET", "/api/tasks", None);
        assert_eq!((status, &answer["error"]["code"]), (500, &json!("INTERNAL")), "{answer}");
    }
    assert_eq!(server.http.ask("GET", "/api/tasks", None).0, 200);
    let health = server.get("/health");
    assert_eq!((&health["status"], &health["panics"]), (&json!("healthy"), &json!(3)), "{health:#}");
    let said = server.process.wait_log("Panicked");
    assert!(said.contains("place=") && said.contains("api-request"), "{said}");
}

#[test]
fn a_server_of_another_mode_ends_the_workers_that_nobody_manages() {
    let world = World::new();
    let mut managed =
        world.serve("managed", &[("WORKER_COUNT", "1"), ("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "300"), ("HANDOVER", "off")]);
    let id = once_asleep(&world, &managed, "98812");
    let worker = managed.worker_pid("worker-0");
    managed.process.signal("KILL");
    managed.process.wait();
    let server = world.serve("inline", &[]);
    server.process.wait_log("Ending a worker of an earlier managed server");
    until("the worker to end", || command_line(worker).is_empty().then_some(()));
    let done = server.wait_end(&id);
    assert_eq!(
        (&done["status"], &done["attempts"][0]["outcome"]),
        (&json!("completed"), &json!("released")),
        "{done:#}"
    );
    gone("98812");
}

#[test]
fn a_system_without_processes_or_threads_costs_no_attempt() {
    let world = World::new();
    let points = "no-process=12*return;no-thread=30%20*return";
    let mut server = world.serve("inline", &[("FAILPOINTS", points), ("QUEUE_CONCURRENCY", "4")]);
    let ids: Vec<_> = (0..8).map(|n| server.submit(task(&world.ws(), &format!("t{n}"), &["say ok"]))).collect();
    for id in &ids {
        let done = server.wait_end(id);
        assert_eq!((&done["status"], &done["crashes"]), (&json!("completed"), &json!(0)), "{done:#}");
        let begun = done["attempts"].as_array().expect("attempts").iter().filter(|one| one["outcome"] != "released");
        assert_eq!(begun.count(), 1, "{done:#}");
    }
    server.process.wait_log("can't start a process");
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0);
}

#[test]
fn a_credential_proxy_that_dies_is_replaced() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let waits = "bash touch begun; until [ -e go ]; do sleep 0.02; done";
    let mut body = task(&world.ws(), "asks again", &[waits, "say done"]);
    body["options"]["retry"] = json!({ "initialDelay": 1 });
    let id = server.submit(body);
    until("the command to run", || world.ws().join("begun").exists().then_some(()));
    let proxies = world.processes().into_iter().filter(|pid| command_line(*pid).contains("agent-proxy"));
    proxies.for_each(|pid| signal(pid, "KILL"));
    std::fs::write(world.ws().join("go"), "").expect("written");
    // Its next question finds nobody; the next attempt does.
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["result"]), (&json!("completed"), &json!("done")), "{done:#}");
    assert_eq!(done["attempts"][0]["outcome"], "failed", "{done:#}");
    server.process.wait_log("The credential proxy has ended; starting another one");
}

#[test]
fn an_attempt_that_panics_is_a_crash_of_its_task_alone() {
    let world = World::new();
    let server = world.serve("inline", &[("FAILPOINTS", "agent-run=3*panic"), ("QUEUE_CONCURRENCY", "1")]);
    let poisoned =
        server.wait_end(&server.submit(json!({ "instruction": "x", "options": { "retry": { "initialDelay": 1 } } })));
    assert_eq!((&poisoned["status"], &poisoned["error"]["code"]), (&json!("failed"), &json!("POISONED")));
    assert_eq!(poisoned["attempt"], 3);
    let next = server.wait_end(&server.submit(json!({ "instruction": "y" })));
    assert_eq!((&next["status"], &next["attempt"]), (&json!("completed"), &json!(1)));
}

#[test]
fn sigterm_lets_what_runs_finish_and_refuses_what_is_new() {
    let world = World::new();
    let mut server = world.serve("inline", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let id = server.submit(task(&world.ws(), "last", &[&bash, "say done"]));
    server.wait_tool(&id);
    server.process.signal("TERM");
    server.process.wait_log("[Worker] Draining");
    let (status, headers, refusal) = server.http.send(
        "POST",
        "/api/tasks",
        &[("content-type", "application/json")],
        Some(&json!({ "instruction": "late" }).to_string()),
    );
    assert_eq!((status, &refusal["error"]["code"]), (503, &json!("DRAINING")));
    assert!(headers.contains_key("retry-after"));
    let (status, health) = server.http.ask("GET", "/health", None);
    assert_eq!((status, &health["status"]), (503, &json!("draining")));
    std::fs::write(go, "").expect("a file");
    assert_eq!(server.process.wait(), 0);
    let next = world.serve("standalone", &[]);
    assert_eq!(next.task(&id)["status"], "completed");
}

/// SIGTERM with a short limit, then a new server: the task goes on, at no cost.
fn is_given_back_at_the_limit(mode: &str, mark: &str) {
    let world = World::new();
    let mut server = world.serve(mode, &[("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "300"), ("HANDOVER", "off")]);
    let id = once_asleep(&world, &server, mark);
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0);
    gone(mark);
    let next = world.serve("standalone", &[]);
    let task = next.task(&id);
    assert_eq!((&task["status"], &task["crashes"], &task["error"]), (&json!("pending"), &json!(0), &Value::Null));
    assert!(task["sdkSessionId"].is_string());
    let _worker = world.worker(&[]);
    completes_at_its_second_attempt(&next, &id);
}

#[test]
fn sigterm_gives_a_long_task_back_inline() {
    is_given_back_at_the_limit("inline", "98707");
}

#[test]
fn sigterm_gives_a_long_task_back_managed() {
    is_given_back_at_the_limit("managed", "98708");
}

#[test]
fn the_image_stops_within_the_time_of_docker_stop() {
    let image = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/Dockerfile")).expect("the Dockerfile");
    let setting = image.split("GRACEFUL_SHUTDOWN_TIMEOUT_MS=").nth(1).and_then(|rest| rest.split_whitespace().next());
    let grace = setting.expect("the grace of the image");
    // As where the server is all of a container.
    let settings = [("GRACEFUL_SHUTDOWN_TIMEOUT_MS", grace), ("HANDOVER", "off")];
    let world = World::new();
    let mut server = world.serve("managed", &settings);
    // It doesn't care for a TERM.
    let stubborn = "bash trap '' TERM INT; sleep 98811 & sleep 98811; sleep 98811";
    let id = server.submit(task(&world.ws(), "in the middle", &[stubborn, "say done"]));
    server.wait_tool(&id);
    let began = std::time::Instant::now();
    server.process.signal("TERM");
    assert_eq!(server.process.wait(), 0);
    assert!(began.elapsed() < Duration::from_secs(9), "took {:?}", began.elapsed());
    gone("98811");
    let server = world.serve("standalone", &[]);
    let task = server.task(&id);
    assert_eq!((&task["status"], &task["crashes"]), (&json!("pending"), &json!(0)), "{task:#}");
    assert!(task["sdkSessionId"].is_string(), "{task:#}");
    assert!(
        task["attempts"].as_array().is_some_and(|all| all.len() == 1 && all[0]["outcome"] == "released"),
        "{task:#}"
    );
}

#[test]
fn sigterm_to_a_standalone_worker_gives_its_task_back() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let mut worker = world.worker(&[("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "300")]);
    let id = once_asleep(&world, &server, "98709");
    worker.signal("TERM");
    assert_eq!(worker.wait(), 0);
    gone("98709");
    assert_eq!(server.task(&id)["status"], "pending");
    assert_eq!(server.get("/api/workers")["workerCount"], 0);
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let world = World::new();
    let mut server = world.serve("managed", &[]);
    let id = sleeping(&world, &server, "98710");
    server.process.signal("TERM");
    server.process.wait_log("[Worker] Draining");
    server.process.signal("TERM");
    let began = std::time::Instant::now();
    assert_eq!(server.process.wait(), 0);
    assert!(began.elapsed() < LIMIT / 4, "took {:?}", began.elapsed());
    gone("98710");
    assert_eq!(world.serve("standalone", &[]).task(&id)["status"], "pending");
}

#[test]
fn deleting_a_worker_drains_it_first() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done", go.display());
    let id = server.submit(task(&world.ws(), "drained", &[&bash, "say done"]));
    server.wait_tool(&id);
    let pid = server.worker_pid("worker-0");
    std::thread::scope(|scope| {
        let stopping = scope.spawn(|| server.http.ask("DELETE", "/api/workers/worker-0", None));
        until("the drain", || (server.get("/api/workers/worker-0")["state"] == "draining").then_some(()));
        let late = server.submit(task(&world.ws(), "late", &["say late"]));
        std::fs::write(&go, "").expect("a file");
        let (status, answer) = stopping.join().expect("an answer");
        assert_eq!((status, &answer["success"]), (200, &json!(true)));
        assert_eq!(server.task(&id)["status"], "completed");
        assert_eq!(server.task(&late)["status"], "pending", "it claims no more");
        let (status, started) = server.http.ask("POST", "/api/workers", Some(json!({ "workerId": "fresh" })));
        assert_eq!((status, &started["workerId"]), (201, &json!("fresh")));
        assert_eq!(server.wait_end(&late)["workerId"], "fresh");
    });
    assert!(running("cc-anywhere worker").iter().all(|running| *running != pid));
    assert_eq!(server.http.ask("GET", "/api/workers/worker-0", None).0, 404);
}

fn is_cancelled_at_once(world: &World, server: &Server, mark: &str) {
    let id = sleeping(world, server, mark);
    let (status, task) = server.http.ask("DELETE", &format!("/api/tasks/{id}"), None);
    assert_eq!((status, &task["status"]), (200, &json!("cancelled")));
    let limit = std::time::Duration::from_secs(5);
    poll(limit, || sleeps(mark).is_empty().then_some(())).expect("gone within 5 s");
    poll(limit, || running(&format!("--task={id}")).is_empty().then_some(())).expect("gone within 5 s");
    assert_eq!(server.wait_end(&id)["status"], "cancelled");
    let again = server.http.ask("DELETE", &format!("/api/tasks/{id}"), None);
    assert_eq!(again.0, 200, "a second cancel says the same");
}

#[test]
fn cancel_ends_the_process_tree_inline() {
    let world = World::new();
    is_cancelled_at_once(&world, &world.serve("inline", &[]), "98711");
}

#[test]
fn cancel_ends_the_process_tree_managed() {
    let world = World::new();
    is_cancelled_at_once(&world, &world.serve("managed", &[]), "98712");
}

#[test]
fn cancel_ends_the_process_tree_standalone() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let _worker = world.worker(&[]);
    is_cancelled_at_once(&world, &server, "98713");
}
