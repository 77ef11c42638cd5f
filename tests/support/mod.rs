//! The world of a test: a temporary folder, a scripted model, the built program with the real
//! CLI, and a clean environment. Everything waits for events with a named limit, and at the
//! end no process is left.

#![expect(clippy::disallowed_methods, reason = "tests start the program and wait for it as its users do")]

pub mod browser;
pub mod http;
pub mod machine;
pub mod model;
pub mod postgres;
pub mod wire;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};

use http::Client;
use model::Model;
use postgres::Cluster;

/// No event of a test takes longer, on a machine that does other things as well.
pub const LIMIT: Duration = Duration::from_secs(60);
/// Between two looks at what has no event of its own.
const LOOK: Duration = Duration::from_millis(20);

/// The built program.
pub const PROGRAM: &str = env!("CARGO_BIN_EXE_cc-anywhere");

/// A temporary folder with a scripted model; removed at the end, with a check that no process
/// of it is left.
pub struct World {
    pub dir: PathBuf,
    pub model: Model,
    /// The address of its database, where that is on a server.
    pub database: Option<String>,
    /// The program.
    pub program: String,
}

impl World {
    /// A world with its database in a file. With `TEST_DATABASE=postgres` it is on a server: so all tests can be tried on
    /// it, but for those that are about the file.
    pub fn new() -> Self {
        let is_server = std::env::var("TEST_DATABASE").is_ok_and(|kind| kind == "postgres");
        let database = is_server.then(|| Cluster::shared().url(&Cluster::shared().database()));
        Self::with(database)
    }

    /// A world with a database of its own on the server that the tests share.
    pub fn on_postgres() -> Self {
        Self::with(Some(Cluster::shared().url(&Cluster::shared().database())))
    }

    /// A world with its database at this address, or in a file.
    pub fn with(database: Option<String>) -> Self {
        let dir = std::env::temp_dir().join(format!("cca-{}", uuid::Uuid::new_v4().simple()));
        for folder in ["home", "ws", "data", "witness"] {
            std::fs::create_dir_all(dir.join(folder)).expect("a temporary folder");
        }
        let dir = dir.canonicalize().expect("a temporary folder");
        Self { dir, model: Model::start(0), database, program: PROGRAM.to_owned() }
    }

    /// The folder that tasks may work in.
    pub fn ws(&self) -> PathBuf {
        self.dir.join("ws")
    }

    /// A file with a key for secrets, outside the data folder.
    pub fn key_of_secrets(&self) -> String {
        let file = self.dir.join("secrets-key");
        std::fs::write(&file, format!("{}\n", "5a".repeat(32))).expect("a file");
        std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600)).expect("closed");
        file.display().to_string()
    }

    /// The program with this world's environment, and nothing else of ours.
    pub fn command(&self, role: &str, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(role).current_dir(self.ws()).env_clear().envs(self.environment());
        command.envs(self.database.iter().map(|url| ("DATABASE_URL", url)));
        command.envs(settings.iter().copied());
        command
    }

    fn environment(&self) -> BTreeMap<&'static str, String> {
        let path = |path: PathBuf| path.display().to_string();
        BTreeMap::from([
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME", path(self.dir.join("home"))),
            ("CLAUDE_PATH", path(claude())),
            ("DB_PATH", path(self.dir.join("data/cc.db"))),
            ("WORKSPACE_ROOTS", path(self.ws())),
            ("ANTHROPIC_BASE_URL", self.model.url.clone()),
            ("ANTHROPIC_API_KEY", "sk-test-not-real".to_owned()),
            ("CLAUDE_CODE_MAX_RETRIES", "0".to_owned()),
            ("AGENT_WRITE", path(self.dir.join("witness"))),
            ("PORT", "0".to_owned()),
            ("LOG_LEVEL", "debug".to_owned()),
        ])
    }

    /// Starts the API and waits until it listens.
    pub fn serve(&self, mode: &str, settings: &[(&str, &str)]) -> Server {
        let mut command = self.command("serve", settings);
        command.arg("--mode").arg(mode);
        let process = Process::start(command);
        let set = settings.iter().find(|(name, _)| *name == "API_KEY").map(|(_, key)| (*key).to_owned());
        // The key is made before that, where none is set.
        process.wait_log("Listening url=");
        let key = set.unwrap_or_else(|| std::fs::read_to_string(self.dir.join("data/api-key")).expect("a key"));
        let server = Server::listening(process, &key);
        if mode == "managed" {
            until("the workers to be linked", || (server.get("/health")["status"] == "healthy").then_some(()));
        }
        server
    }

    /// Starts a standalone worker and waits until it works.
    pub fn worker(&self, settings: &[(&str, &str)]) -> Process {
        let process = Process::start(self.command("worker", settings));
        process.wait_log("[Worker] Started");
        process
    }

    /// Every process whose home is in this world: programs, shims, CLIs, and whatever they started.
    /// Processes of this world with this word in their command lines.
    pub fn processes_with(&self, word: &str) -> Vec<u32> {
        self.processes().into_iter().filter(|pid| command_line(*pid).contains(word)).collect()
    }

    pub fn processes(&self) -> Vec<u32> {
        let mark = format!("HOME={}/", self.dir.display());
        processes(|environ| environ.split(|byte| *byte == 0).any(|entry| entry.starts_with(mark.as_bytes())))
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let left = poll(Duration::from_secs(10), || self.processes().is_empty().then_some(()));
        let names: Vec<_> = self.processes().into_iter().map(command_line).collect();
        for pid in self.processes() {
            signal(pid, "KILL");
        }
        std::fs::remove_dir_all(&self.dir).ok();
        if left.is_none() && !std::thread::panicking() {
            panic!("processes are left: {names:#?}");
        }
    }
}

