//! Work that counts only when it was checked.

use serde_json::{Value, json};

use crate::isolation::repository;
use crate::support::{Process, Server, World, check_history, command_line, signal, task, until};

/// A command that passes once the model has mended its work, and tells the scripted model how.
const UNTIL_MENDED: &str = "test -e mended || { echo step bash touch mended; echo step say mended it; exit 3; }";
/// A command that notes its begin, and passes once there is a file `go`.
const UNTIL_GO: &str = "echo begun >>begun; until [ -e go ]; do sleep 0.02; done";

fn checked(world: &World, steps: &[&str], verify: Value) -> Value {
    let mut body = task(&world.ws(), "checked", steps);
    body["verify"] = verify;
    body
}

fn run(server: &Server, body: Value) -> Value {
    server.wait_end(&server.submit(body))
}

fn rounds(ended: &Value) -> &Vec<Value> {
    ended["verification"]["rounds"].as_array().expect("rounds")
}

fn is_failed_so(ended: &Value, says: &str) {
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("failed"), &json!("NOT_VERIFIED")), "{ended:#}");
    assert_eq!(ended["verification"]["passed"], false);
    let message = ended["error"]["message"].as_str().expect("words");
    assert!(message.contains(says), "{message}");
}

fn what_fails_goes_back_to_the_session(world: &World) {
    let server = world.serve("managed", &[]);
    let ended = run(&server, checked(world, &["say done"], json!({ "command": UNTIL_MENDED })));
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("mended it")), "{ended:#}");
    assert_eq!((&ended["verification"]["passed"], rounds(&ended).len()), (&json!(true), 2), "{ended:#}");
    let [first, second] = &rounds(&ended)[..] else { panic!("{ended:#}") };
    assert_eq!((&first["exitCode"], &second["exitCode"]), (&json!(3), &json!(0)));
    let failure = first["failures"][0].as_str().expect("words");
    assert!(failure.starts_with("`test -e mended") && failure.ends_with("` exited with 3"), "{failure}");
    assert!(first["output"].as_str().expect("output").contains("step say mended it"), "{first}");
    assert_eq!(second["failures"], json!([]));
    let cost = |round: &Value| round["costUsd"].as_f64().expect("a cost");
    assert!(cost(first) > 0.0 && cost(second) > cost(first), "{ended:#}");
    // In the same session, and in one attempt.
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1));
    let last = world.model.calls().pop().expect("a call");
    assert_eq!(last.body["messages"].to_string().matches("Your work was checked").count(), 1);
    let id = ended["taskId"].as_str().expect("an id");
    let logs = server.get(&format!("/api/tasks/{id}/logs")).to_string();
    assert!(logs.contains("the work was checked (2.): it has passed"), "{logs}");
    let proof = server.get(&format!("/api/proof/{id}"));
    assert!(proof.to_string().contains("its work was checked"), "{proof:#}");
    assert!(server.get("/api/tasks")["tasks"][0]["verification"].is_null(), "lists do without");
    check_history(world, &["--settled"]);
}

#[test]
fn what_fails_goes_back() {
    what_fails_goes_back_to_the_session(&World::new());
}

#[test]
fn the_same_on_postgres() {
    what_fails_goes_back_to_the_session(&World::on_postgres());
}

#[test]
fn what_never_passes_is_failed_and_says_what_was_tried() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let verify = json!({ "command": "echo it is wrong; echo and why >&2; exit 1", "maxRounds": 1 });
    let ended = run(&server, checked(&world, &["say done"], verify));
    is_failed_so(&ended, "exited with 1. It was checked 2 times. What helps: see `verification`");
    assert_eq!(rounds(&ended).len(), 2);
    assert_eq!(rounds(&ended)[1]["output"], "it is wrong\nand why");
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(1), "it is not tried again by itself");
    assert!(ended["costUsd"].as_f64().expect("a cost") > 0.0);
    let never = run(&server, checked(&world, &["say done"], json!({ "command": "false", "maxRounds": 0 })));
    is_failed_so(&never, "`false` exited with 1. It was checked 1 times");
    // A turn that failed is not checked.
    let body = checked(&world, &["error 400 no"], json!({ "command": "touch checked" }));
    assert_eq!(run(&server, body)["error"]["code"], "API_REFUSED");
    assert!(!world.ws().join("checked").exists());
    check_history(&world, &["--settled"]);
}

