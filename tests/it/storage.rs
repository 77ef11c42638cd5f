//! What happens to the database from outside: a full disk, a lock, damage, loss.

#![expect(clippy::disallowed_methods, reason = "the disk and its reader are made by other programs")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, Instant};

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::support::{Process, Server, World, check_history, task, until};

const KEY: &str = "a-key-for-the-storage-tests";

impl World {
    /// Runs a command of the program to its end.
    fn admin(&self, args: &[&str], settings: &[(&str, &str)]) -> Output {
        self.command(args[0], settings).args(&args[1..]).output().expect("the program")
    }

    /// The API on a disk of its own of so many MB, and where that is seen from here.
    fn serve_on_a_small_disk(&self, size: u32) -> (Server, PathBuf) {
        let script = format!("mount -t tmpfs -o size={size}m tmpfs \"$0\" && exec \"$@\"");
        let mut command = std::process::Command::new("unshare");
        if !rustix::process::geteuid().is_root() {
            command.arg("--map-root-user");
        }
        let data = self.dir.join("data");
        command.args(["--mount", "sh", "-c", &script]).arg(&data).arg(crate::support::PROGRAM);
        let inner = self.command("serve", &[("API_KEY", KEY), ("QUEUE_CONCURRENCY", "1")]);
        command.args(["serve", "--mode", "inline"]).current_dir(self.ws()).env_clear();
        command.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let process = Process::start(command);
        let server = Server::listening(process, KEY);
        let seen = PathBuf::from(format!("/proc/{}/root{}", server.process.pid(), data.display()));
        (server, seen)
    }

    /// Stops the API at once, with its database as it stands.
    fn kill(mut server: Server) {
        server.process.signal("KILL");
        server.process.wait();
    }

    /// Starts the API, which refuses: the exit code, and what it says.
    fn refused(&self, settings: &[(&str, &str)]) -> String {
        let output = self.admin(&["serve", "--mode", "inline"], settings);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(said.trim().lines().count(), 1, "one clear line: {said}");
        said
    }
}

/// Writes until the disk takes no more.
fn fill(file: &Path) {
    let mut filler = fs::File::create(file).expect("a file");
    for block in [vec![0; 1 << 20], vec![0; 1 << 12], vec![0; 1]] {
        while filler.write_all(&block).is_ok() {}
    }
}

fn refused_for_the_store((status, answer): (u16, Value)) {
    assert_eq!((status, &answer["error"]["code"]), (503, &json!("STORE_UNAVAILABLE")), "{answer}");
}

