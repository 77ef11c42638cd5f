//! Many machines on one database: who does what, whose clock counts, and what moves.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::faults::{completes_at_its_second_attempt, gone, once_asleep};
use crate::modes::{each_ran_once, submit_ten};
use crate::postgres::ends_well;
use crate::support::machine::on_machine;
use crate::support::postgres::Cluster;
use crate::support::wire::Wire;
use crate::support::{Server, World, check_history, scripted_claude, task, until};

#[test]
fn tasks_over_two_servers_and_two_workers_run_once_each() {
    let world = World::on_postgres();
    let (one, two) = (world.serve("standalone", &[]), world.serve("standalone", &[]));
    let _workers = [world.worker(&[("WORKER_ID", "one")]), world.worker(&[("WORKER_ID", "two")])];
    let mut ids = submit_ten(&world, &one, 0);
    ids.extend(submit_ten(&world, &two, 10));
    each_ran_once(&world, &one, &ids);
    assert_eq!(two.get("/api/workers")["workerCount"], 2);
    check_history(&world, &["--settled"]);
}

#[test]
fn a_worker_that_is_cut_off_ends_its_trees_before_another_starts_the_task() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let wire = Wire::to(cluster.port);
    let world = World::with(Some(cluster.url(&database)));
    let lease = ("LEASE_MS", "5000");
    let server = world.serve("standalone", &[lease]);
    let through = format!("postgres://cca@127.0.0.1:{}/{database}", wire.port);
    // Its own clock is an hour ahead: only the server's counts.
    let settings =
        [lease, ("WORKER_ID", "one"), ("DATABASE_URL", &through), ("FAILPOINTS", "wall-clock=return(3600000)")];
    let one = world.worker(&settings);
    let id = once_asleep(&world, &server, "98761");
    wire.freeze(true);
    let two = world.worker(&[lease, ("WORKER_ID", "two")]);
    let done = completes_at_its_second_attempt(&server, &id);
    assert_eq!(done["workerId"], "two");
    gone("98761");
    wire.freeze(false);
    wire.cut();
    until("the first worker to be back", || {
        let workers = server.get("/api/workers");
        (workers["workerCount"] == 2).then_some(())
    });
    drop((one, two));
    // Among the promises: no two trees of a task live at a time.
    check_history(&world, &["--settled"]);
}

/// True if this process has said that it leads.
fn leads(server: &Server) -> bool {
    server.process.logs().contains("This process leads")
}

#[test]
fn one_process_leads_and_another_one_as_soon_as_it_is_killed() {
    let world = World::on_postgres();
    let settings = [("CLAUDE_PATH", &*scripted_claude())];
    let one = world.serve("standalone", &settings);
    until("the first one to lead", || leads(&one).then_some(()));
    let two = world.serve("standalone", &settings);
    let plan = json!({ "cron": "* * * * * *", "task": { "instruction": "quick" } });
    let (status, answer) = two.http.ask("POST", "/api/schedules", Some(plan));
    assert_eq!(status, 201, "{answer:#}");
    let runs = format!("/api/schedules/{}/runs", answer["scheduleId"].as_str().expect("an id"));
    let count = || two.get(&runs)["runs"].as_array().map_or(0, Vec::len);
    until("some firings", || (count() >= 2).then_some(()));
    assert!(!leads(&two), "one leads at a time");
    let mut one = one;
    one.process.signal("KILL");
    one.process.wait();
    let (killed, before) = (Instant::now(), count());
    until("firings by the other one", || (count() >= before + 2).then_some(()));
    // Two firings are a second apart.
    assert!(killed.elapsed() < Duration::from_secs(5), "{:?}", killed.elapsed());
    assert!(leads(&two));
    // One that stops leaves the duties to others before its tasks have ended.
    let three = world.serve("standalone", &settings);
    two.process.signal("TERM");
    until("the third one to lead", || leads(&three).then_some(()));
    drop(two);
    check_history(&world, &[]);
}

#[test]
fn a_managed_worker_never_leads() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let world = World::with(Some(cluster.url(&database)));
    let server = world.serve("managed", &[("CLAUDE_PATH", &scripted_claude()), ("WORKER_COUNT", "4")]);
    until("the workers", || (server.get("/api/workers")["workerCount"] == 4).then_some(()));
    let plan = json!({ "cron": "* * * * * *", "task": { "instruction": "quick" } });
    let (status, answer) = server.http.ask("POST", "/api/schedules", Some(plan));
    assert_eq!(status, 201, "{answer:#}");
    let runs = format!("/api/schedules/{}/runs", answer["scheduleId"].as_str().expect("an id"));
    let count = || server.get(&runs)["runs"].as_array().map_or(0, Vec::len);
    // Whichever process is first leads next. A worker has not all of the duties: nothing would fire.
    let cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE locktype = 'advisory' AND granted
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) AND pid IN
        (SELECT pid FROM pg_stat_activity WHERE state = 'idle')";
    for _ in 0..6 {
        let before = count();
        until("the leader to be cut off", || (cluster.sql(&database, cut) == "1").then_some(()));
        until("a firing", || (count() > before + 1).then_some(()));
    }
    check_history(&world, &[]);
}

