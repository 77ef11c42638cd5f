//! Our server, and other roles of the benchmark itself, as processes.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cc-anywhere");
const KEY: &str = "a-key-for-the-benchmark";

/// A new folder, with the folders in it that a server needs.
pub fn scratch() -> PathBuf {
    let dir = std::env::temp_dir().join(format!("cca-bench-{}", uuid::Uuid::new_v4().simple()));
    for folder in ["home", "ws"] {
        std::fs::create_dir_all(dir.join(folder)).expect("a folder");
    }
    dir
}

/// A path, as it is named.
pub fn text(path: &std::path::Path) -> String {
    path.display().to_string()
}

/// A server in a folder of its own; ended with its workers when dropped.
pub struct Server {
    /// Process of the server.
    pub child: Child,
    /// Where it listens.
    pub port: u16,
    /// Folder that holds its data.
    pub dir: PathBuf,
    /// Keeps its connection.
    agent: ureq::Agent,
}

impl Server {
    /// Starts one in a new folder.
    pub fn start(mode: &str, settings: &[(&str, &str)]) -> Self {
        Self::start_in(scratch(), mode, settings)
    }

    /// Starts another version of the program in a new folder.
    pub fn start_of(program: &str, mode: &str, settings: &[(&str, &str)]) -> Self {
        Self::run(program, scratch(), mode, settings)
    }

    /// Starts one in this folder.
    pub fn start_in(dir: PathBuf, mode: &str, settings: &[(&str, &str)]) -> Self {
        Self::run(PROGRAM, dir, mode, settings)
    }

    fn run(program: &str, dir: PathBuf, mode: &str, settings: &[(&str, &str)]) -> Self {
        let mut command = Command::new(program);
        command.args(["serve", "--mode", mode]).current_dir(&dir).env_clear();
        command.envs([("PATH", "/usr/bin:/bin"), ("PORT", "0"), ("API_KEY", KEY), ("ANTHROPIC_API_KEY", "none")]);
        command.env("HOME", dir.join("home")).env("DB_PATH", dir.join("data/cc-anywhere.db"));
        command.env("MAX_PENDING_TASKS", "100000000").envs(settings.iter().copied());
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the server");
        let mut lines = BufReader::new(child.stdout.take().expect("its output")).lines().map_while(Result::ok);
        let line = lines.find(|line| line.contains("Listening url=")).expect("it listens");
        std::thread::spawn(move || lines.for_each(drop));
        let port = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).expect("a port");
        let port = port.parse().expect("a port");
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
        Self { child, port, dir, agent }
    }

    /// Asks and reads the answer.
    pub fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("http://localhost:{}{path}", self.port);
        let request = ureq::http::Request::builder().method(method).uri(url).header("x-api-key", KEY);
        let request = request.header("content-type", "application/json");
        let answer = match body {
            Some(body) => self.agent.run(request.body(body.to_string()).expect("a request")),
            None => self.agent.run(request.body(()).expect("a request")),
        };
        answer.expect("an answer").body_mut().read_json().expect("json")
    }

    /// Leaves its folder to somebody else.
    pub fn keep(mut self) -> Self {
        self.dir = self.dir.join("nothing");
        self
    }

    /// Number of tasks that are ended in a second, once all of them wait.
    pub fn rate_of_tasks(&self, count: usize) -> f64 {
        let completed = || self.ask("GET", "/api/queue/stats", None)["completed"].as_i64();
        let before = completed().expect("a number");
        self.ask("POST", "/api/queue/pause", None);
        for _ in 0..count {
            self.ask("POST", "/api/tasks", Some(json!({ "instruction": "x" })));
        }
        let began = Instant::now();
        self.ask("POST", "/api/queue/start", None);
        let done = before + i64::try_from(count).expect("small");
        while completed() != Some(done) {
            std::thread::sleep(Duration::from_millis(5));
        }
        count as f64 / began.elapsed().as_secs_f64()
    }

    /// Waits until it says that all of it works.
    pub fn wait_healthy(&self) {
        while self.ask("GET", "/health", None)["status"] != "healthy" {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Milliseconds that it has had the processor, with all of its threads.
    pub fn processor_ms(&self) -> f64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("threads").flatten();
        let ns = |text: String| text.split(' ').next().and_then(|ns| ns.parse::<f64>().ok()).unwrap_or_default();
        let each = threads.map(|thread| std::fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default());
        each.map(ns).sum::<f64>() / 1_000_000.0
    }

    /// Memory that is its own, in megabytes.
    pub fn memory(&self) -> f64 {
        memory(self.child.id())
    }
}

/// A request to our server, as bytes.
pub fn request(method: &str, path: &str, body: &str) -> Vec<u8> {
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n");
    format!("{head}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

/// Children of a process, of all of its threads.
pub fn children(pid: u32) -> Vec<u32> {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let texts = threads.filter_map(|thread| std::fs::read_to_string(thread.path().join("children")).ok());
    let numbers = |text: String| text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<u32>>();
    texts.flat_map(numbers).collect()
}

/// Memory of a process that is its own, in megabytes (PSS).
pub fn memory(pid: u32) -> f64 {
    let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = rollup.lines().find(|line| line.starts_with("Pss:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or_default() / 1_024.0
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        self.child.wait().expect("an end");
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// Another server of this program, for comparison.
pub struct Peer {
    child: Child,
    /// Where it listens.
    pub port: u16,
}

impl Peer {
    /// Starts ourselves in this role.
    pub fn start(role: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("ourselves"));
        command.arg(role);
        Self::of(command)
    }

    /// Starts a server that prints its port.
    pub fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("a server");
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
