//! Settings, `doctor`, and the client's commands.

use std::process::Output;

use serde_json::json;

use crate::support::{World, task};

fn run(world: &World, role: &str, args: &[&str], settings: &[(&str, &str)]) -> Output {
    world.command(role, settings).args(args).output().expect("the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_bad_setting_ends_the_program_with_its_name_and_2() {
    let world = World::new();
    let bad = [
        ("WORKER_MODE", "turbo"),
        ("QUEUE_CONCURRENCY", "0"),
        ("QUEUE_CONCURRENCY", "many"),
        ("WORKER_COUNT", "-1"),
        ("DATABASE_URL", "mysql://x"),
        ("HOST", "example.com"),
        ("PORT", "70000"),
        ("API_KEY", "short"),
        ("AUTH", "maybe"),
        ("LOG_LEVEL", "=,="),
        ("LOG_FORMAT", "xml"),
        ("TASK_TIMEOUT_MS", "0"),
        ("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "1.5"),
        ("CLAUDE_PATH", "/no/such/claude"),
        ("WORKSPACE_ROOTS", "/no/such/folder"),
        ("TRUSTED_ROOTS", "/no/such/folder"),
        ("MAX_PENDING_TASKS", "0"),
        ("MAX_PERMISSION_MODE", "root"),
        ("WARM_STANDBY", "65"),
        ("LEASE_MS", "100"),
        ("WORKER_HEARTBEAT_TIMEOUT_MS", "x"),
        ("WAIT_TIMEOUT_MS", "-1"),
    ];
    for (name, value) in bad {
        for role in ["serve", "worker"] {
            let output = run(&world, role, &[], &[(name, value)]);
            let said = text(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{name}={value}: {said}");
            assert!(said.lines().any(|line| line.starts_with(name)), "{name}={value}: {said}");
        }
    }
    let output = run(&world, "serve", &["--queue-concurrency", "x"], &[("PORT", "x"), ("LOG_FORMAT", "x")]);
    let said = text(&output.stderr);
    for name in ["QUEUE_CONCURRENCY", "PORT", "LOG_FORMAT"] {
        assert!(said.contains(name), "all faults at once: {said}");
    }
    for (settings, name) in
        [([("HOST", "0.0.0.0"), ("AUTH", "off")], "AUTH"), ([("HOST", "0.0.0.0"), ("AUTH", "on")], "API_KEY")]
    {
        let output = run(&world, "serve", &[], &settings);
        assert_eq!(output.status.code(), Some(2));
        assert!(text(&output.stderr).starts_with(name));
    }
    std::fs::write(world.ws().join("cc-anywhere.toml"), "port = \"x\"\ncolour = 1\n").expect("a file");
    let settings = [("PORT", "")];
    let output = run(&world, "serve", &[], &settings);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("PORT") && said.contains("colour"), "{said}");
    assert!(!world.dir.join("data/cc.db").exists(), "nothing was started");
}

#[test]
fn file_environment_and_flags_lie_over_each_other() {
    let world = World::new();
    std::fs::write(world.ws().join("cc-anywhere.toml"), "queue_concurrency = 3\nlog_format = \"json\"\n")
        .expect("a file");
    let server = world.serve("standalone", &[("LOG_FORMAT", "text")]);
    assert_eq!(server.get("/api/queue/stats")["concurrency"], 3);
    drop(server);
    let server = world.serve("standalone", &[("LOG_FORMAT", "text"), ("QUEUE_CONCURRENCY", "4")]);
    assert_eq!(server.get("/api/queue/stats")["concurrency"], 4);
}

#[test]
fn doctor_says_what_is_missing_and_how_to_mend_it() {
    let world = World::new();
    let output = run(&world, "doctor", &[], &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));
    let output = run(&world, "doctor", &[], &[("CLAUDE_PATH", ""), ("ANTHROPIC_API_KEY", ""), ("PATH", "/none")]);
    let said = text(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("npm install") && said.contains("ANTHROPIC_API_KEY"), "{said}");
    std::fs::write(world.dir.join("data/cc.db"), "this is no database, but it is long enough to look at")
        .expect("a file");
    let output = run(&world, "doctor", &[], &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stdout).contains("missing  database"));
}

#[test]
fn a_submit_that_cannot_succeed_says_so_at_once() {
    let world = World::new();
    for (settings, hint) in [
        ([("CLAUDE_PATH", ""), ("PATH", "/none")], "CLAUDE_PATH"),
        ([("ANTHROPIC_API_KEY", ""), ("PATH", "/usr/bin")], "ANTHROPIC_API_KEY"),
    ] {
        let server = world.serve("inline", &settings);
        let (status, answer) = server.http.ask("POST", "/api/tasks", Some(json!({ "instruction": "x" })));
        assert_eq!((status, &answer["error"]["code"]), (503, &json!("CLAUDE_UNAVAILABLE")));
        assert!(answer["error"]["message"].as_str().expect("text").contains(hint), "{answer}");
        assert_eq!(server.get("/api/tasks")["total"], 0);
    }
}

