//! `make demo`: the service with a scripted model and a cast of tasks in all states, to be tried without an account.
//!
//! It has a folder, a port and a key of its own, touches nothing else, and leaves nothing: Ctrl-C ends it.

#![expect(clippy::disallowed_methods, reason = "it starts the program as its users do")]

#[path = "../tests/support/model.rs"]
#[expect(dead_code, reason = "the tests look at what was asked")]
mod model;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use model::Model;
use serde_json::{Value, json};

/// Port of the page, where it is free.
const PORT: u16 = 5050;
/// Longest wait for the server.
const START_LIMIT: Duration = Duration::from_secs(60);

fn main() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let folder = std::env::args().nth(1).map_or_else(|| root.join("target/demo"), PathBuf::from);
    // What an earlier one has left, should it have been killed.
    drop(std::fs::remove_dir_all(&folder));
    let ended = play(&root, &folder);
    drop(std::fs::remove_dir_all(&folder));
    if let Err(error) = ended {
        eprintln!("demo: {error}");
        std::process::exit(1);
    }
}

fn play(root: &Path, folder: &Path) -> Result<(), String> {
    for name in ["data", "home", "ws"] {
        std::fs::create_dir_all(folder.join(name)).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    let folder = &folder.canonicalize().map_err(|error| error.to_string())?;
    repository(&folder.join("ws/project"))?;
    let model = Model::start(0);
    let cast = cast(&folder.join("ws"));
    for one in &cast {
        let steps: Vec<&str> = one.steps.iter().map(String::as_str).collect();
        model.script(one.instruction, &steps);
    }
    let mut server = Server::start(root, folder, &model.url)?;
    let (url, link) = server.ready()?;
    let second = Second::start(root, folder, &model.url)?;
    spend(&folder.join("data/cc.db"))?;
    fill(&url, &folder.join("ws"), cast)?;
    tell(&link);
    until_signal();
    // It would complain of a database that is gone.
    drop(second);
    Ok(())
}

/// Writes what was spent in the two weeks before.
fn spend(database: &Path) -> Result<(), String> {
    let db = rusqlite::Connection::open(database).map_err(|error| error.to_string())?;
    db.busy_timeout(Duration::from_secs(10)).map_err(|error| error.to_string())?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    for days in 1..14_i64 {
        let day = domain::Timestamp(now.as_millis() as i64 - days * domain::Timestamp::DAY_MS).day();
        for (key, share) in [("default", 3), ("nightly", 1)] {
            // More on some days than on others, the same each time.
            let attempts = share * (4 + days * 7 % 11);
            let input = attempts * 41_000;
            let values = rusqlite::params![
                day,
                key,
                attempts as f64 * 0.11,
                attempts,
                input / 10,
                attempts * 1_900,
                input * 8 / 10,
                input / 10
            ];
            db.execute("INSERT INTO spending VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)", values)
                .map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// Submits the cast.
fn fill(url: &str, work: &Path, cast: Vec<Part>) -> Result<(), String> {
    ask(url, "PUT", "/api/queue/limits", &json!({ "group": "concurrencyKey", "name": "deploys", "concurrency": 1 }))?;
    for one in cast {
        let mut body =
            json!({ "instruction": one.instruction, "context": { "workingDirectory": work }, "options": {} });
        merge(&mut body, one.more);
        let receipt = ask(url, "POST", "/api/tasks", &body)?;
        if body["requires"].is_array() {
            begun(url, &receipt["taskId"])?;
        }
        if one.instruction == "Mend the failing test" {
            ask(url, "POST", "/api/tasks/batch", &release(&receipt["taskId"]))?;
        }
    }
    let task = json!({ "instruction": "Report what failed" });
    let plan = json!({ "name": "Nightly report", "cron": "0 3 * * *", "timeZone": "Europe/Berlin", "task": task });
    ask(url, "POST", "/api/schedules", &plan).map(drop)
}

/// Waits until a worker has taken a task.
fn begun(url: &str, task: &Value) -> Result<(), String> {
    let path = format!("/api/tasks/{}", task.as_str().unwrap_or_default());
    let until = Instant::now() + START_LIMIT;
    while ask(url, "GET", &path, &Value::Null)?["attempt"] == 0 {
        if Instant::now() > until {
            return Err("no worker takes the first task".to_owned());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn tell(link: &str) {
    println!(
        "
cc-anywhere, with a scripted model and tasks in all states. Open this in a browser:

  {link}

Five things to try:
  1. Inbox: answer what waits for you (j, then a to allow, 1 to choose; z takes it back).
  2. Press n and ask for something. The model is scripted: it answers ok.
  3. Workers: crash one that is at work, and see its task go on (Attempts, Proof).
  4. Queue: pause it, submit, and see on the task's page why it waits.
  5. Make the window as narrow as a phone, or press ? for the keys.

Ctrl-C ends it, and leaves nothing."
    );
}

/// Waits for Ctrl-C, or for what else ends a program.
fn until_signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let (int, term) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        let (mut int, mut term) = (int.expect("a signal"), term.expect("a signal"));
        tokio::select! {
            _ = int.recv() => {}
            _ = term.recv() => {}
        }
    });
}

/// The key of the demo.
const KEY: &str = "demo-key-of-nobody";

/// A task of the cast.
struct Part {
    instruction: &'static str,
    steps: Vec<String>,
    more: Value,
}

fn cast(work: &Path) -> Vec<Part> {
    let project = work.join("project");
    let allowed = json!({ "sdk": { "allowedTools": ["Bash", "Edit", "Write", "Read"] } });
    let edit = json!({
        "file_path": project.join("lease.txt"), "old_string": "renew every 30 s", "new_string": "renew every 10 s, a third of its length",
    });
    let colours = json!({ "questions": [{
        "question": "Which database should the report read?", "header": "Database", "multiSelect": false,
        "options": [{ "label": "SQLite", "description": "the file here" }, { "label": "PostgreSQL", "description": "the server" }],
    }]});
    let part = |instruction, steps: &[String], more| Part { instruction, steps: steps.to_vec(), more };
    let words = |text: &str| vec![format!("say {text}")];
    let mut long: Vec<String> = vec![format!("tool Read {}", json!({ "file_path": project.join("lease.txt") }))];
    for n in 1..=40 {
        long.push(format!("bash sleep 4; echo 'test lease::{n} ... ok'"));
    }
    long.push("slow The lease is renewed in time now, and all tests pass.".to_owned());
    let busy: Vec<String> =
        (1..=60).map(|n| format!("bash echo step {n} of the report; seq 1 {n} | tail -3")).collect();
    vec![
        // First, so that the worker with that account takes it before all others.
        part("Summarize the week", &["limit 240".to_owned(), "say A quiet week.".to_owned()], json!({ "requires": ["account=second"] })),
        part("Write a haiku about queues into haiku.txt", &[
            format!("write {} Tasks wait in a line / each with its own quiet lease / none is lost at night", work.join("haiku.txt").display()),
            "say I wrote the haiku.".to_owned(),
        ], json!({ "options": allowed })),
        part("Make the report of last month", &[busy, vec!["say **Done.** Three services were slower than in the month before:\n\n| service | median |\n|---|---|\n| api | 41 ms |".to_owned()]].concat(), json!({ "options": allowed, "tags": ["report"] })),
        part("Update the dependencies", &["error 500 the model is not well".to_owned()], json!({ "options": { "maxAttempts": 2, "retry": { "initialDelay": 500 } }, "tags": ["nightly"] })),
        part("Renew leases sooner", &[
            format!("tool Read {}", json!({ "file_path": project.join("lease.txt") })),
            "bash git log --oneline | head -3".to_owned(),
            "bash sed -i 's/every 30 s/every 10 s, a third of its length/' lease.txt && echo 'A lease that ends is taken back.' >> lease.txt".to_owned(),
            "say The branch has the change.".to_owned(),
        ], json!({ "context": { "workingDirectory": project }, "options": { "useWorktree": true, "sdk": { "allowedTools": ["Bash", "Read", "Edit"] } } })),
        part("Mend the failing test", &long, json!({ "options": allowed, "priority": 10, "tags": ["ci"] })),
        part("Push the fix", &[format!("tool Edit {edit}"), "bash git push origin fix-lease".to_owned(), "say Pushed.".to_owned()], json!({ "options": { "sdk": { "permissionMode": "default" } }, "priority": 10 })),
        part("Set up the weekly report", &[format!("tool AskUserQuestion {colours}"), "say It reads that one from now on.".to_owned()], json!({ "options": { "sdk": { "permissionMode": "default" } }, "priority": 10 })),
        part("Port to the new edition", &vec!["bash sleep 2; echo 'error[E0716]: a temporary value is dropped while borrowed' >&2; exit 101".to_owned(); 200], json!({ "options": allowed, "priority": 9 })),
        part("Deploy to staging", &[(1..=40).map(|n| format!("bash sleep 5; echo {n} of 40 machines")).collect(), words("Deployed.")].concat(), json!({ "options": allowed, "concurrencyKey": "deploys", "priority": 5 })),
        part("Deploy to production", &words("Deployed."), json!({ "concurrencyKey": "deploys" })),
        part("Deploy the documentation", &words("Deployed."), json!({ "concurrencyKey": "deploys" })),
        part("Deploy the demo", &words("Deployed."), json!({ "concurrencyKey": "deploys" })),
        part("Compare two ways to store events", &[
            format!("tool Task {}", json!({
                "description": "Look at the lease", "subagent_type": "general-purpose",
                "prompt": format!("Look at the lease.\nstep tool Read {}\nstep bash wc -l {}\nstep say It has two lines.", json!({ "file_path": project.join("lease.txt") }), project.join("lease.txt").display()),
            })),
            "say One of them is simpler: a file.".to_owned(),
        ], json!({ "options": allowed })),
        part("Check the backups", &words("They are whole."), json!({ "runAt": "2125-01-01T03:00:00Z" })),
    ]
}

/// Tasks that wait for each other, and the last of them for this one as well.
fn release(tests: &Value) -> Value {
    let after = |name: &str| json!({ "task": name });
    json!({ "tasks": [
        { "name": "survey", "instruction": "List what changed since the last release\nstep say Claims are faster; a report can be read twice." },
        { "name": "notes", "instruction": "Write the notes: {{tasks.survey.result}}\nstep say The notes are written.", "dependsOn": [after("survey")] },
        { "name": "site", "instruction": "Renew the site\nstep say It is renewed.", "dependsOn": [after("survey")] },
        { "name": "release", "instruction": "Release it\nstep say Released.",
          "dependsOn": [after("notes"), after("site"), { "task": tests, "as": "tests" }] },
        { "name": "announce", "instruction": "Announce the release\nstep say Announced.", "dependsOn": [after("release")] },
    ]})
}

fn merge(to: &mut Value, more: Value) {
    match (to, more) {
        (Value::Object(to), Value::Object(more)) => {
            more.into_iter().for_each(|(name, value)| merge(to.entry(name).or_insert(Value::Null), value));
        }
        (to, more) => *to = more,
    }
}

/// A repository with a commit.
fn repository(folder: &Path) -> Result<(), String> {
    std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
    std::fs::write(folder.join("lease.txt"), "A worker holds a task by a lease.\nrenew every 30 s\n")
        .map_err(|error| error.to_string())?;
    for args in [
        &["init", "--quiet"][..],
        &["add", "."],
        &["-c", "user.name=demo", "-c", "user.email=demo@localhost", "commit", "--quiet", "-m", "Begin"],
    ] {
        let done = Command::new("git").args(args).current_dir(folder).env("GIT_CONFIG_GLOBAL", "/dev/null").status();
        if !done.is_ok_and(|status| status.success()) {
            return Err("git is needed: install it".to_owned());
        }
    }
    Ok(())
}

/// A worker with an account of its own, which reaches its limit; it ends with this.
struct Second(Child);

impl Second {
    fn start(root: &Path, folder: &Path, model: &str) -> Result<Self, String> {
        let mut worker = program(root, folder, model);
        worker
            .args(["worker", "--label", "account=second"])
            .env("WORKER_ID", "second-account")
            .env("QUEUE_CONCURRENCY", "1")
            .env("ANTHROPIC_API_KEY", "second");
        worker.stdout(Stdio::null()).spawn().map(Self).map_err(|error| error.to_string())
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        end(&mut self.0);
    }
}

/// Ends a process, and with it all that it has started.
fn end(process: &mut Child) {
    let pid = rustix::process::Pid::from_child(process);
    // It may have ended.
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap_or_default();
    drop(process.wait());
}

/// The program with the environment of the demo, and nothing else of the user's.
fn program(root: &Path, folder: &Path, model: &str) -> Command {
    let here = std::env::current_exe().unwrap_or_default();
    let program = here.parent().and_then(Path::parent).map(|folder| folder.join("cc-anywhere")).unwrap_or_default();
    let path = |name: &str| folder.join(name).display().to_string();
    let claude = root.join(".tools/node_modules/.bin/claude").display().to_string();
    let claude = std::env::var("CLAUDE_PATH").unwrap_or(claude);
    let mut command = Command::new(program);
    command
        .current_dir(folder.join("ws"))
        .env_clear()
        .envs([("PATH", std::env::var("PATH").unwrap_or_default()), ("HOME", path("home")), ("CLAUDE_PATH", claude)])
        .envs([("DB_PATH", path("data/cc.db")), ("WORKSPACE_ROOTS", path("ws"))])
        .envs([("ANTHROPIC_BASE_URL", model), ("ANTHROPIC_API_KEY", "none"), ("API_KEY", KEY)])
        .envs([("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "500"), ("PERMISSION_PARK_MS", "3600000")])
        .envs([("CLAUDE_CODE_MAX_RETRIES", "0"), ("CRASH_BUTTON", "on")]);
    command
}

/// The server; it ends with this, and with it all that it has started.
struct Server {
    process: Child,
    lines: Receiver<String>,
}

impl Server {
    fn start(root: &Path, folder: &Path, model: &str) -> Result<Self, String> {
        let is_free = std::net::TcpListener::bind(("127.0.0.1", PORT)).is_ok();
        let mut process = program(root, folder, model)
            .args(["serve", "--mode", "managed", "--worker-count", "2", "--queue-concurrency", "4"])
            .args(["--port", &if is_free { PORT } else { 0 }.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| format!("the program can't be started: {error}; make demo builds it first"))?;
        let log = process.stdout.take().ok_or("no log")?;
        let (sender, lines) = channel();
        // Read to the end: a log that nobody reads would hold the server up.
        std::thread::spawn(move || {
            for line in BufReader::new(log).lines().map_while(Result::ok) {
                drop(sender.send(line));
            }
        });
        Ok(Self { process, lines })
    }

    /// Waits until it serves. Returns its address, and the link that signs in.
    fn ready(&mut self) -> Result<(String, String), String> {
        let until = Instant::now() + START_LIMIT;
        let (mut url, mut said) = (None, String::new());
        while let Ok(line) = self.lines.recv_timeout(until.saturating_duration_since(Instant::now())) {
            let address = || line.split("url=").nth(1).and_then(|rest| rest.split(' ').next()).map(str::to_owned);
            if line.contains("Listening url=") {
                url = address();
            }
            if line.contains("Dashboard url=")
                && let (Some(url), Some(link)) = (url.take(), address())
            {
                return Ok((url, link));
            }
            said = said + &line + "\n";
        }
        Err(format!("the server did not start:\n{said}"))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        end(&mut self.process);
    }
}

fn ask(url: &str, method: &str, path: &str, body: &Value) -> Result<Value, String> {
    let request = ureq::http::Request::builder().method(method).uri(format!("{url}{path}")).header("x-api-key", KEY);
    let request =
        request.header("content-type", "application/json").body(body.to_string()).map_err(|error| error.to_string())?;
    let mut answer =
        ureq::Agent::new_with_defaults().run(request).map_err(|error| format!("{method} {path}: {error}"))?;
    answer.body_mut().read_json().map_err(|error| error.to_string())
}
