//! What people would use instead (`benches/peers`), and the servers that they need, each as long as it is here.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::server::{Peer, scratch};

/// How long a server has until it listens.
const START: Duration = Duration::from_secs(20);

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port()
}

/// A program on the PATH, or where Debian has those of PostgreSQL.
fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let folders = path.split(':').map(PathBuf::from).chain(debian.map(|version| version.path().join("bin")));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        println!("not here, left out: {name}");
    }
    found
}

/// A server that peers keep their jobs in.
pub struct Backend {
    child: Child,
    dir: PathBuf,
    /// What a peer is told.
    pub address: String,
}

impl Backend {
    fn wait(child: Child, dir: PathBuf, address: String, port: u16) -> Self {
        let until = Instant::now() + START;
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "{address} does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { child, dir, address }
    }

    /// Redis with an append-only file that is synced `always` or `everysec`.
    pub fn redis(sync: &str) -> Option<Self> {
        let (program, dir, port) = (find("redis-server")?, scratch(), free_port());
        let mut command = Command::new(program);
        command.args(["--bind", "127.0.0.1", "--port", &port.to_string(), "--save", "", "--appendonly", "yes"]);
        command.args(["--appendfsync", sync, "--dir"]).arg(&dir);
        let child = command.stdout(Stdio::null()).spawn().expect("redis");
        Some(Self::wait(child, dir, port.to_string(), port))
    }

    /// The same server, and another database on it.
    pub fn database(&self, name: &str) -> String {
        let made = Command::new("psql").args([&*self.address, "-qc", &format!("CREATE DATABASE {name}")]).output();
        let made = made.expect("psql");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        self.address.rsplit_once('/').map_or_else(String::new, |(server, _)| format!("{server}/{name}"))
    }

    /// Fills a database of ours with tasks that have ended, from one number to another, and ten events of each.
    pub fn fill(url: &str, from: u32, to: u32) {
        let sql = format!(
            "INSERT INTO tasks (id, status, spec, priority, created_at, completed_at, attempt, finished_attempts, crashes,
                max_attempts, epoch, last_event, attempt_events, key_name, own_directory, exclusive, pending_messages)
            SELECT ('01890000-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                'completed', '{{\"instruction\":\"x\"}}', 0, n, n, 1, 1, 0, 3, 1, 10, 10, 'default', TRUE, FALSE, 0
            FROM generate_series({from} + 1, {to}) n;
            INSERT INTO task_counts VALUES ('default', 'completed', {to} - {from});
            INSERT INTO events (task_id, seq, at, kind, data)
            SELECT ('01890000-' || lpad(to_hex(n / 65536), 4, '0') || '-7' || lpad(to_hex(n % 4096), 3, '0') || '-8000-' || lpad(to_hex(n), 12, '0'))::uuid,
                seq, n, 'log', '{{\"message\":\"' || repeat('x', 120) || '\"}}'
            FROM generate_series({from} + 1, {to}) n, generate_series(1, 10) seq;
            ANALYZE"
        );
        for statement in sql.split(';') {
            let ran = Command::new("psql").args([url, "-qc", statement]).output().expect("psql");
            assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        }
    }

    /// Seconds of a core that the server and all its processes have used.
    pub fn cpu_seconds(&self) -> f64 {
        let parent = self.child.id();
        let ticks = |pid: u32| -> Option<(u32, u64)> {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let words: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            // With the children that have ended.
            let used = words.get(11..15)?.iter().filter_map(|word| word.parse::<u64>().ok()).sum();
            Some((words.get(1)?.parse().ok()?, used))
        };
        let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let used: u64 = pids
            .filter_map(|pid| ticks(pid).filter(|(above, _)| *above == parent || pid == parent))
            .map(|(_, used)| used)
            .sum();
        used as f64 / rustix::param::clock_ticks_per_second() as f64
    }

    /// PostgreSQL as it is by default: it doesn't run as root.
    pub fn postgres() -> Option<Self> {
        Self::postgres_with(&[])
    }

    /// The same, with these settings.
    pub fn postgres_with(settings: &[&str]) -> Option<Self> {
        let (initdb, postgres, dir, port) = (find("initdb")?, find("postgres")?, scratch(), free_port());
        let as_other = |program: &Path| {
            if !rustix::process::geteuid().is_root() {
                return Command::new(program);
            }
            let mut command = Command::new("setpriv");
            command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups"]).arg(program);
            command
        };
        if rustix::process::geteuid().is_root() {
            assert!(Command::new("chown").arg("postgres").arg(&dir).status().expect("chown").success());
        }
        let data = dir.join("data");
        let made = as_other(&initdb).args(["-A", "trust", "-U", "postgres", "-D"]).arg(&data).output().expect("initdb");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut command = as_other(&postgres);
        command
            .arg("-D")
            .arg(&data)
            .args(["-c", "listen_addresses=127.0.0.1", "-p", &port.to_string(), "-k"])
            .arg(&dir)
            .args(settings.iter().flat_map(|setting| ["-c", setting]));
        let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("postgres");
        Some(Self::wait(child, dir, format!("postgres://postgres@127.0.0.1:{port}/postgres"), port))
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        // INT ends both of them at once, in order.
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("it runs");
        self.child.wait().expect("an end");
        std::fs::remove_dir_all(&self.dir).ok();
    }
}

/// `node peers.mjs` with these arguments, where the packages are installed.
pub fn command(args: &[&str]) -> Option<Command> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(".tools/peers");
    if !folder.join("node_modules").exists() {
        println!("not here, left out: {} (`make bench` installs it)", args[0]);
        return None;
    }
    let mut command = Command::new(find("node")?);
    command.arg(folder.join("peers.mjs")).args(args).stderr(Stdio::null());
    Some(command)
}

/// The peers that are here, as servers in this role, with the names under which they are listed.
pub fn servers(role: &str, extra: &str) -> Vec<(&'static str, Peer, Backend)> {
    let redis = |sync| Backend::redis(sync);
    let kinds: [(&str, &str, Option<Backend>); 4] = [
        ("BullMQ, everysec", "bullmq", redis("everysec")),
        ("BullMQ, always", "bullmq", redis("always")),
        ("pg-boss", "pg-boss", Backend::postgres()),
        ("graphile-worker", "graphile-worker", Backend::postgres()),
    ];
    let start = |(name, kind, backend): (&'static str, &str, Option<Backend>)| {
        let backend = backend?;
        let command = command(&[kind, role, &backend.address, extra])?;
        Some((name, Peer::of(command), backend))
    };
    kinds.into_iter().filter_map(start).collect()
}
