//! The database on a server: what breaks there, and what comes of it.

#![expect(clippy::disallowed_methods, reason = "a pool and certificates are made by programs")]

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use serde_json::{Value, json};

use crate::modes::writes_a_file;
use crate::support::postgres::Cluster;
use crate::support::wire::Wire;
use crate::support::{Server, World, check_history, poll, scripted_claude, signal, task, until};

#[test]
fn a_task_writes_a_file_inline() {
    let world = World::on_postgres();
    writes_a_file(&world, &world.serve("inline", &[]));
    check_history(&world, &["--settled"]);
}

#[test]
fn a_task_writes_a_file_managed() {
    let world = World::on_postgres();
    writes_a_file(&world, &world.serve("managed", &[]));
    check_history(&world, &["--settled"]);
}

const JSON: [(&str, &str); 1] = [("content-type", "application/json")];

/// A quick task of the scripted CLI.
fn quick() -> Value {
    json!({ "instruction": "quick", "options": { "retry": { "initialDelay": 20, "maxDelay": 200 } } })
}

pub fn ends_well(server: &Server, id: &str) {
    let done = server.wait_end(id);
    assert_eq!(done["status"], "completed", "{done:#}");
}

#[test]
fn a_server_that_is_down_at_the_start_is_waited_for() {
    let cluster = Cluster::start(&[]);
    let world = World::with(Some(cluster.url(&cluster.database())));
    cluster.control("stop -m fast");
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    let (status, health) = server.http.ask("GET", "/health", None);
    assert_eq!((status, &health["status"]), (503, &json!("unhealthy")), "{health:#}");
    assert!(health["reason"].as_str().is_some_and(|why| why.contains("can't be reached")), "{health:#}");
    let (status, headers, refused) = server.http.send("POST", "/api/tasks", &JSON, Some(&quick().to_string()));
    assert!(status == 503 && headers.contains_key("retry-after"), "{status} {refused:#}");
    cluster.control("start");
    until("the server to be found", || (server.get("/health")["status"] == "healthy").then_some(()));
    ends_well(&server, &server.submit(quick()));
}