#[test]
fn a_command_that_takes_too_long_is_ended_with_all_that_it_started() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let verify = json!({ "command": "sleep 987 & sleep 987", "timeout": 300, "maxRounds": 0 });
    let ended = run(&server, checked(&world, &["say done"], verify));
    is_failed_so(&ended, "took longer than 300 ms (verify.timeout)");
    let verify = json!({ "command": "sleep 987 & true" });
    assert_eq!(run(&server, checked(&world, &["say done"], verify))["status"], "completed");
    assert_eq!(world.processes_with("987"), [0; 0]);
}

#[test]
fn the_command_has_the_walls_and_the_secrets_of_the_task_and_no_way_to_the_api() {
    let world = World::new();
    let server = world.serve("inline", &[("SECRETS_KEY_FILE", &world.key_of_secrets())]);
    let secret = json!({ "value": "a-secret-of-the-task" });
    assert_eq!(server.http.ask("PUT", "/api/secrets/token", Some(secret)).0, 201);
    let outside = world.dir.join("outside");
    let command = format!(
        "env; pwd; echo ${{#TOKEN}} bytes; echo x >inside; if echo x >{0} 2>/dev/null; then echo ESCAPED; fi; exit 1",
        outside.display()
    );
    let mut body = checked(&world, &["say done"], json!({ "command": command, "maxRounds": 0 }));
    body["secrets"] = json!([{ "name": "token", "env": "TOKEN" }]);
    let ended = run(&server, body);
    is_failed_so(&ended, "exited with 1");
    let output = rounds(&ended)[0]["output"].as_str().expect("output");
    assert!(output.contains(&world.ws().display().to_string()) && world.ws().join("inside").exists(), "{output}");
    for name in ["ANTHROPIC_", "CLAUDE_CODE_", "sk-attempt-"] {
        assert!(!output.contains(name), "{output}");
    }
    assert!(output.contains("20 bytes") && !ended.to_string().contains("a-secret-of-the-task"), "{output}");
    assert!(!output.contains("ESCAPED") && !outside.exists(), "{output}");
}

#[test]
fn what_was_changed_is_held_against_lines_and_paths() {
    let world = World::new();
    let folder = repository(&world);
    let server = world.serve("inline", &[]);
    let of = |steps: &[&str], verify: Value| {
        let mut body = checked(&world, steps, verify);
        body["context"]["workingDirectory"] = json!(folder);
        body["options"]["useWorktree"] = json!(true);
        run(&server, body)
    };
    let many = "bash seq 20 >README; mkdir -p src; echo x >src/new.txt; git add src; echo y >b.txt";
    let verify = json!({ "maxDiffLines": 10, "paths": ["src/**", "README"], "maxRounds": 0 });
    let ended = of(&[many, "say done"], verify.clone());
    // 1 removed and 20 added, one more in each new file.
    is_failed_so(
        &ended,
        "23 lines were added and removed, and at most 10 may be; b.txt changed, and only src/**, README may",
    );
    let ended = of(&["bash mkdir -p src; echo x >src/new.txt", "say done"], verify);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    // What the command leaves is not the task's change.
    let verify = json!({ "paths": ["src/**"], "command": "touch left-by-the-check; ls; test -e src/new.txt" });
    let ended = of(&["bash mkdir -p src; echo x >src/new.txt", "say done"], verify);
    assert_eq!(ended["status"], "completed", "{ended:#}");
}

