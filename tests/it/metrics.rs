//! `/metrics`: what Prometheus reads of a real run, in every mode; the rules and the panels that stand on it.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::http::Client;
use crate::support::{Server, World, poll, scripted_claude, task, until};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; q=0.7, text/plain; q=0.3";

fn scrape(http: &Client, accept: &str) -> String {
    let (status, headers, answer) = http.send("GET", "/metrics", &[("accept", accept)], None);
    assert_eq!(status, 200, "{answer}");
    let kind = headers["content-type"].to_str().expect("text");
    let expected =
        if accept == "*/*" { "text/plain; version=0.0.4" } else { "application/openmetrics-text; version=1.0.0" };
    assert!(kind.starts_with(expected), "{kind}");
    answer.as_str().expect("text").to_owned()
}

/// The value of a sample with this name and these labels.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' ')?.split(' ').next()?.parse().ok())
}

/// Waits until a sample has this value: counters follow the history within some seconds.
fn wait_for(http: &Client, sample: &str, expected: f64) {
    let mut last = String::new();
    let found = poll(std::time::Duration::from_secs(20), || {
        last = scrape(http, "*/*");
        (value(&last, sample) == Some(expected)).then_some(())
    });
    assert!(found.is_some(), "{sample} isn't {expected}:\n{last}");
}

/// What Prometheus' own checker says of this text.
#[expect(clippy::disallowed_methods, reason = "the checker is a program of its own")]
fn promtool(text: &str) -> String {
    let mut command = Command::new("promtool");
    command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut checker = command.spawn().expect("promtool: the package prometheus");
    checker.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("written");
    let output = checker.wait_with_output().expect("its end");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn counts(world: &World, mode: &str) {
    let server = world.serve(mode, &[("API_KEYS", "ci=a-key-of-sixteen-characters"), ("DAILY_BUDGET_USD", "100")]);
    let done = server.submit(task(&world.ws(), "done", &["say done"]));
    server.wait_end(&done);
    let mut fails = task(&world.ws(), "fails", &["error 400 no", "say done"]);
    fails["options"]["maxAttempts"] = json!(1);
    let fails = server.submit(fails);
    assert_eq!(server.wait_end(&fails)["status"], "failed");
    let retried = server.http.ask("POST", &format!("/api/tasks/{fails}/retry"), None).1;
    server.wait_end(retried["taskId"].as_str().expect("an id"));
    let later = json!({ "instruction": "later", "runAt": "2125-01-01T00:00:00Z" });
    let later = server.submit(later);
    server.http.ask("DELETE", &format!("/api/tasks/{later}"), None);
    server.submit(json!({ "instruction": "later", "runAt": "2125-01-01T00:00:00Z" }));

    let http = &server.http;
    wait_for(http, "cc_anywhere_tasks_submitted_total{source=\"api\"}", 4.0);
    wait_for(http, "cc_anywhere_tasks_submitted_total{source=\"retry\"}", 1.0);
    wait_for(http, "cc_anywhere_tasks_ended_total{status=\"completed\"}", 1.0);
    wait_for(http, "cc_anywhere_tasks_ended_total{status=\"cancelled\"}", 1.0);
    // As the worker last said.
    wait_for(http, "cc_anywhere_worker_slots{state=\"free\"}", 2.0);
    let text = scrape(http, "*/*");
    let has = |sample: &str| value(&text, sample).unwrap_or_else(|| panic!("no {sample}:\n{text}"));
    assert!(has("cc_anywhere_tasks_ended_total{status=\"failed\"}") >= 1.0);
    assert_eq!(has("cc_anywhere_attempts_total{outcome=\"completed\",class=\"\"}"), 1.0);
    assert!(has("cc_anywhere_dispatch_latency_seconds_count") >= 3.0);
    assert!(has("cc_anywhere_attempt_duration_seconds_sum{outcome=\"completed\"}") > 0.0);
    assert!(has("cc_anywhere_cost_usd_total{key=\"default\"}") > 0.0);
    assert!(has("cc_anywhere_tokens_total{key=\"default\",type=\"output\"}") > 0.0);
    assert_eq!(has("cc_anywhere_tasks{status=\"pending\"}"), 1.0);
    assert_eq!(has("cc_anywhere_tasks_waiting{reason=\"not_due\"}"), 1.0);
    assert_eq!(has("cc_anywhere_queue_oldest_due_age_seconds"), 0.0);
    assert_eq!(has("cc_anywhere_budget_limit_usd{scope=\"server\"}"), 100.0);
    assert_eq!(has("cc_anywhere_workers{state=\"running\"}"), 1.0);
    assert_eq!(has("cc_anywhere_store_full"), 0.0);
    assert!(has("cc_anywhere_store_size_bytes") > 0.0);
    assert!(has("cc_anywhere_store_commit_duration_seconds_count") > 0.0);
    assert!(has("process_resident_memory_bytes") > 1e6);
    assert!(has("process_cpu_seconds_total") > 0.0);
    let route = "http_server_request_duration_seconds_count{http_request_method=\"POST\",http_route=\"/api/tasks\",http_response_status_code=\"202\"}";
    assert_eq!(has(route), 4.0);
    assert!(!text.contains(&done), "a label has the id of a task");
    assert_eq!(promtool(&text), "");
    // The same again as OpenMetrics.
    let open = scrape(http, OPEN_METRICS);
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE cc_anywhere_tasks_submitted counter\n"), "{open}");
}

#[test]
fn a_real_run_is_counted_and_its_metrics_are_well_formed() {
    for mode in ["inline", "managed"] {
        counts(&World::new(), mode);
    }
}

#[test]
fn a_real_run_on_postgres_is_counted() {
    counts(&World::on_postgres(), "managed");
}

#[test]
fn metrics_need_the_key_of_an_admin_unless_they_are_open() {
    let world = World::new();
    let scripted = scripted_claude();
    let settings = [("CLAUDE_PATH", scripted.as_str()), ("API_KEYS", "ci=a-key-of-sixteen-characters")];
    let server = world.serve("inline", &settings);
    let status = |server: &Server, key: &str| server.http.send("GET", "/metrics", &[("x-api-key", key)], None).0;
    assert_eq!(status(&server, server.http.key()), 200);
    assert_eq!([status(&server, "wrong"), status(&server, "")], [401, 401]);
    let (made, key) = server.http.ask("POST", "/api/keys", Some(json!({ "name": "r", "scopes": ["read"] })));
    assert_eq!(made, 201, "{key}");
    assert_eq!(status(&server, key["key"].as_str().expect("a secret")), 403);
    drop(server);

    let open = World::new();
    let server =
        open.serve("inline", &[("CLAUDE_PATH", scripted.as_str()), ("METRICS_OPEN", "on"), ("METRICS_PORT", "0")]);
    assert_eq!(status(&server, ""), 200);
    let line = server.process.wait_log("Metrics url=");
    let url = line.split("url=").nth(1).and_then(|rest| rest.split("/metrics").next()).expect("a url");
    let apart = Client::new(url, "");
    assert!(scrape(&apart, "*/*").contains("cc_anywhere_build_info{"));
    // Nothing else answers there.
    for path in ["/api/tasks", "/health", "/", "/in"] {
        assert_eq!(apart.ask("GET", path, None).0, 404, "{path}");
    }
    assert_eq!(apart.ask("POST", "/metrics", None).0, 405);
}

#[test]
fn a_worker_that_is_killed_is_counted_once() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let id = server.submit(task(&world.ws(), "killed", &["bash sleep 60"]));
    server.wait_tool(&id);
    let pid = server.worker_pid("worker-0");
    crate::support::signal(pid, "KILL");
    until("the next worker", || (server.get("/api/workers/worker-0")["pid"] != json!(pid)).then_some(()));
    let http = &server.http;
    wait_for(http, "cc_anywhere_worker_restarts_total{reason=\"died\"}", 1.0);
    wait_for(http, "cc_anywhere_attempts_total{outcome=\"crashed\",class=\"crashed\"}", 1.0);
}

