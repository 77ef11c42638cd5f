//! A storm of clients and a nemesis that kills, freezes, cuts, fills and locks, in an order that
//! follows from a seed. Then everything heals, and the history is held against the promises.
//!
//! `make chaos` runs it for minutes (CHAOS_SECONDS for each mode, CHAOS_SEED); `make test` for
//! seconds.

#![expect(clippy::disallowed_methods, reason = "a storm has a pace, and its length is a setting")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::nemesis::{Fault, Nemesis};
use crate::support::postgres::Cluster;
use crate::support::{Dice, Process, World, check_history, http::Client, poll, scripted_claude};

/// Short, so that a storm of seconds has many of them.
pub const LEASE_MS: &str = "3000";
/// Everything ends within so long after the storm.
const CALM: Duration = Duration::from_secs(180);
const KEY: &str = "a-key-for-the-chaos-run";
const CLIENTS: u64 = 3;
/// Room for the database, and for some megabytes of fill.
const DISK: &str = "size=96m";
const WORKERS: usize = 2;
/// One call of the store in a hundred fails; one in a hundred is done, and its answer is lost.
const POINTS: &str = "store-commit=1%return;queue-answer=1%return";

/// The service in one mode, on a database that can be filled up.
pub struct Service {
    pub world: World,
    pub mode: &'static str,
    /// True if the database is on a disk that nobody else uses.
    pub has_own_disk: bool,
    /// The server of the database, and the name that it has there.
    pub server: Option<(Cluster, String)>,
    port: u16,
    api: Option<Process>,
    /// In standalone mode.
    workers: Vec<Option<Process>>,
}

impl Service {
    fn start(mode: &'static str, server: Option<(Cluster, String)>) -> Self {
        let world = World::with(server.as_ref().map(|(server, database)| server.url(database)));
        let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = free.local_addr().expect("a port").port();
        drop(free);
        let workers = if mode == "standalone" { (0..WORKERS).map(|_| None).collect() } else { Vec::new() };
        let has_own_disk = mount_disk(&world.dir.join("data"));
        let mut service = Self { has_own_disk, server, world, mode, port, api: None, workers };
        service.revive();
        service
    }

    /// Starts whatever should run and doesn't, as a container's runtime would.
    pub fn revive(&mut self) {
        if !self.api.as_mut().is_some_and(Process::lives) {
            let port = self.port.to_string();
            let process = Process::start(self.command("serve", POINTS, &["--mode", self.mode, "--port", &port]));
            process.wait_log("Listening url=");
            self.api = Some(process);
        }
        for index in 0..self.workers.len() {
            if !self.workers[index].as_mut().is_some_and(Process::lives) {
                // One of them lives an hour ahead of the others.
                let points = format!("{POINTS}{}", if index == 1 { ";wall-clock=return(3600000)" } else { "" });
                self.workers[index] = Some(Process::start(self.command("worker", &points, &[])));
            }
        }
    }

    fn command(&self, role: &str, points: &str, args: &[&str]) -> std::process::Command {
        let settings = [
            ("API_KEY", KEY),
            ("CLAUDE_PATH", &scripted_claude()),
            ("FAILPOINTS", points),
            ("GRACEFUL_SHUTDOWN_TIMEOUT_MS", "1000"),
            ("LEASE_MS", LEASE_MS),
            ("LOG_LEVEL", "info"),
            ("PERMISSION_TIMEOUT_MS", "2000"),
            ("PERMISSION_PARK_MS", "200"),
            ("WEBHOOK_ALLOWED_HOSTS", "127.0.0.1"),
            ("WEBHOOK_RETRY_DELAY_MS", "50"),
            ("QUEUE_CONCURRENCY", "4"),
            ("WORKER_COUNT", &WORKERS.to_string()),
            ("WORKER_HEARTBEAT_TIMEOUT_MS", "1500"),
        ];
        let mut command = self.world.command(role, &settings);
        command.args(args);
        command
    }

    pub fn api(&self) -> Option<u32> {
        self.api.as_ref().map(Process::pid)
    }

    fn client(&self) -> Client {
        Client::new(&format!("http://127.0.0.1:{}", self.port), KEY)
    }

