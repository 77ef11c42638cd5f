//! `make bench`: how fast the service is, in figures taken side by side in one run. Machines
//! differ and are busy with other things: compare the ratios.

#![expect(clippy::disallowed_methods, reason = "a benchmark starts what it measures")]

mod limit;
mod load;
#[path = "../tests/support/model.rs"]
#[expect(dead_code, reason = "the tests look at what was asked")]
mod model;

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PROGRAM: &str = env!("CARGO_BIN_EXE_cc-anywhere");
const KEY: &str = "a-key-for-the-benchmark";
const CLIENTS: [usize; 3] = [1, 8, 64];
const LOAD_TIME: Duration = Duration::from_secs(6);
const ROUNDS: u32 = 3;
const DISPATCHES: usize = 100;
/// Between two of them.
const IDLE: Duration = Duration::from_millis(30);
const CLAUDE_RUNS: usize = 7;
/// A CLI has read all that it reads.
const READY: Duration = Duration::from_secs(2);
const FINISHED_ROWS: u32 = 1_000_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    match args.get(1).map(String::as_str) {
        // Started by ourselves: the bare handler, and the stand-in of the CLI.
        Some("bare") => return limit::bare(),
        Some("limit") => return limit::limit(),
        Some("-p") => return stand_in(),
        _ => {}
    }
    let mut figures = Figures::default();
    for (name, part) in PARTS {
        // Parts that are named run alone; `--bench` comes from cargo.
        let mut named = args.iter().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
        if named.peek().is_none() || named.any(|arg| arg == name) {
            part(&mut figures);
        }
    }
    figures.save();
}

/// Measures something, and adds its figures.
type Part = fn(&mut Figures);

/// What `make bench` measures, in this order. One alone: `make bench PARTS=submits`.
const PARTS: [(&str, Part); 4] =
    [("submits", submits), ("dispatch", dispatch), ("million", million), ("claude", claude)];

/// What was measured, printed as it comes.
#[derive(Default)]
struct Figures(serde_json::Map<String, Value>);

impl Figures {
    fn add(&mut self, name: &str, value: f64, unit: &str) {
        println!("{name:<52} {value:>12.2} {unit}");
        self.0.insert(name.to_owned(), json!({ "value": value, "unit": unit }));
    }

    fn save(self) {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench.json");
        let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
        println!("load average {}", load.trim());
        std::fs::write(&path, json!({ "loadavg": load.trim(), "figures": self.0 }).to_string()).expect("written");
        println!("also in {}", path.display());
    }
}

/// A server in a folder of its own; ended with its workers when dropped.
struct Server {
    child: Child,
    port: u16,
    dir: PathBuf,
    /// Keeps its connection.
    agent: ureq::Agent,
}

impl Server {
    fn start(mode: &str, settings: &[(&str, &str)]) -> Self {
        let dir = std::env::temp_dir().join(format!("cca-bench-{}", uuid::Uuid::new_v4().simple()));
        for folder in ["home", "ws"] {
            std::fs::create_dir_all(dir.join(folder)).expect("a folder");
        }
        Self::start_in(dir, mode, settings)
    }

    fn start_in(dir: PathBuf, mode: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--mode", mode]).current_dir(&dir).env_clear();
        command.envs([("PATH", "/usr/bin:/bin"), ("PORT", "0"), ("API_KEY", KEY), ("ANTHROPIC_API_KEY", "none")]);
        command.env("HOME", dir.join("home")).env("MAX_PENDING_TASKS", "100000000").envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("Listening url=")).expect("it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
        let port = port.parse().expect("a port");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { child, port, dir, agent }
    }

    fn request(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n");
        format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
    }

    fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("http://localhost:{}{path}", self.port);
        let request = ureq::http::Request::builder().method(method).uri(url).header("x-api-key", KEY);
        let request = request.header("content-type", "application/json");
        let answer = match body {
            Some(body) => self.agent.run(request.body(body.to_string()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        answer.expect("an answer").body_mut().read_json().expect("json")
    }

    /// Memory that is its own, in megabytes (PSS).
    fn memory(&self) -> f64 {
        let rollup = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id())).unwrap_or_default();
        let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
        line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1_024.0
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("an end");
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(work)
}

/// Another server of this program, for comparison.
struct Peer {
    child: Child,
    port: u16,
}

impl Peer {
    fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("ourselves"));
        let mut child = command.arg(role).stdout(Stdio::piped()).spawn().expect("ourselves");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("its output")).read_line(&mut line).expect("a port");
        Self { child, port: line.trim().parse().expect("a port") }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("an end");
    }
}