#[test]
fn a_worker_without_the_cli_leaves_the_tasks_to_others() {
    let world = World::new();
    let server = world.serve("standalone", &[]);
    let id = server.submit(task(&world.ws(), "waits", &["say ok"]));
    let bad = world.worker(&[("WORKER_ID", "bad"), ("CLAUDE_PATH", ""), ("PATH", "/usr/bin")]);
    bad.wait_log("this worker can't run them");
    assert_eq!(server.task(&id)["attempt"], 0);
    let _good = world.worker(&[("WORKER_ID", "good")]);
    let done = server.wait_end(&id);
    assert_eq!((&done["workerId"], &done["attempt"]), (&json!("good"), &json!(1)));
}

#[test]
fn the_client_submits_watches_and_reads_the_key_by_itself() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let client = |role: &str, args: &[&str]| {
        let output = run(&world, role, args, &[("PORT", &port)]);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (code, said) = client("submit", &["hello\nstep say good day", "--wait"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("good day"), "{said}");
    let (code, said) = client("submit", &["bad\nstep error 400", "--wait"]);
    assert_eq!(code, Some(1), "{said}");
    let (code, said) = client("tasks", &[]);
    assert_eq!((code, said.lines().count()), (Some(0), 2), "{said}");
    let (code, said) = client("health", &[]);
    assert!(code == Some(0) && said.contains("healthy"), "{said}");
    let id = server.submit(task(&world.ws(), "long", &["delay 60000", "say x"]));
    let (code, said) = client("cancel", &[&id]);
    assert!(code == Some(0) && said.contains("cancelled"), "{said}");
    let (code, said) = client("show", &["nonsense"]);
    assert!(code == Some(1) && said.contains("TASK_NOT_FOUND"), "{said}");
    drop(server);
    let (code, said) = client("health", &[]);
    assert!(code == Some(1) && said.contains("can't reach"), "{said}");
}

#[test]
fn the_log_of_a_worker_is_a_contract() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let id = server.submit(task(&world.ws(), "logged", &["say ok"]));
    server.wait_end(&id);
    let line = server.process.wait_log(&format!("[Worker] Task completed taskId={id}"));
    assert!(
        line.starts_with("[Worker]") && line.contains(" instruction=\"logged") && line.contains(" duration="),
        "{line}"
    );
    let id = server.submit(task(&world.ws(), "bad", &["error 400"]));
    server.wait_end(&id);
    server.process.wait_log(&format!("[Worker] Task failed taskId={id} error=\""));
}

#[test]
fn the_client_answers_questions_and_talks() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let client = |args: &[&str]| {
        let output = run(&world, args[0], &args[1..], &[("PORT", &port)]);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let mut body = crate::support::task(&world.ws(), "asks", &["bash touch a", "bash touch b", "say done"]);
    body["options"]["sdk"] = json!({ "permissionMode": "ask" });
    let id = server.submit(body);
    let asked = |count: usize| {
        let is_asked = |event: &serde_json::Value| event["kind"] == "permission" && event["data"]["state"] == "asked";
        let events = server.http.events(&format!("/api/tasks/{id}/events"), None);
        assert_eq!(events.filter(is_asked).take(count).count(), count);
    };
    asked(1);
    assert_eq!(client(&["approve", &id]).0, Some(0));
    asked(2);
    assert_eq!(client(&["approve", &id, "--deny", "--message", "not b"]).0, Some(0));
    assert_eq!(client(&["watch", &id]).0, Some(0));
    assert!(world.ws().join("a").exists() && !world.ws().join("b").exists());
    let (code, said) = client(&["approve", &id]);
    assert!(code == Some(1) && said.contains("asks nothing that is open"), "{said}");

    let id = server.submit(crate::support::task(&world.ws(), "long", &["bash sleep 300", "say never"]));
    server.wait_tool(&id);
    assert_eq!(client(&["interrupt", &id]).0, Some(0));
    assert_eq!(client(&["say", &id, "go on\nstep say gone on"]).0, Some(0));
    let (code, said) = client(&["watch", &id]);
    assert!(code == Some(0) && said.contains("\ngone on\n"), "{said}");

    // Nobody reads on: it ends in silence.
    let mut command = world.command("tasks", &[("PORT", &port)]);
    let mut child =
        command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().expect("the client");
    drop(child.stdout.take());
    let ended = child.wait_with_output().expect("an end");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
}