    /// Waits until every task has ended and those that ask for it have been told of, then stops everything.
    fn settle(&mut self, told: &[String]) {
        let client = self.client();
        let count = |answer: &serde_json::Value, of: &str| answer[of].as_i64().unwrap_or(1);
        let mut last = json!(null);
        let settled = poll(CALM, || {
            self.revive();
            let (_, stats) = client.try_ask("GET", "/api/queue/stats", &[], None)?;
            last = stats.clone();
            (count(&stats, "pending") + count(&stats, "running") == 0).then_some(())
        });
        assert!(settled.is_some(), "tasks are left: {last}\n{}", self.logs());
        for id in told {
            let all_told = poll(CALM, || {
                self.revive();
                let (_, answer) = client.try_ask("GET", &format!("/api/tasks/{id}/deliveries"), &[], None)?;
                let all = answer["deliveries"].as_array().cloned()?;
                last = answer;
                (!all.is_empty() && all.iter().all(|one| one["state"] == "delivered")).then_some(())
            });
            assert!(all_told.is_some(), "not told: {last}\n{}", self.logs());
        }
        for process in self.workers.iter_mut().chain([&mut self.api]).flatten() {
            process.signal("TERM");
            process.wait();
        }
    }

    fn logs(&self) -> String {
        let processes = self.workers.iter().chain([&self.api]).flatten();
        processes.map(|process| format!("--- {} ---\n{}\n", process.pid(), process.logs())).collect()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Whatever still runs ends before its disk does.
        self.workers.clear();
        self.api = None;
        if self.has_own_disk {
            rustix::mount::unmount(self.world.dir.join("data"), rustix::mount::UnmountFlags::DETACH).ok();
        }
    }
}

/// Mounts a small disk that this thread, its threads and its processes see; needs root.
fn mount_disk(folder: &std::path::Path) -> bool {
    use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
    #[expect(unsafe_code, reason = "only the mounts of this thread are changed")]
    let alone = unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) };
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    let size = std::ffi::CString::new(DISK).expect("text");
    alone.is_ok()
        && mount_change("/", private).is_ok()
        && mount("tmpfs", folder, "tmpfs", MountFlags::empty(), size.as_c_str()).is_ok()
}

/// What clients were answered.
struct Accepted {
    file: PathBuf,
    ids: Mutex<Vec<String>>,
    /// Those whose end somebody wants to be told of.
    told: Mutex<Vec<String>>,
    /// The address to tell it to.
    ear: String,
}

/// A receiver of webhooks that refuses one message in three.
fn ear() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("http://{}/", listener.local_addr().expect("an address"));
    std::thread::spawn(move || {
        for (n, connection) in listener.incoming().map_while(Result::ok).enumerate() {
            let mut reader = BufReader::new(connection);
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
                if let Some(text) = line.to_lowercase().strip_prefix("content-length: ") {
                    length = text.trim().parse().unwrap_or(0);
                }
                line.clear();
            }
            std::io::copy(&mut reader.by_ref().take(length), &mut std::io::sink()).ok();
            let answer = if n % 3 == 0 { "500 No" } else { "204 Fine" };
            let answer = format!("HTTP/1.1 {answer}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            reader.get_mut().write_all(answer.as_bytes()).ok();
        }
    });
    url
}

impl Accepted {
    fn add(&self, id: &str, key: &str) {
        let mut ids = self.ids.lock().expect("ids");
        let mut file = fs::OpenOptions::new().append(true).create(true).open(&self.file).expect("a file");
        writeln!(file, "{id} {key}").expect("written");
        ids.push(id.to_owned());
    }

    fn any(&self, dice: &mut Dice) -> Option<String> {
        let ids = self.ids.lock().expect("ids");
        ids.get(dice.below(ids.len())).cloned()
    }
}