#[test]
fn the_result_is_held_against_a_schema() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let schema = json!({ "type": "object", "required": ["ok"], "properties": { "ok": { "const": true } } });
    let of = |steps: &[&str], rounds: i64| {
        run(&server, checked(&world, steps, json!({ "schema": schema, "maxRounds": rounds })))
    };
    assert_eq!(of(&["say {\"ok\": true}"], 0)["status"], "completed");
    is_failed_so(&of(&["say all is well"], 0), "the result must be JSON alone");
    is_failed_so(&of(&["say {\"ok\": 5}"], 1), "/ok of the result is not as the schema wants it");
    let calls = world.model.calls();
    let told = calls.iter().any(|call| call.body["messages"].to_string().contains("/ok of the result"));
    assert!(told, "the model is told what is wrong");
}

/// A task whose check runs, and does not end.
fn in_check(world: &World, server: &Server) -> String {
    let id = server.submit(checked(world, &["say done"], json!({ "command": UNTIL_GO })));
    until("the check to begin", || begins(world).ge(&1).then_some(()));
    id
}

/// Number of checks that were begun.
fn begins(world: &World) -> usize {
    std::fs::read_to_string(world.ws().join("begun")).unwrap_or_default().lines().count()
}

fn go(world: &World) {
    std::fs::write(world.ws().join("go"), "").expect("written");
}

#[test]
fn a_check_ends_with_its_task() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = in_check(&world, &server);
    assert_eq!(server.task(&id)["status"], "running", "what is not checked is not done");
    let (status, answer) = server.http.ask("DELETE", &format!("/api/tasks/{id}"), None);
    assert_eq!(status, 200, "{answer}");
    until("its processes to end", || world.processes_with("begun").is_empty().then_some(()));
    assert_eq!(server.task(&id)["status"], "cancelled");

    // An interrupt ends the check; a message says how to go on, and its work is checked again.
    std::fs::remove_file(world.ws().join("begun")).expect("a file");
    let id = in_check(&world, &server);
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{id}/interrupt"), None);
    assert_eq!(status, 202, "{answer}");
    until("its processes to end", || world.processes_with("begun").is_empty().then_some(()));
    go(&world);
    let body = json!({ "text": "Once more.\nstep say once more" });
    let (status, answer) = server.http.ask("POST", &format!("/api/tasks/{id}/messages"), Some(body));
    assert_eq!(status, 202, "{answer}");
    let ended = server.wait_end(&id);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("once more")), "{ended:#}");
    assert_eq!(begins(&world), 2);

    // A message meanwhile: its turn comes behind the check, and is checked too.
    for name in ["begun", "go"] {
        std::fs::remove_file(world.ws().join(name)).expect("a file");
    }
    let id = in_check(&world, &server);
    let body = json!({ "text": "And this.\nstep say this too" });
    server.http.ask("POST", &format!("/api/tasks/{id}/messages"), Some(body));
    server.follow(&id, |event| event["kind"] == "message").expect("the message");
    go(&world);
    let ended = server.wait_end(&id);
    assert_eq!((&ended["status"], &ended["result"]), (&json!("completed"), &json!("this too")), "{ended:#}");
    check_history(&world, &["--settled"]);
}

/// A task in its check, with a worker of its own.
fn on_a_worker(world: &World) -> (Server, Process, String) {
    let server = world.serve("standalone", &[]);
    let worker = world.worker(&[("HANDOVER", "on")]);
    let id = in_check(world, &server);
    (server, worker, id)
}

fn completes(world: &World, server: &Server, id: &str, attempts: usize) {
    go(world);
    let ended = server.wait_end(id);
    assert_eq!((&ended["status"], &ended["verification"]["passed"]), (&json!("completed"), &json!(true)), "{ended:#}");
    assert_eq!(ended["attempts"].as_array().map(Vec::len), Some(attempts), "{ended:#}");
    check_history(world, &["--settled"]);
}

#[test]
fn a_check_begins_anew_with_the_next_worker() {
    let world = World::new();
    let (server, mut worker, id) = on_a_worker(&world);
    worker.signal("TERM");
    assert_eq!(worker.wait(), 0, "{}", worker.logs());
    assert_eq!(world.processes_with("begun"), [0; 0], "the check is not left behind");
    let next = world.worker(&[("HANDOVER", "on")]);
    next.wait_log("Took over an attempt as it runs");
    until("the check to begin anew", || (begins(&world) == 2).then_some(()));
    completes(&world, &server, &id, 1);
}

