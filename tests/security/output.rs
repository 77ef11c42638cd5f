//! Output is data: what clients, models and tools write moves no cursor, forges no line and hides nothing.

use serde_json::json;

use crate::support::http::Client;
use crate::support::{Process, Server, World, task};

/// Colour, title, clipboard, link, C1, direction, a carriage return over what stood there, and a bell.
const HOSTILE: &str = "\u{1b}[31mred\u{1b}]0;title\u{7}\u{1b}]52;c;cm0=\u{7}\u{1b}]8;;http://evil.test\u{1b}\\link\u{9b}2J\u{202e}txt.exe\rover\u{8}\u{7f}";

/// As much of it as a tag may have.
const TAG: &str = "\u{1b}[31mtag\u{202e}gat\u{9b}2J";

fn is_harmless(text: &str) -> bool {
    let acts = |c: char| {
        (c.is_control() && !"\n\t".contains(c)) || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    !text.chars().any(acts)
}

#[test]
fn a_terminal_sees_text_and_nothing_else() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let port = server.http.url.rsplit(':').next().expect("a port").to_owned();
    let mut body = task(
        &world.ws(),
        &format!("shown {HOSTILE}"),
        &[&format!("bash printf '{HOSTILE}'; false"), &format!("say {HOSTILE}")],
    );
    body["tags"] = json!([TAG]);
    let id = server.submit(body);
    let ended = server.wait_end(&id);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(ended["result"].as_str().is_some_and(|result| result.contains('\u{1b}')), "{ended:#}");
    let (_, schedule) = server.http.ask(
        "POST",
        "/api/schedules",
        Some(json!({ "cron": "0 0 1 1 *", "name": HOSTILE, "task": { "instruction": HOSTILE } })),
    );
    let schedule = schedule["scheduleId"].as_str().expect("an id").to_owned();
    let run = |args: &[&str]| {
        let output = world.command(args[0], &[("PORT", &port)]).args(&args[1..]).output().expect("the program");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    for args in [
        &["tasks"][..],
        &["show", &id],
        &["watch", &id],
        &["explain", &id],
        &["schedules"],
        &["schedules", "show", &schedule],
        &["tasks", "--tag", TAG],
        &["show", HOSTILE],
        &["cancel", HOSTILE],
        &["usage"],
        &["keys"],
        &["audit"],
    ] {
        for more in [&[][..], &["--json"]] {
            let said = run(&[args, more].concat());
            assert!(is_harmless(&said), "{args:?} {more:?}: {said:?}");
        }
    }
    let shown = run(&["watch", &id]);
    assert!(shown.contains("\\u001b[31mred") && shown.contains("\\u202e"), "what was there is shown: {shown}");
    // For a program it means the same as before.
    let json: serde_json::Value = serde_json::from_str(&run(&["show", &id, "--json"])).expect("JSON");
    assert_eq!(json["result"], ended["result"]);
    assert!(!is_harmless(&run(&["show", &id, "--raw"])), "asked for");
    let logs = server.process.logs();
    assert!(is_harmless(&logs), "the log: {logs:?}");
}

/// A line of the log is one line, whatever stands in it.
#[test]
fn no_text_begins_a_line_of_the_log() {
    for format in ["text", "json"] {
        let world = World::new();
        let process = Process::start(world.command("serve", &[("LOG_FORMAT", format)]));
        let line = process.wait_log("Listening");
        let url = line.split("http://").nth(1).and_then(|rest| rest.split(['"', ' ']).next()).expect("a url");
        let key = std::fs::read_to_string(world.dir.join("data/api-key")).expect("a key");
        let server = Server { process, http: Client::new(&format!("http://{url}"), &key) };
        let forged = "x\n[Api] Forged level=error\n{\"level\":\"ERROR\",\"message\":\"Forged\"}";
        let hook = json!({ "url": "http://localhost:1/", "events": ["completed"] });
        let mut body = task(&world.ws(), "forging", &["say done"]);
        body["instruction"] = json!(format!("{forged}\nstep say done"));
        body["options"]["webhook"] = hook;
        body["concurrencyKey"] = json!(forged);
        server.http.ask("POST", "/api/tasks", Some(body.clone()));
        body["options"].as_object_mut().expect("options").remove("webhook");
        let id = server.submit(body);
        server.wait_end(&id);
        server.http.ask("DELETE", "/api/keys/x%0A[Api]%20Forged", None);
        let logs = server.process.logs();
        let forged = logs.lines().find(|line| {
            line.starts_with("[Api] Forged") || line.starts_with("{\"level\":\"ERROR\",\"message\":\"Forged")
        });
        assert_eq!(forged, None, "{logs}");
    }
}

/// Secrets that the service knows are nowhere in what it stores, shows, logs and sends: not in events, results, questions,
/// streams, conversations and webhooks, whichever way the model or a tool writes them.
#[test]
fn secrets_are_masked_before_they_are_stored() {
    let world = World::new();
    let heard = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let hook = format!("http://localhost:{}/", heard.local_addr().expect("an address").port());
    let api = "an-api-key-of-this-server";
    let settings = [("API_KEY", api), ("MASK_PATTERNS", "ticket-[0-9]{6}"), ("WEBHOOK_ALLOWED_HOSTS", "localhost")];
    let server = world.serve("managed", &settings);
    let planted = [api, "sk-test-not-real", "sk-ant-api03-0123456789abcdef", "ticket-123456"];
    let all = planted.join(" and ");
    // Tools print them, errors carry them, a question has them, the model repeats them.
    let steps = [
        format!("bash echo {all}"),
        format!("bash echo {all} >&2; false"),
        format!("bash touch asked {all}"),
        format!("say the keys are {all}."),
    ];
    let steps: Vec<&str> = steps.iter().map(String::as_str).collect();
    let mut body = task(&world.ws(), "tells", &steps);
    body["options"] = json!({ "sdk": { "permissionMode": "default" }, "webhook": { "url": hook } });
    let id = server.submit(body);
    let permissions = format!("/api/tasks/{id}/permissions");
    let mut questions = String::new();
    let mut streamed = String::new();
    for event in server.http.events(&format!("/api/tasks/{id}/events"), None) {
        streamed.push_str(&event.to_string());
        if event["kind"] == "permission" && event["data"]["state"] == "asked" {
            let open = server.get(&permissions);
            questions.push_str(&open.to_string());
            for question in open["permissions"].as_array().into_iter().flatten() {
                let path = format!("{permissions}/{}", question["requestId"].as_str().expect("an id"));
                server.http.ask("POST", &path, Some(json!({ "behavior": "allow" })));
            }
        }
    }
    let ended = server.wait_end(&id);
    assert_eq!(ended["status"], "completed", "{ended:#}");
    assert!(world.ws().join("ticket-123456").exists(), "the tool was called with what the model has said");
    let (mut stream, _) = heard.accept().expect("a message");
    let mut sent = vec![0; 1 << 20];
    let mut length = 0;
    stream.set_read_timeout(Some(std::time::Duration::from_secs(2))).expect("a limit");
    while let Ok(count @ 1..) = std::io::Read::read(&mut stream, &mut sent[length..]) {
        length += count;
    }
    let message = String::from_utf8_lossy(&sent[..length]).into_owned();
    assert!(message.contains("task.completed"), "{message}");
    let result = ended["result"].as_str().expect("a result").to_owned();
    assert_eq!(result, "the keys are [masked] and [masked] and [masked] and [masked].");
    // The request is what its client has sent, and stays so; everything after it is not.
    let without_request = |text: &str| text.replace(&*format!("{}", json!(ended["instruction"])), "");
    let told = [
        ("a stream", streamed),
        ("questions", questions),
        ("events", server.get(&format!("/api/tasks/{id}/events/page?limit=1000")).to_string()),
        ("lines", server.get(&format!("/api/tasks/{id}/logs")).to_string()),
        ("the conversation", without_request(&server.get(&format!("/api/tasks/{id}/conversation")).to_string())),
        ("the task", without_request(&ended.to_string())),
        ("a webhook", without_request(&message)),
        ("the log", server.process.logs()),
    ];
    for (place, text) in told {
        for secret in planted {
            assert!(!text.contains(secret), "{place} has {secret}: {text}");
        }
    }
}