fn submits(figures: &mut Figures) {
    let (bare, limit) = (Peer::start("bare"), Peer::start("limit"));
    let server = Server::start("standalone", &[]);
    figures.add("memory of serve, idle", server.memory(), "MB");
    let body = json!({ "instruction": "Mend the build.", "tags": ["bench"] }).to_string();
    let request = server.request("POST", "/api/tasks", &body);
    for clients in CLIENTS {
        let bare = block_on(load::run(bare.port, &request, clients, LOAD_TIME));
        // Both in turns: the disk is not the same from one second to the next.
        let (mut limits, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            limits.push(block_on(load::run(limit.port, &request, clients, LOAD_TIME / ROUNDS)));
            ours.push(block_on(load::run(server.port, &request, clients, LOAD_TIME / ROUNDS)));
        }
        let rate = |loads: &[load::Load]| loads.iter().map(|load| load.rate).sum::<f64>() / f64::from(ROUNDS);
        let worst = ours.iter().map(|load| load.p99).fold(0.0, f64::max);
        figures.add(&format!("submits, {clients} clients, bare handler"), bare.rate, "/s");
        figures.add(&format!("submits, {clients} clients, the limit"), rate(&limits), "/s");
        figures.add(&format!("submits, {clients} clients"), rate(&ours), "/s");
        figures.add(&format!("submits, {clients} clients, p50"), ours[0].p50, "ms");
        figures.add(&format!("submits, {clients} clients, p99, the worst round"), worst, "ms");
        figures.add(&format!("submits, {clients} clients, over the limit"), rate(&ours) / rate(&limits), "");
        figures.add(&format!("submits, {clients} clients, over the bare handler"), rate(&ours) / bare.rate, "");
    }
    figures.add("memory of serve, after the submits", server.memory(), "MB");
}

/// Nanoseconds of a clock that all processes share.
fn now() -> i128 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)
}

/// A CLI that notes when it was started and answers at once.
fn stand_in() {
    std::fs::write("started", now().to_string()).expect("written");
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).expect("an instruction");
    let frames = [
        json!({ "type": "assistant", "message": { "model": "none", "content": [{ "type": "text", "text": "ok" }] } }),
        json!({ "type": "result", "subtype": "success", "is_error": false, "num_turns": 1, "result": "ok" }),
    ];
    let mut out = std::io::stdout().lock();
    frames.iter().for_each(|frame| writeln!(out, "{frame}").expect("written"));
}

/// From just before the submit is sent until the CLI runs.
fn dispatch(figures: &mut Figures) {
    let stand_in = std::env::current_exe().expect("ourselves").display().to_string();
    for mode in ["inline", "managed"] {
        let server = Server::start(mode, &[("CLAUDE_PATH", &stand_in)]);
        while server.ask("GET", "/health", None)["status"] != "healthy" {
            std::thread::sleep(Duration::from_millis(10));
        }
        let mut times: Vec<Duration> = (0..DISPATCHES)
            .map(|_| {
                // The service is idle again.
                std::thread::sleep(IDLE);
                let sent = now();
                let body = json!({ "instruction": "x", "options": { "async": false } });
                let task = server.ask("POST", "/api/tasks", Some(body));
                let folder = task["workingDirectory"].as_str().expect("a folder");
                let started = std::fs::read_to_string(Path::new(folder).join("started")).expect("it started");
                let nanos = started.parse::<i128>().expect("a time") - sent;
                Duration::from_nanos(u64::try_from(nanos).unwrap_or(0))
            })
            .collect();
        times.sort_unstable();
        figures.add(&format!("submit to started CLI, {mode}, p50"), load::at(&times, 0.5), "ms");
        figures.add(&format!("submit to started CLI, {mode}, p99"), load::at(&times, 0.99), "ms");
    }
    let mut direct: Vec<Duration> = (0..DISPATCHES)
        .map(|_| {
            let dir = std::env::temp_dir().join(format!("cca-bench-{}", uuid::Uuid::new_v4().simple()));
            std::fs::create_dir_all(&dir).expect("a folder");
            let sent = now();
            let mut child = Command::new(&stand_in)
                .arg("-p")
                .current_dir(&dir)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .spawn()
                .expect("the stand-in");
            child.wait().expect("an end");
            let started: i128 =
                std::fs::read_to_string(dir.join("started")).expect("it started").parse().expect("a time");
            std::fs::remove_dir_all(dir).ok();
            Duration::from_nanos(u64::try_from(started - sent).unwrap_or(0))
        })
        .collect();
    direct.sort_unstable();
    figures.add("the same CLI, started directly, p50", load::at(&direct, 0.5), "ms");
}