#[test]
fn a_worker_that_dies_in_a_check_leaves_nothing_behind() {
    let world = World::new();
    let (server, mut worker, id) = on_a_worker(&world);
    worker.signal("KILL");
    worker.wait();
    until("the check to end", || world.processes_with("begun").is_empty().then_some(()));
    let _next = world.worker(&[]);
    until("the check to begin anew", || (begins(&world) == 2).then_some(()));
    completes(&world, &server, &id, 2);
}

fn parent_of(pid: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent");
    line.trim().parse().expect("a number")
}

#[test]
fn a_cli_or_a_shim_that_dies_in_a_check_is_no_success() {
    let world = World::new();
    let (server, _worker, id) = on_a_worker(&world);
    for pid in world.processes_with("--output-format=stream-json") {
        signal(pid, "KILL");
    }
    until("the check to begin anew", || (begins(&world) == 2).then_some(()));
    let crashed = server.task(&id)["attempts"][0].clone();
    assert_eq!(
        (&crashed["outcome"], &crashed["error"]["code"]),
        (&json!("crashed"), &json!("CLI_CRASHED")),
        "{crashed}"
    );
    // The shim of the check: what it guards ends with it, and the check has not passed.
    let shell = world.processes_with("begun").into_iter().find(|pid| command_line(*pid).starts_with("/bin/sh"));
    signal(parent_of(shell.expect("a shell")), "KILL");
    until("the check to begin anew", || (begins(&world) == 3).then_some(()));
    completes(&world, &server, &id, 2);
}

#[test]
fn a_command_is_as_much_as_allowing_bash() {
    let world = World::new();
    let server = world.serve("standalone", &[("MAX_PERMISSION_MODE", "acceptEdits")]);
    let asked = |verify: Value| {
        let mut body = json!({ "instruction": "x", "verify": verify });
        body["context"] = json!({ "workingDirectory": world.ws() });
        server.http.ask("POST", "/api/tasks", Some(body))
    };
    let (status, answer) = asked(json!({ "command": "true" }));
    assert_eq!((status, &answer["error"]["code"]), (403, &json!("PERMISSION_CEILING")), "{answer}");
    assert_eq!(asked(json!({ "schema": {} })).0, 202);
}

#[test]
fn the_command_line_asks_for_checks_and_shows_them() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let port = server.http.url.rsplit(':').next().expect("a port");
    let client = |args: &[&str]| {
        let output = world.command(args[0], &[("PORT", port)]).args(&args[1..]).output();
        let output = output.expect("an answer");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    let (_, code) = client(&["submit", "x\nstep say done", "--verify", "true", "--wait"]);
    assert_eq!(code, Some(0));
    let file = world.dir.join("check.json");
    std::fs::write(&file, "{\"command\": \"exit 4\", \"maxRounds\": 0}").expect("a file");
    let (_, code) = client(&["submit", "y\nstep say done", "--verify", &format!("@{}", file.display()), "--wait"]);
    assert_ne!(code, Some(0));
    let id = server.get("/api/tasks")["tasks"][0]["taskId"].as_str().expect("an id").to_owned();
    let (shown, _) = client(&["show", &id]);
    assert!(shown.contains("not passed in 1 checks: `exit 4` exited with 4"), "{shown}");
}

#[test]
fn a_check_that_asks_for_nothing_or_the_impossible_is_refused() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    for (verify, field) in [
        (json!({}), "verify"),
        (json!({ "command": "" }), "verify.command"),
        (json!({ "timeout": 5 }), "verify.timeout"),
        (json!({ "command": "x", "timeout": 0 }), "verify.timeout"),
        (json!({ "command": "x", "maxRounds": 21 }), "verify.maxRounds"),
        (json!({ "schema": { "type": "no type" } }), "verify.schema"),
        (json!({ "maxDiffLines": 5 }), "verify.maxDiffLines"),
        (json!({ "paths": ["src/**"] }), "verify.paths"),
        (json!({ "command": "x", "commands": "y" }), "verify.commands"),
    ] {
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(checked(&world, &["say x"], verify)));
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
}
