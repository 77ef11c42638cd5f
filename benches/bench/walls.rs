//! What the borders cost a task: the same tasks with the sandbox, a home for each key and the credential proxy, and
//! without them, one after the other; and what the proxy adds to the first byte of an answer.

use std::path::Path;
use std::time::Duration;

use serde_json::json;

use crate::claude::{READY, whole_task};
use crate::server::Server;
use crate::{Figures, load, model};

const ROUNDS: usize = 25;
const CALLS: usize = 60;
/// No walls, no proxy, and the home of the user that runs the service.
const OPEN: [(&str, &str); 3] = [("SANDBOX", "off"), ("CREDENTIAL_PROXY", "off"), ("AGENT_HOME", "shared")];

/// See the module.
pub fn walls(figures: &mut Figures) {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules/.bin/claude");
    let model = model::Model::start(0);
    let common = [
        ("CLAUDE_PATH", cli.to_str().expect("a path")),
        ("ANTHROPIC_BASE_URL", model.url.as_str()),
        ("ANTHROPIC_API_KEY", "sk-bench-not-real"),
    ];
    for (name, warm) in [("cold", "0"), ("warm", "1")] {
        let settings = [&common[..], &[("WARM_STANDBY", warm)]].concat();
        let walled = Server::start("inline", &settings);
        let open = Server::start("inline", &[&settings[..], &OPEN].concat());
        // The first one makes the home, and is cold everywhere.
        for server in [&walled, &open] {
            whole_task(server);
        }
        let mut added = Vec::new();
        for round in 0..ROUNDS {
            if warm == "1" {
                std::thread::sleep(READY);
            }
            // Each is first as often as second.
            let (with, without) = if round % 2 == 0 {
                let with = whole_task(&walled);
                (with, whole_task(&open))
            } else {
                let without = whole_task(&open);
                (whole_task(&walled), without)
            };
            added.push(with.as_secs_f64() * 1_000.0 - without.as_secs_f64() * 1_000.0);
        }
        added.sort_by(f64::total_cmp);
        figures.add(&format!("walls and proxy, added to a {name} task, p50"), added[ROUNDS / 2], "ms");
        figures.add(&format!("walls and proxy, added to a {name} task, p25"), added[ROUNDS / 4], "ms");
        figures.add(&format!("walls and proxy, added to a {name} task, p75"), added[ROUNDS * 3 / 4], "ms");
        if warm == "0" {
            first_byte(figures, &walled, &model.url);
        }
    }
}

/// A task that asks the API itself, through the proxy and past it, with a program that says how long it waited.
fn first_byte(figures: &mut Figures, server: &Server, api: &str) {
    let ask = |name: &str, url: &str| {
        let message = r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"step say hi"}]}"#;
        format!(
            "curl -s -o /dev/null -w '%{{time_starttransfer}} {name}\\n' -H \"x-api-key: $ANTHROPIC_API_KEY\" \
             -H 'content-type: application/json' -d '{message}' {url}/v1/messages"
        )
    };
    let (past, through) = (ask("past", api), ask("through", "$ANTHROPIC_BASE_URL"));
    let command = format!("for n in $(seq {CALLS}); do {past}; {through}; done > times");
    let body = json!({
        "instruction": format!("ask\nstep bash {command}\nstep say ok"),
        "context": { "workingDirectory": server.dir.join("ws") },
        "options": { "async": false, "sdk": { "allowedTools": ["Bash"] } },
    });
    assert_eq!(server.ask("POST", "/api/tasks", Some(body))["status"], "completed");
    let times = std::fs::read_to_string(server.dir.join("ws/times")).expect("the times");
    let of = |name: &str| {
        let lines = times.lines().filter_map(|line| line.strip_suffix(name)?.trim().parse::<f64>().ok());
        let mut all: Vec<Duration> = lines.map(Duration::from_secs_f64).collect();
        all.sort_unstable();
        load::at(&all, 0.5)
    };
    let (past, through) = (of("past"), of("through"));
    figures.add("first byte of the API, past the proxy, p50", past, "ms");
    figures.add("first byte of the API, through the proxy, p50", through, "ms");
    figures.add("first byte, added by the proxy, p50", through - past, "ms");
}