#[test]
fn a_worker_of_another_machine_is_not_judged_by_its_process() {
    let cluster = Cluster::shared();
    let database = cluster.database();
    let world = World::with(Some(cluster.url(&database)));
    let server = world.serve("standalone", &[]);
    let one = world.worker(&[("WORKER_ID", "one")]);
    let go = world.ws().join("go");
    let bash = format!("bash while [ ! -e {} ]; do sleep 0.1; done; echo went", go.display());
    let id = server.submit(task(&world.ws(), "long", &[&bash, "say done"]));
    server.wait_tool(&id);
    // As it looks from there: another boot, and a process that nobody here knows.
    let other = uuid::Uuid::new_v4();
    let sql = format!(
        "UPDATE workers SET process = jsonb_set(jsonb_set(process::jsonb, '{{boot}}', '\"{other}\"'), '{{pid}}', '999999')::text"
    );
    cluster.sql(&database, &sql);
    let two = world.worker(&[("WORKER_ID", "two")]);
    // It has looked more than once by the time another task is done.
    for _ in 0..2 {
        ends_well(&server, &server.submit(task(&world.ws(), "short", &["say x"])));
    }
    std::fs::write(go, "").expect("a file");
    let done = server.wait_end(&id);
    assert_eq!((&done["attempt"], &done["workerId"]), (&json!(1), &json!("one")), "{done:#}");
    drop((one, two));
    check_history(&world, &["--settled"]);
}

#[test]
fn a_task_without_a_folder_gets_one_on_whichever_machine_runs_it() {
    let world = World::on_postgres();
    let server = world.serve("standalone", &[]);
    // Another data folder, as on another machine.
    let other = world.dir.join("other");
    std::fs::create_dir(&other).expect("a folder");
    let db_path = other.join("cc.db").display().to_string();
    let _worker = world.worker(&[("DB_PATH", &db_path)]);
    let task = json!({ "instruction": "own\nstep write made.txt here\nstep say done", "options": { "sdk": { "permissionMode": "acceptEdits" } } });
    let id = server.submit(task);
    ends_well(&server, &id);
    assert!(other.join("work").join(&id).is_dir(), "its folder is where it ran");
    assert!(!world.dir.join("data/work").join(&id).exists());
}

#[test]
fn a_session_goes_on_on_another_machine() {
    let world = World::on_postgres();
    let lease = ("LEASE_MS", "3000");
    let server = world.serve("standalone", &[lease]);
    let url = world.database.clone().expect("a database");
    let (_, database) = url.rsplit_once('/').expect("a database");
    let model: u16 = world.model.url.rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    // Each has a network, a home, a data folder and a clock of its own.
    let machine = |name: &'static str, ahead: &str| {
        let [home, data] = ["home", "data"].map(|of| world.dir.join(format!("{name}-{of}")));
        for folder in [&home, &data] {
            std::fs::create_dir_all(folder).expect("a folder");
        }
        on_machine(|network| {
            let wires = [network.lead(Cluster::shared().port), network.lead(model)];
            let there = std::net::TcpStream::connect(server.http.url.trim_start_matches("http://"));
            assert!(!network.is_own || there.is_err(), "nothing but what is led there");
            let database = format!("postgres://cca@127.0.0.1:{}/{database}", wires[0].port);
            let settings = [
                lease,
                ("WORKER_ID", name),
                ("HOME", &home.display().to_string()),
                ("DB_PATH", &data.join("cc.db").display().to_string()),
                ("DATABASE_URL", &database),
                ("ANTHROPIC_BASE_URL", &format!("http://127.0.0.1:{}", wires[1].port)),
                ("FAILPOINTS", &format!("wall-clock=return({ahead})")),
            ];
            (world.worker(&settings), wires)
        })
    };
    let (one, wires) = machine("one", "-1800000");
    let flag = world.dir.join("witness/flag");
    let bash = format!("bash if [ -e {0} ]; then echo again; else touch {0}; sleep 98771; fi", flag.display());
    let instruction = format!("moves\nstep bash echo first\nstep {bash}\nstep say done");
    let options = json!({ "sdk": { "permissionMode": "acceptEdits", "allowedTools": ["Bash"] } });
    let id = server.submit(json!({ "instruction": instruction, "options": options }));
    until("the first attempt to sleep", || flag.exists().then_some(()));
    let session = server.task(&id)["sdkSessionId"].clone();
    let stored = || {
        let database = world.database.as_ref().and_then(|url| url.rsplit('/').next()).expect("a database");
        Cluster::shared().sql(database, "SELECT string_agg(entries, '') FROM transcripts")
    };
    // Gone for good: with its network.
    until("the transcript to be stored", || stored().contains("echo first").then_some(()));
    let mut one = one;
    one.signal("KILL");
    one.wait();
    wires.iter().for_each(Wire::cut);
    let (two, _wires) = machine("two", "3600000");
    let done = completes_at_its_second_attempt(&server, &id);
    assert_eq!((&done["workerId"], &done["sdkSessionId"]), (&json!("two"), &session), "{done:#}");
    assert!(two.logs().contains("A session goes on from what is stored of it"), "{}", two.logs());
    assert_eq!(world.model.begun("moves\nstep"), 1, "the conversation was not begun anew");
}