/// A client that submits, cancels, and retries, and asks again where it was not answered.
fn client(client: &Client, mut dice: Dice, accepted: &Accepted, stop: &AtomicBool) {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(60 + dice.roll(120)));
        match dice.roll(20) {
            0..14 => {
                number += 1;
                let kind = ["quick", "long", "daemon", "long daemon", "asks"][dice.below(5)];
                let key = format!("key-{}-{number}", dice.seed);
                let mut body = json!({
                    "instruction": kind,
                    "priority": dice.roll(3),
                    "tags": ["chaos"],
                    "options": {
                        "retry": { "initialDelay": 20, "maxDelay": 200 }, "sdk": { "permissionMode": "default" },
                    },
                });
                let wants_to_be_told = dice.roll(4) == 0;
                if wants_to_be_told {
                    body["options"]["webhook"] = json!({ "url": accepted.ear });
                }
                if dice.roll(3) == 0 {
                    body["concurrencyKey"] = json!(format!("lane {}", dice.roll(4)));
                }
                if dice.roll(4) == 0
                    && let Some(id) = accepted.any(&mut dice)
                {
                    let rule = ["cancel", "run"][dice.below(2)];
                    body["dependsOn"] = json!([{ "task": id, "onFailure": rule }]);
                }
                // Answered twice where the first answer was lost, or where the dice say so.
                let mut times = 1 + dice.roll(8) / 7;
                while times > 0 && !stop.load(Ordering::Relaxed) {
                    match client.try_ask("POST", "/api/tasks", &[("idempotency-key", &key)], Some(&body)) {
                        Some((202, answer)) => {
                            let id = answer["taskId"].as_str().expect("an id");
                            accepted.add(id, &key);
                            if wants_to_be_told {
                                accepted.told.lock().expect("ids").push(id.to_owned());
                            }
                            times -= 1;
                        }
                        // What it depends on has failed meanwhile.
                        Some((409, _)) => break,
                        Some((503, _)) | None => std::thread::sleep(Duration::from_millis(50)),
                        Some(other) => panic!("{other:?}"),
                    }
                }
            }
            14..17 => {
                let Some(id) = accepted.any(&mut dice) else { continue };
                let answer = client.try_ask("DELETE", &format!("/api/tasks/{id}"), &[], None);
                assert!(answer.as_ref().is_none_or(|(status, _)| [200, 409, 503].contains(status)), "{answer:?}");
            }
            _ => {
                let Some(id) = accepted.any(&mut dice) else { continue };
                match client.try_ask("POST", &format!("/api/tasks/{id}/retry"), &[], None) {
                    Some((202, answer)) => accepted.add(answer["taskId"].as_str().expect("an id"), ""),
                    Some((409 | 503, _)) | None => {}
                    Some(other) => panic!("{other:?}"),
                }
            }
        }
    }
}

/// Somebody who answers questions, adds and changes schedules, and removes them.
fn person(client: &Client, mut dice: Dice, accepted: &Accepted, stop: &AtomicBool) {
    let mut schedules: Vec<String> = Vec::new();
    let plan = json!({
        "cron": "* * * * * *", "missed": "once",
        "task": { "instruction": "quick by the clock", "options": { "webhook": { "url": accepted.ear } } },
    });
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(40));
        let Some(id) = accepted.any(&mut dice) else { continue };
        match dice.roll(10) {
            0 if schedules.len() < 2 => {
                if let Some((201, answer)) = client.try_ask("POST", "/api/schedules", &[], Some(&plan)) {
                    schedules.push(answer["scheduleId"].as_str().expect("an id").to_owned());
                }
            }
            1 if !schedules.is_empty() => {
                let path = format!("/api/schedules/{}", schedules[dice.below(schedules.len())]);
                let change = json!({ "enabled": dice.roll(3) > 0 });
                let answer = client.try_ask("PATCH", &path, &[], Some(&change));
                assert!(answer.as_ref().is_none_or(|(status, _)| [200, 404, 503].contains(status)), "{answer:?}");
            }
            2 if !schedules.is_empty() => {
                let at = dice.below(schedules.len());
                let answer = client.try_ask("DELETE", &format!("/api/schedules/{}", schedules[at]), &[], None);
                if answer.is_some_and(|(status, _)| status != 503) {
                    schedules.swap_remove(at);
                }
            }
            _ => {
                let path = format!("/api/tasks/{id}/permissions");
                let Some((200, open)) = client.try_ask("GET", &path, &[], None) else { continue };
                let Some(request) = open["permissions"][0]["requestId"].as_str() else { continue };
                let yes = json!({ "behavior": if dice.roll(4) > 0 { "allow" } else { "deny" } });
                let answer = client.try_ask("POST", &format!("{path}/{request}"), &[], Some(&yes));
                assert!(answer.as_ref().is_none_or(|(status, _)| [200, 404, 409, 503].contains(status)), "{answer:?}");
            }
        }
    }
}