#[test]
fn a_restart_of_the_server_loses_nothing() {
    let cluster = Cluster::start(&[]);
    let world = World::with(Some(cluster.url(&cluster.database())));
    let server = world.serve("inline", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done; echo went", go.display());
    let id = server.submit(task(&world.ws(), "long", &[&bash, "say done"]));
    server.wait_tool(&id);
    cluster.control("stop -m immediate");
    let (status, _) = server.http.ask("POST", "/api/tasks", Some(task(&world.ws(), "refused", &["say x"])));
    assert_eq!(status, 503);
    cluster.control("start");
    until("the server to be found", || (server.get("/health")["status"] == "healthy").then_some(()));
    std::fs::write(go, "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
    let next = server.submit(task(&world.ws(), "next", &["say x"]));
    ends_well(&server, &next);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_commit_that_is_cut_is_stored_once_or_not_at_all_and_the_answer_says_which() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let wire = Wire::to(cluster.port);
    let world = World::with(Some(format!("postgres://cca@127.0.0.1:{}/{database}", wire.port)));
    let server = world.serve("standalone", &[]);
    let mut accepted = Vec::new();
    for round in 0..24 {
        wire.cut_at_commit(round % 3, round % 2 == 0);
        for _ in 0..4 {
            match server.http.ask("POST", "/api/tasks", Some(quick())) {
                (202, answer) => accepted.push(answer["taskId"].as_str().expect("an id").to_owned()),
                (503, _) => {}
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(wire.cuts() >= 20, "{} commits were cut", wire.cuts());
    wire.cut_at_commit(-1, false);
    let stored = cluster.sql(&database, "SELECT id FROM tasks ORDER BY id");
    let mut stored: Vec<&str> = stored.lines().collect();
    stored.sort_unstable();
    accepted.sort_unstable();
    assert_eq!(stored, accepted, "what is stored is what was accepted");
    // Twelve are cut late, a few of them by work of the server itself, which leaves no history.
    let asked_for = server.process.logs().matches("it has happened").count();
    assert!(asked_for >= 8, "a commit whose answer was lost is asked for: {asked_for}");
    check_history(&world, &[]);
}

#[test]
fn a_number_that_a_crashed_server_gives_anew_says_nothing_of_a_commit() {
    let cluster = Cluster::start(&["fsync=on"]);
    let database = cluster.database();
    let wire = Wire::to(cluster.port);
    let world = World::with(Some(format!("postgres://cca@127.0.0.1:{}/{database}", wire.port)));
    let server = world.serve("standalone", &[]);
    let before = server.submit(quick());
    wire.shut_at_commit();
    let (status, answer) = std::thread::scope(|scope| {
        let submit = scope.spawn(|| server.http.ask("POST", "/api/tasks", Some(quick())));
        until("the cut", || (wire.cuts() == 1).then_some(()));
        // The server forgets the transaction, and its number with it, which others get and commit.
        cluster.control("stop -m immediate");
        cluster.control("start");
        let others = "DO $$ BEGIN FOR i IN 1..500 LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP; END $$";
        cluster.sql("postgres", others);
        wire.open();
        submit.join().expect("an answer")
    });
    assert_eq!(status, 503, "{answer:#}");
    assert_eq!(cluster.sql(&database, "SELECT id FROM tasks"), before);
    until("the next submit", || (server.http.ask("POST", "/api/tasks", Some(quick())).0 == 202).then_some(()));
    check_history(&world, &[]);
}

#[test]
fn slow_a_replica_that_is_promoted_goes_on_with_everything() {
    let primary = Cluster::start(&["synchronous_standby_names='*'", "synchronous_commit=local"]);
    let database = primary.database();
    let replica = primary.replica(&["hot_standby=on"]);
    // Over what the server was started with: without a replica nothing could be set up.
    primary.sql("postgres", &format!("ALTER DATABASE {database} SET synchronous_commit = 'on'"));
    assert_eq!(primary.sql(&database, "SHOW synchronous_commit"), "on");
    let url = format!("postgres://cca@127.0.0.1:{},127.0.0.1:{}/{database}", primary.port, replica.port);
    let world = World::with(Some(url));
    let server = world.serve("inline", &[]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done; echo went", go.display());
    let id = server.submit(task(&world.ws(), "long", &[&bash, "say done"]));
    server.wait_tool(&id);
    let before: Vec<String> = (0..5).map(|_| server.submit(task(&world.ws(), "before", &["say x"]))).collect();
    primary.control("stop -m immediate");
    // What waits for a standby on the new one would wait for ever.
    replica.control("promote");
    replica.sql("postgres", "ALTER SYSTEM SET synchronous_standby_names = ''");
    replica.sql("postgres", "SELECT pg_reload_conf()");
    std::fs::write(go, "").expect("a file");
    until("the replica to be found", || (server.get("/health")["status"] == "healthy").then_some(()));
    let done = server.wait_end(&id);
    assert_eq!((&done["status"], &done["attempt"]), (&json!("completed"), &json!(1)), "{done:#}");
    for id in &before {
        ends_well(&server, id);
    }
    check_history(&world, &["--settled"]);
}

#[test]
fn a_notification_that_is_lost_costs_a_second_and_nothing_else() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let wire = Wire::to(cluster.port);
    let world = World::with(Some(cluster.url(&database)));
    let server = world.serve("standalone", &[]);
    let listen = format!("postgres://cca@127.0.0.1:{}/{database}", wire.port);
    let _worker = world.worker(&[("DATABASE_LISTEN_URL", &listen), ("CLAUDE_PATH", &scripted_claude())]);
    ends_well(&server, &server.submit(quick()));
    wire.freeze(true);
    for _ in 0..3 {
        ends_well(&server, &server.submit(quick()));
    }
}

#[test]
fn a_schema_from_the_future_is_refused() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let world = World::with(Some(cluster.url(&database)));
    drop(world.serve("standalone", &[]));
    cluster.sql(&database, "INSERT INTO seaql_migrations VALUES ('p9999_future', 1)");
    let refused = world.command("serve", &[]).output().expect("the program");
    let said = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
    assert!(!refused.status.success() && said.contains("newer version") && said.contains("p9999_future"), "{said}");
}

#[test]
fn many_that_start_at_once_make_the_schema_once() {
    let world = World::on_postgres();
    let servers: Vec<Server> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..4).map(|_| scope.spawn(|| world.serve("standalone", &[]))).collect();
        started.into_iter().map(|server| server.join().expect("a server")).collect()
    });
    let made = servers.iter().filter(|server| server.process.logs().contains("was brought up to date")).count();
    assert_eq!(made, 1);
    let id = servers[0].submit(quick());
    assert_eq!(servers[3].task(&id)["status"], "pending");
}

fn openssl(folder: &std::path::Path, args: &str) {
    let made = Command::new("openssl").args(args.split(' ')).current_dir(folder).output().expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn certificates_are_checked_as_far_as_the_url_says_and_the_password_is_told_nobody() {
    let secret = "a-very-secret-password";
    let cluster = Cluster::start(&[]);
    let database = cluster.database();
    let data = cluster.folder.join("data");
    openssl(
        &data,
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -addext basicConstraints=critical,CA:FALSE -keyout server.key -out server.crt",
    );
    let owner = std::fs::metadata(&data).map(|data| std::os::unix::fs::MetadataExt::uid(&data)).expect("a folder");
    std::os::unix::fs::chown(data.join("server.key"), Some(owner), None).expect("root, or the owner");
    cluster.sql("postgres", &format!("ALTER USER cca PASSWORD '{secret}'"));
    cluster.sql("postgres", "ALTER SYSTEM SET ssl = on");
    std::fs::write(data.join("pg_hba.conf"), "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        .expect("written");
    cluster.control("restart -m fast");
    let world = World::with(None);
    let file = world.dir.join("password");
    std::fs::write(&file, format!("{secret}\n")).expect("written");
    let file = file.display().to_string();
    let root = data.join("server.crt").display().to_string();
    let doctor = |host: &str, parameters: &str| {
        let url = format!("postgres://cca@{host}:{}/{database}?{parameters}", cluster.port);
        let settings = [("DATABASE_URL", &*url), ("DATABASE_PASSWORD_FILE", &file)];
        let said = world.command("doctor", &settings).output().expect("the program");
        let said = String::from_utf8_lossy(&said.stdout) + String::from_utf8_lossy(&said.stderr);
        assert!(!said.contains(secret), "{said}");
        said.lines().find(|line| line.contains(" database: ")).unwrap_or_default().to_owned()
    };
    let full = format!("sslmode=verify-full&sslrootcert={root}");
    let is_well = |said: &str| said.contains(&database) && !said.contains("can't") && !said.contains("refuses");
    assert!(is_well(&doctor("localhost", &full)), "{}", doctor("localhost", &full));
    assert!(!is_well(&doctor("127.0.0.1", &full)), "the name of the server is another one");
    assert!(is_well(&doctor("127.0.0.1", &format!("sslmode=verify-ca&sslrootcert={root}"))));
    assert!(is_well(&doctor("127.0.0.1", "sslmode=require")), "{}", doctor("127.0.0.1", "sslmode=require"));
    assert!(!is_well(&doctor("localhost", "sslmode=verify-full")), "nobody knows who has signed it");
    assert!(!is_well(&doctor("localhost", "sslmode=disable")), "the server takes no such connection");
    let url = format!("postgres://cca:{secret}@localhost:{}/{database}?{full}", cluster.port);
    let server = world.serve("inline", &[("DATABASE_URL", &url), ("CLAUDE_PATH", &scripted_claude())]);
    ends_well(&server, &server.submit(quick()));
    assert!(!server.process.logs().contains(secret));
    let line = std::fs::read(format!("/proc/{}/cmdline", server.process.pid())).expect("a process");
    assert!(!String::from_utf8_lossy(&line).contains(secret));
    // The file is read anew at each connect: a password that is rotated needs no restart.
    drop(server);
    cluster.control("stop -m fast");
}

#[test]
fn wrong_addresses_say_what_is_wrong() {
    let world = World::with(None);
    let cluster = Cluster::shared();
    let port = cluster.port;
    let cases = [
        ("mysql://x".to_owned(), "must begin with postgres://"),
        (format!("postgres://cca@127.0.0.1:{port}/no_such_database"), "check the user, the password and the name"),
        ("postgres://cca@localhost/x?sslmode=verify-full&sslrootcert=/nowhere".to_owned(), "/nowhere"),
        ("postgres://cca@localhost/x?sslcert=a.pem".to_owned(), "sslcert, which is not supported"),
    ];
    for (url, what) in cases {
        let refused = world.command("serve", &[("DATABASE_URL", &url)]).output().expect("the program");
        let said = String::from_utf8_lossy(&refused.stderr) + String::from_utf8_lossy(&refused.stdout);
        assert!(!refused.status.success() && said.contains(what), "{url}: {said}");
    }
}

#[test]
fn a_process_that_stops_in_a_transaction_keeps_others_waiting_for_seconds_only() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let world = World::with(Some(cluster.url(&database)));
    let server = world.serve("inline", &[("CLAUDE_PATH", &scripted_claude())]);
    // A second process holds the lock, and falls silent.
    let stuck = world.serve("standalone", &[("FAILPOINTS", "postgres-commit=1*sleep(20000)")]);
    let asked = std::thread::scope(|scope| {
        scope.spawn(|| stuck.http.try_ask("POST", "/api/tasks", &[], Some(&quick())));
        let idle = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'";
        until("it to be in a transaction", || (cluster.sql(&database, idle) == "1").then_some(()));
        poll(Duration::from_secs(15), || {
            server.http.try_ask("POST", "/api/tasks", &[], Some(&quick())).filter(|(status, _)| *status == 202)
        })
    });
    let (_, answer) = asked.expect("a task is taken");
    ends_well(&server, answer["taskId"].as_str().expect("an id"));
}

#[test]
fn the_settings_of_a_database_change_nothing() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    for setting in [
        "default_transaction_isolation = 'serializable'",
        "default_transaction_deferrable = on",
        "DateStyle = 'German'",
        "extra_float_digits = 0",
        "bytea_output = 'escape'",
        "IntervalStyle = 'sql_standard'",
        "TimeZone = 'Asia/Kathmandu'",
        "standard_conforming_strings = off",
        "synchronous_commit = off",
    ] {
        cluster.sql("postgres", &format!("ALTER DATABASE {database} SET {setting}"));
    }
    let world = World::with(Some(cluster.url(&database)));
    let scripted = scripted_claude();
    let server = world.serve("standalone", &[]);
    let settings = [("CLAUDE_PATH", &*scripted)];
    let _workers = [world.worker(&settings), world.worker(&settings), world.worker(&settings)];
    let ids: Vec<String> = std::thread::scope(|scope| {
        let submit = || (0..15).map(|_| server.submit(quick())).collect::<Vec<_>>();
        let both = [scope.spawn(submit), scope.spawn(submit)];
        both.into_iter().flat_map(|one| one.join().expect("submitted")).collect()
    });
    for id in &ids {
        ends_well(&server, id);
    }
    assert!(!server.process.logs().contains("were not stored"), "{}", server.process.logs());
    check_history(&world, &["--settled"]);
}

/// A pool in transaction mode before a server, with few connections.
struct Pool {
    child: Child,
    port: u16,
}

impl Pool {
    fn start(cluster: &Cluster, folder: &Path) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("a port").port();
        let settings = folder.join("pgbouncer.ini");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={} user=cca\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
            auth_type = any\npool_mode = transaction\ndefault_pool_size = 3\nunix_socket_dir =\nlogfile = {}\n",
            cluster.port,
            folder.join("pgbouncer.log").display()
        );
        std::fs::write(&settings, text).expect("written");
        // It refuses to run as root, and must read its settings.
        std::fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o777)).expect("ours");
        let is_root = rustix::process::geteuid().is_root();
        let mut command = Command::new(if is_root { "setpriv" } else { "pgbouncer" });
        if is_root {
            command.args(["--reuid=nobody", "--regid=nogroup", "--clear-groups", "pgbouncer"]);
        }
        let child = command.arg("-q").arg(settings).spawn().expect("pgbouncer (is it installed?)");
        until("the pool to listen", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { child, port }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        signal(self.child.id(), "TERM");
        self.child.wait().ok();
    }
}