#[test]
fn a_full_disk_refuses_tasks_and_loses_nothing() {
    let world = World::new();
    let (server, data) = world.serve_on_a_small_disk(32);
    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let running = server.submit(task(&world.ws(), "long", &[&wait, "say done"]));
    server.wait_tool(&running);
    let doomed = server.submit(task(&world.ws(), "doomed", &["say never"]));
    let waits = server.submit(task(&world.ws(), "waits", &["say waited"]));
    fill(&data.join("filler"));
    // The database still has some pages of its own; then the disk is full.
    let body = || Some(task(&world.ws(), "more", &["say more"]));
    let mut accepted = vec![waits];
    let refused = loop {
        match server.http.ask("POST", "/api/tasks", body()) {
            (202, answer) => accepted.push(answer["taskId"].as_str().expect("an id").to_owned()),
            other => break other,
        }
    };
    refused_for_the_store(refused);
    assert!(!data.join("cc.db-reserve").exists(), "the reserve was spent");
    // What brings a task to its end is stored all the same.
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{doomed}"), None).0, 200);
    refused_for_the_store(server.http.ask("POST", "/api/tasks", body()));
    fs::write(world.ws().join("go"), "").expect("a file");
    // What runs comes to its end, and everything says why nothing else begins.
    assert_eq!(server.wait_end(&running)["result"], "done");
    let health = until("the health to say so", || {
        let (status, health) = server.http.ask("GET", "/health", None);
        (status == 503).then_some(health)
    });
    assert_eq!(health["status"], "unhealthy", "{health:#}");
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("disk")), "{health:#}");
    let why = server.get(&format!("/api/tasks/{}/explain", accepted[0]));
    assert_eq!((&why["status"], &why["reasons"][0]["code"]), (&json!("pending"), &json!("DISK_FULL")), "{why:#}");
    assert!(server.process.logs().lines().count() < 60, "{}", server.process.logs());
    fs::remove_file(data.join("filler")).expect("removed");
    let freed = Instant::now();
    until("new tasks to be accepted", || (server.http.ask("POST", "/api/tasks", body()).0 == 202).then_some(()));
    assert!(freed.elapsed() < Duration::from_secs(3), "{:?}", freed.elapsed());
    for id in &accepted {
        assert_eq!(server.wait_end(id)["status"], "completed");
    }
    assert_eq!(server.task(&doomed)["status"], "cancelled");
    until("the reserve to be set aside again", || data.join("cc.db-reserve").exists().then_some(()));
    let last = server.submit(task(&world.ws(), "again", &["say again"]));
    assert_eq!(server.wait_end(&last)["status"], "completed");
    // Where the disk is seen as the server sees it.
    let pid = server.process.pid().to_string();
    let mut check = std::process::Command::new("nsenter");
    if !rustix::process::geteuid().is_root() {
        check.args(["--user", "--preserve-credentials"]);
    }
    check.args(["--mount", "--target", &pid, crate::support::PROGRAM, "check-history", "--settled"]);
    let inner = world.command("check-history", &[]);
    check.env_clear().envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let checked = check.output().expect("nsenter");
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn a_small_disk_takes_tasks_or_says_why_not() {
    for size in [8, 10, 15] {
        let world = World::new();
        let (server, _) = world.serve_on_a_small_disk(size);
        let done = server.wait_end(&server.submit(task(&world.ws(), "fits", &["say done"])));
        assert_eq!(done["status"], "completed", "{size} MB: {done:#}");
        assert_eq!(server.http.ask("GET", "/health/ready", None).0, 200, "{size} MB");
        // Until it is full: then every place says so.
        let long = "x".repeat(200_000);
        let body = || Some(json!({ "instruction": long, "runAt": "2125-01-01T00:00:00Z" }));
        let refused =
            (0..400).map(|_| server.http.ask("POST", "/api/tasks", body())).find(|(status, _)| *status != 202);
        refused_for_the_store(refused.expect("no disk takes all of it"));
        let health = until("the health to say so", || {
            let (status, health) = server.http.ask("GET", "/health/ready", None);
            (status == 503).then_some(health)
        });
        assert!(health["reason"].as_str().is_some_and(|why| why.contains("disk")), "{size} MB: {health:#}");
    }
}

#[test]
fn slow_a_locked_database_is_said_and_waited_for() {
    let world = World::new();
    let server = world.serve("inline", &[("API_KEY", KEY)]);
    let wait = format!("bash while ! test -e {}/go; do sleep 0.05; done", world.ws().display());
    let running = server.submit(task(&world.ws(), "long", &[&wait, "say done"]));
    server.wait_tool(&running);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let database = format!("sqlite:{}", world.dir.join("data/cc.db").display());
    let lock = runtime.block_on(sea_orm::Database::connect(database)).expect("a database");
    runtime.block_on(lock.execute_unprepared("BEGIN IMMEDIATE")).expect("a lock");
    refused_for_the_store(server.http.ask("POST", "/api/tasks", Some(task(&world.ws(), "no", &["say no"]))));
    fs::write(world.ws().join("go"), "").expect("a file");
    server.process.wait_log("the store");
    runtime.block_on(lock.execute_unprepared("ROLLBACK")).expect("unlocked");
    assert_eq!(server.wait_end(&running)["status"], "completed");
    let page = server.get("/api/tasks");
    assert_eq!(page["total"], 1, "what was refused is not there: {page}");
    check_history(&world, &["--settled"]);
}