/// Removes every schedule, so that the calm comes.
fn remove_schedules(service: &mut Service) {
    let client = service.client();
    let removed = poll(CALM, || {
        service.revive();
        let (status, answer) = client.try_ask("GET", "/api/schedules", &[], None)?;
        let all = answer["schedules"].as_array().filter(|_| status == 200)?;
        for schedule in all {
            let path = format!("/api/schedules/{}", schedule["scheduleId"].as_str().expect("an id"));
            client.try_ask("DELETE", &path, &[], None);
        }
        all.is_empty().then_some(())
    });
    assert!(removed.is_some(), "schedules are left:\n{}", service.logs());
}

/// Follows tasks, and comes back with the last number that it saw: it misses none.
fn reader(client: &Client, mut dice: Dice, accepted: &Accepted, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        std::thread::sleep(Duration::from_millis(20));
        let Some(id) = accepted.any(&mut dice) else { continue };
        let mut last = 0;
        for _ in 0..3 {
            let Some(events) = client.try_events(&format!("/api/tasks/{id}/events"), Some(&last.to_string())) else {
                continue;
            };
            // Some streams are left in the middle.
            for event in events.take(1 + dice.below(12)) {
                if let Some(seq) = event["seq"].as_i64() {
                    assert_eq!(seq, last + 1, "of {id}: {event}");
                    last = seq;
                }
                if stop.load(Ordering::Relaxed) {
                    return;
                }
            }
        }
    }
}

/// One storm. Returns what is said of it.
fn storm(mode: &'static str, server: Option<(Cluster, String)>, seed: u64, length: Duration) -> String {
    let mut service = Service::start(mode, server);
    let accepted = Accepted {
        file: service.world.dir.join("accepted"),
        ids: Mutex::default(),
        told: Mutex::default(),
        ear: ear(),
    };
    let stop = AtomicBool::new(false);
    let mut nemesis = Nemesis::new(Dice::new(seed), &service);
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (http, accepted, stop) = (service.client(), &accepted, &stop);
            scope.spawn(move || client(&http, Dice::new(seed + 1 + number), accepted, stop));
        }
        let (http, accepted, stop) = (service.client(), &accepted, &stop);
        scope.spawn(move || reader(&http, Dice::new(seed + 100), accepted, stop));
        let http = service.client();
        scope.spawn(move || person(&http, Dice::new(seed + 200), accepted, stop));
        let until = Instant::now() + length;
        while Instant::now() < until {
            nemesis.strike(&mut service);
        }
        nemesis.heal();
        stop.store(true, Ordering::Relaxed);
    });
    remove_schedules(&mut service);
    let told = accepted.told.lock().expect("ids").clone();
    service.settle(&told);
    let excused = service.world.dir.join("excused");
    fs::write(&excused, nemesis.excused()).expect("written");
    let names = [&accepted.file, &excused].map(|file| file.display().to_string());
    let said = check_history(&service.world, &["--settled", "--accepted", &names[0], "--excused", &names[1]]);
    let faults: BTreeMap<Fault, usize> = nemesis.faults();
    let count = accepted.ids.lock().expect("ids").len();
    format!("{mode}: {} faults {faults:?}, {count} tasks accepted, {}", faults.values().sum::<usize>(), said.trim())
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: {text}")))
}

fn run(mode: &'static str, server: Option<(Cluster, String)>) {
    let seed = setting("CHAOS_SEED", 20_261_123);
    let said = storm(mode, server, seed, Duration::from_secs(setting("CHAOS_SECONDS", 12)));
    println!("seed {seed}, {said}");
}

fn on_postgres() -> Option<(Cluster, String)> {
    let server = Cluster::start(&["fsync=on"]);
    let database = server.database();
    Some((server, database))
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_inline() {
    run("inline", None);
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_managed() {
    run("managed", None);
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_standalone() {
    run("standalone", None);
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_inline_on_postgres() {
    run("inline", on_postgres());
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_managed_on_postgres() {
    run("managed", on_postgres());
}

#[test]
fn slow_a_storm_of_faults_breaks_no_promise_standalone_on_postgres() {
    run("standalone", on_postgres());
}