#[test]
fn a_pool_in_transaction_mode_may_stand_between() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let folder = World::with(None);
    std::fs::create_dir(folder.dir.join("pool")).expect("a folder");
    let pool = Pool::start(cluster, &folder.dir.join("pool"));
    let world = World::with(Some(format!("postgres://cca@127.0.0.1:{}/{database}", pool.port)));
    let (scripted, direct) = (scripted_claude(), cluster.url(&database));
    let settings = [("CLAUDE_PATH", &*scripted), ("DATABASE_LISTEN_URL", &direct)];
    let server = world.serve("standalone", &settings);
    assert!(server.process.logs().contains("A pool stands before the database"), "it is found out");
    let one = world.worker(&[("WORKER_ID", "one"), settings[0], settings[1]]);
    // This one hears nothing, and looks.
    let two = world.worker(&[("WORKER_ID", "two"), settings[0]]);
    let ids: Vec<String> = (0..30).map(|_| server.submit(quick())).collect();
    for id in &ids {
        ends_well(&server, id);
    }
    until("it to say that it hears nothing", || {
        ends_well(&server, &server.submit(quick()));
        two.logs().contains("set DATABASE_LISTEN_URL").then_some(())
    });
    // A command that reads meets the pool as well, beside all others.
    for _ in 0..8 {
        let id = server.submit(quick());
        check_history(&world, &[]);
        ends_well(&server, &id);
    }
    for process in [&server.process, &one, &two] {
        assert!(!process.logs().contains("prepared statement"), "each finds out before it prepares any");
    }
    drop((one, two));
    check_history(&world, &["--settled"]);
}