/// Rules and panels name what docs/metrics.md has, and it has all that is served.
#[test]
fn rules_and_panels_stand_on_what_is_served() {
    let world = World::new();
    let server = world.serve("managed", &[]);
    let id = server.submit(task(&world.ws(), "done", &["say done"]));
    server.wait_end(&id);
    let text = scrape(&server.http, "*/*");
    let served: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next()).collect();
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| std::fs::read_to_string(root.join(path)).expect("a file");
    let board: Value = serde_json::from_str(&read("deploy/grafana/cc-anywhere.json")).expect("JSON");
    let panels = board["panels"].as_array().expect("panels").iter();
    let expressions = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    let mut all: String = expressions.filter_map(|target| Some(target["expr"].as_str()?.to_owned() + "\n")).collect();
    all += &read("deploy/prometheus/rules.yml");
    let documented = read("docs/metrics.md");
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let named: BTreeSet<&str> = all
        .split(|c| !is_name(c))
        .filter(|word| {
            word.starts_with("cc_anywhere_") || word.starts_with("process_") || word.starts_with("http_server_")
        })
        .collect();
    assert!(named.len() > 25, "{named:?}");
    for name in named {
        let family = ["_bucket", "_count", "_sum"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        let is_known = [family, name].iter().any(|name| documented.contains(&format!("`{name}`")));
        assert!(is_known, "{name} isn't in docs/metrics.md");
    }
    for name in served {
        assert!(documented.contains(&format!("`{name}`")), "{name} isn't in docs/metrics.md");
    }
}