/// `/health` with a thousand and with a million finished tasks in the table.
fn million(figures: &mut Figures) {
    let dir = std::env::temp_dir().join(format!("cca-bench-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir_all(dir.join("home")).expect("a folder");
    let mut has = 0;
    for rows in [1_000, FINISHED_ROWS] {
        let mut server = Server::start_in(dir.clone(), "standalone", &[]);
        block_on(finished_rows(&dir.join("data/cc-anywhere.db"), rows - has));
        has = rows;
        for path in ["/health", "/api/queue/stats"] {
            let request = server.request("GET", path, "");
            let load = block_on(load::run(server.port, &request, 1, Duration::from_secs(1)));
            figures.add(&format!("GET {path} with {rows} finished tasks, p50"), load.p50, "ms");
        }
        if rows != FINISHED_ROWS {
            // The next server takes over the folder.
            server.dir = std::env::temp_dir().join("cca-bench-none");
        }
    }
}

async fn finished_rows(db: &Path, rows: u32) {
    use sea_orm::ConnectionTrait;
    let db = sea_orm::Database::connect(format!("sqlite:{}", db.display())).await.expect("the database");
    let insert = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
        INSERT INTO tasks (id, status, spec, priority, created_at, completed_at, attempt, ended, crashes, max_attempts, epoch, last_event)
        SELECT randomblob(16), 'completed', '{{\"instruction\":\"x\"}}', 0, i, i, 1, 1, 0, 3, 1, 0 FROM n"
    );
    db.execute_unprepared(&insert).await.expect("inserted");
}

/// A whole task with the real CLI and a model that answers at once, over the CLI alone.
fn claude(figures: &mut Figures) {
    let cli = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules/.bin/claude");
    let model = model::Model::start(0);
    let settings = [("CLAUDE_PATH", cli.to_str().expect("a path")), ("ANTHROPIC_BASE_URL", model.url.as_str())];
    let cold = Server::start("inline", &settings);
    let warm = Server::start("inline", &[settings[0], settings[1], ("WARM_STANDBY", "1")]);
    // The first one is cold everywhere.
    whole_task(&warm);
    let (mut times, mut colds, mut warms) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..CLAUDE_RUNS {
        // Until the next process is ready, so that its start disturbs nobody.
        std::thread::sleep(READY);
        colds.push(whole_task(&cold));
        let began = Instant::now();
        bare_claude(&cli, &cold.dir, &model.url);
        times.push(began.elapsed());
        warms.push(whole_task(&warm));
    }
    let middle = |times: &mut Vec<Duration>| {
        times.sort_unstable();
        load::at(times, 0.5)
    };
    let (direct, cold, warm) = (middle(&mut times), middle(&mut colds), middle(&mut warms));
    figures.add("the CLI alone, p50", direct, "ms");
    figures.add("a Claude task, cold, p50", cold, "ms");
    figures.add("a Claude task, warm, p50", warm, "ms");
    figures.add("a Claude task over the CLI alone, cold", cold / direct, "");
    figures.add("a Claude task over the CLI alone, warm", warm / direct, "");
}

fn whole_task(server: &Server) -> Duration {
    let began = Instant::now();
    let body = json!({
        "instruction": "step say ok", "context": { "workingDirectory": server.dir.join("ws") }, "options": { "async": false },
    });
    assert_eq!(server.ask("POST", "/api/tasks", Some(body))["status"], "completed");
    began.elapsed()
}

fn bare_claude(cli: &Path, dir: &Path, model: &str) {
    let mut child = Command::new(cli)
        .args(["-p", "--input-format=stream-json", "--output-format=stream-json", "--verbose"])
        .args(["--setting-sources=", "--strict-mcp-config"])
        .current_dir(dir)
        .env_clear()
        .envs([("PATH", "/usr/bin:/bin"), ("ANTHROPIC_API_KEY", "none"), ("ANTHROPIC_BASE_URL", model)])
        .envs([("DISABLE_AUTOUPDATER", "1"), ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")])
        .env("HOME", dir.join("home"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the CLI");
    let content = json!([{ "type": "text", "text": "step say ok" }, { "type": "text", "text": "Do the task above." }]);
    let message = json!({ "role": "user", "content": content });
    let frame = json!({ "type": "user", "message": message, "parent_tool_use_id": null, "session_id": "" });
    writeln!(child.stdin.take().expect("its input"), "{frame}").expect("sent");
    assert!(child.wait().expect("an end").success());
}