/// The pinned CLI: `make test` has fetched it.
pub fn claude() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/node_modules/.bin/claude");
    assert!(path.exists(), "no CLI in .tools: run `make tools`");
    path
}

/// A stand-in of the CLI that starts at once, for faults by the hundred.
pub fn scripted_claude() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/scripted-claude.sh").display().to_string()
}

/// Holds the history of a world against the promises, and what the witness saw. Returns what
/// the program says.
pub fn check_history(world: &World, args: &[&str]) -> String {
    let checked = world.command("check-history", &[]).args(args).output().expect("the program");
    let said = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success() && said.contains("broken promises: 0"), "{said} {checked:?}");
    let overlaps = std::fs::read_to_string(world.dir.join("witness/overlaps")).unwrap_or_default();
    assert_eq!(overlaps, "", "two trees of a task lived at a time");
    said
}

/// Chance that can be repeated: the same seed gives the same numbers (xorshift64*).
pub struct Dice {
    pub seed: u64,
    state: u64,
}

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self { seed, state: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1 }
    }

    /// A number below this one.
    pub fn roll(&mut self, below: u64) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) % below.max(1)
    }

    /// An index below this length.
    pub fn below(&mut self, length: usize) -> usize {
        usize::try_from(self.roll(length as u64)).expect("small")
    }
}

/// A process of the program, and what it logs.
pub struct Process {
    child: Child,
    logs: Arc<(Mutex<Vec<String>>, Condvar)>,
}

impl Process {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("the program");
        let logs: Arc<(Mutex<Vec<String>>, Condvar)> = Arc::default();
        let (stdout, to) = (child.stdout.take().expect("its output"), Arc::clone(&logs));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                to.0.lock().expect("logs").push(line);
                to.1.notify_all();
            }
        });
        Self { child, logs }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line with this text.
    pub fn wait_log(&self, text: &str) -> String {
        let found = |lines: &Vec<String>| lines.iter().find(|line| line.contains(text)).cloned();
        let lines = self.logs.0.lock().expect("logs");
        let (lines, timeout) =
            self.logs.1.wait_timeout_while(lines, LIMIT, |lines| found(lines).is_none()).expect("logs");
        if timeout.timed_out() {
            let all = lines.join("\n");
            // Not with the lock: our end prints the log.
            drop(lines);
            panic!("no line with \"{text}\" in:\n{all}");
        }
        found(&lines).expect("found")
    }

    pub fn logs(&self) -> String {
        self.logs.0.lock().expect("logs").join("\n")
    }

    pub fn signal(&self, name: &str) {
        signal(self.pid(), name);
    }

    pub fn lives(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end and returns the exit code, or minus the signal.
    pub fn wait(&mut self) -> i32 {
        use std::os::unix::process::ExitStatusExt;
        let status = until("the process to end", || self.child.try_wait().expect("a child"));
        status.code().unwrap_or_else(|| -status.signal().unwrap_or(0))
    }
}

