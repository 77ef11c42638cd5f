//! A process is killed or stopped exactly at a step: before and after each of its commits, at the
//! set-up, the start and the end of an attempt. The others go on, and the task ends as it should.

use serde_json::{Value, json};

use crate::support::{Process, World, check_history, http::Client, scripted_claude, signal, until};

const KEY: &str = "a-key-for-the-barriers";

/// A standalone service whose parts are started one by one.
struct Parts {
    world: World,
    port: u16,
}

impl Parts {
    fn new() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        Self { world: World::new(), port: free.local_addr().expect("a port").port() }
    }

    fn start(&self, role: &str, points: &str) -> Process {
        let claude = scripted_claude();
        let settings = [("API_KEY", KEY), ("CLAUDE_PATH", &claude), ("FAILPOINTS", points), ("LEASE_MS", "3000")];
        let mut command = self.world.command(role, &settings);
        if role == "serve" {
            command.args(["--mode", "standalone", "--port", &self.port.to_string()]);
        }
        Process::start(command)
    }

    /// Asks until it is answered, as a client with a key may.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Option<Value> {
        let client = Client::new(&format!("http://127.0.0.1:{}", self.port), KEY);
        let (status, answer) = client.try_ask(method, path, &[("idempotency-key", "once")], body)?;
        (status != 503).then_some(answer)
    }

    fn submit(&self, instruction: &str) -> Option<String> {
        let body = json!({ "instruction": instruction, "options": { "retry": { "initialDelay": 1 } } });
        self.ask("POST", "/api/tasks", Some(&body))?["taskId"].as_str().map(str::to_owned)
    }

    fn status(&self, id: &str) -> Option<String> {
        self.ask("GET", &format!("/api/tasks/{id}"), None)?["status"].as_str().map(str::to_owned)
    }

    fn wait_status(&self, id: &str, wanted: &str) {
        until(wanted, || self.status(id).filter(|status| status == wanted));
    }
}

pub fn is_stopped(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
}

/// `point=action` at its n-th time.
fn at(point: &str, n: usize, action: &str) -> String {
    let before = if n == 0 { String::new() } else { format!("{n}*off->") };
    format!("{point}={before}1*return({action})->off")
}

/// One task, whose worker ends or stops at this step. Returns whether it came to that.
fn worker_struck(points: &str) -> bool {
    let parts = Parts::new();
    let _api = parts.start("serve", "");
    let id = until("an answer", || parts.submit("daemon"));
    let mut victim = parts.start("worker", points);
    let struck = until("the strike, or the end", || {
        let struck = !victim.lives() || is_stopped(victim.pid());
        (struck || parts.status(&id).as_deref() == Some("completed")).then_some(struck)
    });
    let _other = parts.start("worker", "");
    parts.wait_status(&id, "completed");
    // One that was stopped comes back, and spoils nothing.
    signal(victim.pid(), "CONT");
    if victim.lives() {
        victim.signal("TERM");
        victim.wait();
    }
    check_history(&parts.world, &["--settled"]);
    struck
}

fn until_untouched(strike: impl Fn(usize) -> bool) {
    let untouched = (0..60).find(|n| !strike(*n));
    assert!(untouched.is_some_and(|n| n > 2), "there are some steps, and an end: {untouched:?}");
}

#[test]
fn slow_a_worker_that_dies_before_any_commit() {
    until_untouched(|n| worker_struck(&at("store-before", n, "kill")));
}

#[test]
fn slow_a_worker_that_dies_after_any_commit() {
    until_untouched(|n| worker_struck(&at("store-after", n, "kill")));
}

#[test]
fn slow_a_worker_that_dies_or_freezes_at_a_step_of_an_attempt() {
    for point in ["run-set-up", "run-started", "run-ended"] {
        for action in ["kill", "stop"] {
            assert!(worker_struck(&at(point, 0, action)), "{point} {action}");
        }
    }
    // Its beat, its claim, its first events: stopped between the commit and its answer.
    for n in 0..3 {
        assert!(worker_struck(&at("store-after", n, "stop")), "commit {n}");
    }
}

#[test]
fn slow_a_worker_that_freezes_while_it_makes_a_home() {
    // The trial of the walls at its start makes two.
    until_untouched(|n| worker_struck(&at("home-locked", n, "stop")));
}

/// A task is submitted, its worker dies, it is cancelled: the API ends at one of its commits on
/// this way, and comes back.
fn api_struck(point: &str, n: usize) -> bool {
    let parts = Parts::new();
    let mut api = parts.start("serve", &at(point, n, "kill"));
    let mut struck = false;
    let mut retry = |wanted: &str, mut step: Box<dyn FnMut() -> bool + '_>| {
        until(wanted, || {
            if !api.lives() {
                struck = true;
                api = parts.start("serve", "");
            }
            step().then_some(())
        });
    };
    let mut id = None;
    retry(
        "an id",
        Box::new(|| {
            id = id.take().or_else(|| parts.submit("long long"));
            id.is_some()
        }),
    );
    let id = id.expect("an id");
    let victim = parts.start("worker", "");
    retry("running", Box::new(|| parts.status(&id).as_deref() == Some("running")));
    victim.signal("KILL");
    retry("pending", Box::new(|| parts.status(&id).as_deref() == Some("pending")));
    let path = format!("/api/tasks/{id}");
    retry("cancelled", Box::new(|| parts.ask("DELETE", &path, None).is_some_and(|task| task["status"] == "cancelled")));
    // Its duties commit as well: it may end after the last answer.
    retry(
        "one key, one task",
        Box::new(|| parts.ask("GET", "/api/tasks", None).is_some_and(|page| page["total"] == 1)),
    );
    check_history(&parts.world, &["--settled"]);
    struck
}

#[test]
fn slow_an_api_that_dies_at_any_commit() {
    for point in ["store-before", "store-after"] {
        until_untouched(|n| api_struck(point, n));
    }
}
