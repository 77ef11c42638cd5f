//! PostgreSQL servers in temporary folders, stopped and removed at the end of the process, however it ends.

#![expect(clippy::disallowed_methods, reason = "tests start servers as people do")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};

/// A server.
pub struct Cluster {
    /// Its folder.
    pub folder: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    script: Mutex<(Child, BufReader<ChildStdout>)>,
}

impl Cluster {
    /// The server that the tests of this process share; each has a database of its own there.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&[]))
    }

    /// Starts one, with these settings besides.
    pub fn start(settings: &[&str]) -> Self {
        Self::run(None, settings)
    }

    /// Starts a replica.
    pub fn replica(&self, settings: &[&str]) -> Self {
        Self::run(Some(format!("127.0.0.1:{}", self.port)), settings)
    }

    fn run(base: Option<String>, settings: &[&str]) -> Self {
        let name = format!("cca-pg-{}", uuid::Uuid::new_v4().simple());
        let folder = std::env::temp_dir().join(name);
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/support/cluster.sh");
        let mut script = Command::new(script)
            .arg(&folder)
            .arg(port.to_string())
            .args(settings)
            .envs(base.map(|base| ("BASE", base)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let answers = BufReader::new(script.stdout.take().expect("a pipe"));
        let cluster = Self { folder, port, script: Mutex::new((script, answers)) };
        cluster.hear("the start (is the package postgresql installed?)");
        cluster
    }

    fn hear(&self, what: &str) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        let mut answer = String::new();
        script.1.read_line(&mut answer).expect("an answer");
        assert_eq!(answer.trim_end(), "ok", "{what}");
    }

    /// Runs a command of `pg_ctl`, and waits for its end.
    pub fn control(&self, command: &str) {
        {
            let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
            let stdin = script.0.stdin.as_mut().expect("a pipe");
            writeln!(stdin, "{command}").expect("a script that reads");
        }
        self.hear(command);
    }

    fn psql(&self, database: &str, sql: &str) -> Command {
        let mut psql = Command::new("psql");
        psql.args(["-h", "127.0.0.1", "-p", &self.port.to_string(), "-U", "cca", "-d", database]);
        psql.args(["-qAtX", "-v", "ON_ERROR_STOP=1", "-c", sql]);
        psql
    }

    /// Runs SQL in a database beside the test. The server may end it.
    pub fn client(&self, database: &str, sql: &str) -> Child {
        let mut psql = self.psql(database, sql);
        psql.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("psql")
    }

    /// Runs SQL in a database, and returns what it prints.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let ran = self.psql(database, sql).output().expect("psql");
        assert!(ran.status.success(), "{sql}: {}", String::from_utf8_lossy(&ran.stderr));
        String::from_utf8_lossy(&ran.stdout).trim_end().to_owned()
    }

    /// Makes a database, and returns its name.
    pub fn database(&self) -> String {
        let name = format!("t{}", uuid::Uuid::new_v4().simple());
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The address of a database.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://cca@127.0.0.1:{}/{database}", self.port)
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
        drop(script.0.stdin.take());
        script.0.wait().ok();
    }
}