impl Drop for Process {
    /// Ends it as an operator in a hurry would, so that what it started ends with it.
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- log of {} ---\n{}", self.pid(), self.logs());
        }
        for _ in 0..2 {
            if matches!(self.child.try_wait(), Ok(None)) {
                self.signal("CONT");
                self.signal("INT");
                poll(Duration::from_secs(2), || self.child.try_wait().ok().flatten());
            }
        }
        if poll(Duration::from_secs(20), || self.child.try_wait().ok().flatten()).is_none() {
            self.child.kill().ok();
            self.child.wait().ok();
            if !std::thread::panicking() {
                panic!("the program did not stop; its log:\n{}", self.logs());
            }
        }
    }
}

/// A running API.
pub struct Server {
    pub process: Process,
    pub http: Client,
}

impl Server {
    /// Waits until the process listens.
    pub fn listening(process: Process, key: &str) -> Self {
        let line = process.wait_log("Listening url=");
        let url = line.split("url=").nth(1).and_then(|rest| rest.split(' ').next()).expect("a url");
        let http = Client::new(url, key);
        Self { process, http }
    }

    pub fn get(&self, path: &str) -> Value {
        self.http.ask("GET", path, None).1
    }

    /// Submits and returns the id.
    pub fn submit(&self, body: Value) -> String {
        let (status, answer) = self.http.ask("POST", "/api/tasks", Some(body));
        assert_eq!(status, 202, "{answer}");
        answer["taskId"].as_str().expect("an id").to_owned()
    }

    pub fn task(&self, id: &str) -> Value {
        self.get(&format!("/api/tasks/{id}"))
    }

    /// Follows the events of a task until one is right; `None` when the stream ends before.
    pub fn follow(&self, id: &str, is_right: impl Fn(&Value) -> bool) -> Option<Value> {
        self.http.events(&format!("/api/tasks/{id}/events"), None).find(is_right)
    }

    /// Follows a task until the model has called a tool.
    pub fn wait_tool(&self, id: &str) {
        self.follow(id, |event| event["kind"] == "tool_use").expect("a tool call");
    }

    /// Follows a task to its end and returns it.
    pub fn wait_end(&self, id: &str) -> Value {
        let started = Instant::now();
        loop {
            self.http.events(&format!("/api/tasks/{id}/events"), None).for_each(drop);
            let task = self.task(id);
            if ["completed", "failed", "cancelled"].iter().any(|status| task["status"] == *status) {
                return task;
            }
            let logs = self.get(&format!("/api/tasks/{id}/logs"));
            assert!(started.elapsed() < 2 * LIMIT, "the task did not end: {task:#} {logs:#}");
        }
    }

    pub fn worker_pid(&self, name: &str) -> u32 {
        let worker = self.get(&format!("/api/workers/{name}"));
        worker["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok()).unwrap_or_else(|| panic!("{worker}"))
    }
}

/// A task in this folder whose model takes these steps; it may use Bash.
pub fn task(folder: &Path, name: &str, steps: &[&str]) -> Value {
    let steps: Vec<_> = steps.iter().map(|step| format!("step {step}")).collect();
    json!({
        "instruction": format!("{name}\n{}", steps.join("\n")),
        "context": { "workingDirectory": folder },
        "options": { "sdk": { "allowedTools": ["Bash"] } },
    })
}

/// Waits for what has no event of its own.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    poll(LIMIT, look).unwrap_or_else(|| panic!("waited in vain for {what}"))
}

pub fn poll<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let until = Instant::now() + limit;
    loop {
        match look() {
            Some(found) => return Some(found),
            None if Instant::now() > until => return None,
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Sends a signal; that the process is gone already is no error.
pub fn signal(pid: u32, name: &str) {
    let signal = match name {
        "KILL" => Signal::KILL,
        "TERM" => Signal::TERM,
        "INT" => Signal::INT,
        "STOP" => Signal::STOP,
        "CONT" => Signal::CONT,
        other => panic!("no signal {other}"),
    };
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
    match rustix::process::kill_process(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("{error}"),
    }
}

/// The processes whose command line contains this text.
pub fn running(text: &str) -> Vec<u32> {
    let me = std::process::id();
    processes(|_| true).into_iter().filter(|pid| *pid != me && command_line(*pid).contains(text)).collect()
}

fn processes(is_ours: impl Fn(&[u8]) -> bool) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| std::fs::read(format!("/proc/{pid}/environ")).is_ok_and(|environ| is_ours(&environ)))
        .filter(|pid| !command_line(*pid).is_empty())
        .collect()
}

pub fn command_line(pid: u32) -> String {
    let bytes = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&bytes).replace('\0', " ").trim().to_owned()
}