#[test]
fn a_backup_is_whole_and_old_tasks_can_be_removed() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    let own = server.submit(json!({ "instruction": "step say one", "tags": ["old"] }));
    let folder = server.wait_end(&own)["workingDirectory"].as_str().map(PathBuf::from).expect("a folder");
    let waiting = server.submit(json!({ "instruction": "step say two", "runAt": "2100-01-01T00:00:00Z" }));
    assert_eq!(server.http.bytes("POST", "/api/files", &[], Some(b"kept")).0, 201);
    let copy = world.dir.join("copy.db").display().to_string();
    assert!(world.admin(&["backup", &copy], &[]).status.success());
    let again = world.admin(&["backup", &copy], &[]);
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already"), "{again:?}");
    let pruned = world.admin(&["prune", "--older-than", "0"], &[]);
    assert_eq!(String::from_utf8_lossy(&pruned.stdout), "1 tasks were removed\n");
    assert!(!folder.exists());
    assert_eq!(server.http.ask("GET", &format!("/api/tasks/{own}"), None).0, 404);
    assert_eq!(server.task(&waiting)["status"], "pending");
    assert_eq!(server.http.ask("DELETE", &format!("/api/tasks/{waiting}"), None).0, 200);
    check_history(&world, &["--settled"]);
    drop(server);
    let restored = world.serve("inline", &[("DB_PATH", &copy), ("API_KEY", KEY)]);
    assert_eq!(restored.task(&own)["status"], "completed");
    assert_eq!(restored.task(&waiting)["status"], "pending");
    let files = restored.get("/api/files");
    let id = files["files"][0]["fileId"].as_str().expect("an id");
    assert_eq!(restored.http.raw(&format!("/api/files/{id}/content")), (200, b"kept".to_vec()));
}

#[test]
fn a_database_that_must_not_be_used_is_refused_and_left_alone() {
    let world = World::new();
    let file = world.dir.join("data/cc.db");
    let server = world.serve("inline", &[]);
    server.wait_end(&server.submit(json!({ "instruction": "step say one" })));
    drop(server);
    let sound = fs::read(&file).expect("a database");

    let mut damaged = sound.clone();
    let middle = damaged.len() / 2;
    damaged[middle..].fill(0xAB);
    let text = b"This is no database, however long one looks at it.".to_vec();
    for (bytes, why) in [(damaged, "is damaged"), (text, "it is no SQLite database")] {
        fs::write(&file, &bytes).expect("written");
        let said = world.refused(&[]);
        assert!(said.contains(why) && said.contains("cc.db"), "{said}");
        assert_eq!(fs::read(&file).expect("a file"), bytes, "it was left alone");
    }
    fs::remove_file(&file).expect("removed");
    assert!(world.refused(&[]).contains("has lost its newest changes"), "the mark knows that it was there");
    fs::create_dir(&file).expect("a folder");
    assert!(world.refused(&[]).contains("can't write to the database"));
    fs::remove_dir(&file).expect("removed");

    fs::write(&file, &sound).expect("written");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let db = sea_orm::Database::connect(format!("sqlite:{}", file.display())).await.expect("a database");
        let newer = "INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_newer', 0)";
        db.execute_unprepared(newer).await.expect("a row");
        db.close().await.expect("closed");
    });
    let newer = fs::read(&file).expect("a file");
    assert!(world.refused(&[]).contains("newer version"));
    assert_eq!(fs::read(&file).expect("a file"), newer, "it was left alone");
}

#[test]
fn a_database_that_lost_its_wal_is_refused_until_the_loss_is_accepted() {
    let world = World::new();
    let server = world.serve("inline", &[]);
    server.wait_end(&server.submit(json!({ "instruction": "step say one" })));
    let mark = || fs::read_to_string(world.dir.join("data/cc.db-mark")).unwrap_or_default();
    let before = mark();
    server.submit(json!({ "instruction": "later", "runAt": "2100-01-01T00:00:00Z" }));
    until("the mark to move", || (mark() != before).then_some(()));
    World::kill(server);
    fs::remove_file(world.dir.join("data/cc.db-wal")).expect("a WAL");
    let said = world.refused(&[]);
    assert!(said.contains("has lost its newest changes") && said.contains("ACCEPT_LOSS=on"), "{said}");
    let server = world.serve("inline", &[("ACCEPT_LOSS", "on")]);
    server.wait_end(&server.submit(json!({ "instruction": "step say three" })));
}
