//! What goes wrong in a chaos run, and when: all of it follows from the seed, but for which
//! process happens to live at the moment.

#![expect(clippy::disallowed_methods, reason = "a nemesis strikes from time to time")]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use sea_orm::{ConnectionTrait, DatabaseConnection};

use crate::chaos::Service;
use crate::support::{Dice, command_line, signal};

/// Longer than a lease, the shim's deadline and the reaper's margin.
const FREEZE: Duration = Duration::from_millis(7_500);
/// Longer than a lease lasts without renewal.
const LOCK: Duration = Duration::from_millis(3_500);
const FULL: Duration = Duration::from_millis(1_500);
/// After a freeze or a lock the processes need so long to notice.
const AFTERWARDS_MS: i64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    KillWorker,
    KillApi,
    KillCli,
    KillShim,
    FreezeWorker,
    /// Worker, shims and CLIs together.
    FreezeAll,
    CutLink,
    FillDisk,
    LockDatabase,
    /// Every connection to the database's server.
    CutConnections,
    /// The server of the database, as if its machine had lost power.
    CrashServer,
}

/// Each as often as it stands here.
const FAULTS: [Fault; 20] = {
    use Fault::*;
    [
        KillWorker,
        KillWorker,
        KillWorker,
        KillWorker,
        KillApi,
        KillApi,
        KillCli,
        KillCli,
        KillCli,
        KillCli,
        KillShim,
        KillShim,
        KillShim,
        CutLink,
        CutLink,
        FillDisk,
        FillDisk,
        FreezeWorker,
        FreezeAll,
        LockDatabase,
    ]
};

/// Something that is undone after a time.
enum Held {
    Frozen(Vec<u32>),
    Full(PathBuf),
    Locked(tokio::runtime::Runtime, DatabaseConnection),
    /// By a client of the server, which ends by itself.
    LockedByClient(Child),
}

pub struct Nemesis {
    dice: Dice,
    held: Vec<(Instant, Held)>,
    faults: BTreeMap<Fault, usize>,
    excused: Vec<(i64, i64)>,
    /// True if the history has the wall clock of a server.
    by_wall: bool,
}

impl Nemesis {
    pub fn new(dice: Dice, service: &Service) -> Self {
        let by_wall = service.server.is_some();
        Self { dice, held: Vec::new(), faults: BTreeMap::new(), excused: Vec::new(), by_wall }
    }

    /// Waits a moment, does something, and undoes what was done long enough ago.
    pub fn strike(&mut self, service: &mut Service) {
        std::thread::sleep(Duration::from_millis(50 + self.dice.roll(250)));
        let fault = FAULTS[self.dice.below(FAULTS.len())];
        // A database on a server has no disk of ours, and no link is needed to reach it.
        let fault = match (fault, &service.server) {
            (Fault::FillDisk, Some(_)) => Fault::CrashServer,
            (Fault::CutLink, Some(_)) => Fault::CutConnections,
            _ => fault,
        };
        let victim = self.dice.roll(1 << 30);
        if self.inflict(fault, victim, service) {
            *self.faults.entry(fault).or_default() += 1;
        }
        let now = Instant::now();
        self.undo(|until| until <= now);
        service.revive();
    }

    /// Undoes everything.
    pub fn heal(&mut self) {
        self.undo(|_| true);
    }

    pub fn faults(&self) -> BTreeMap<Fault, usize> {
        self.faults.clone()
    }

    /// The times in which nobody could have ended a process, as the checker reads them.
    pub fn excused(&self) -> String {
        self.excused.iter().map(|(from, to)| format!("{from} {to}\n")).collect()
    }

    /// Does it. False where there is nothing to do it to.
    fn inflict(&mut self, fault: Fault, victim: u64, service: &Service) -> bool {
        // An inline API is its own worker.
        let worker = if service.mode == "inline" { " serve " } else { " worker" };
        match fault {
            Fault::KillWorker => kill(service, worker, victim),
            Fault::KillApi => kill(service, " serve ", victim),
            Fault::KillCli => kill(service, "scripted-claude", victim),
            Fault::KillShim => kill(service, "agent-shim", victim),
            Fault::FreezeWorker => self.freeze(chosen(service, worker, victim).into_iter().collect()),
            Fault::FreezeAll => {
                let Some(worker) = chosen(service, worker, victim) else { return false };
                let below = ["agent-shim", "scripted-claude"].iter().flat_map(|name| living(service, name));
                let all = below.chain([worker]).collect();
                self.freeze(all)
            }
            Fault::CutLink => service.api().is_some_and(|api| cut_link(api, victim)),
            Fault::FillDisk => self.fill(service),
            Fault::LockDatabase => self.lock(service),
            Fault::CutConnections => service.server.as_ref().is_some_and(|(server, database)| {
                server.sql(
                    "postgres",
                    &format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"),
                );
                true
            }),
            Fault::CrashServer => service.server.as_ref().is_some_and(|(server, _)| {
                self.excuse(Duration::from_secs(2));
                server.control("restart -m immediate");
                true
            }),
        }
    }

    fn freeze(&mut self, pids: Vec<u32>) -> bool {
        if pids.is_empty() || self.held.iter().any(|(_, held)| matches!(held, Held::Frozen(_))) {
            return false;
        }
        pids.iter().for_each(|pid| signal(*pid, "STOP"));
        self.hold(FREEZE, Held::Frozen(pids))
    }

    fn fill(&mut self, service: &Service) -> bool {
        let file = service.world.dir.join("data/filler");
        if !service.has_own_disk || file.exists() {
            return false;
        }
        let mut filler = fs::File::create(&file).expect("a file");
        for block in [vec![0; 1 << 20], vec![0; 1 << 12]] {
            while filler.write_all(&block).is_ok() {}
        }
        self.hold(FULL, Held::Full(file))
    }

    fn lock(&mut self, service: &Service) -> bool {
        if self.held.iter().any(|(_, held)| matches!(held, Held::Locked(..) | Held::LockedByClient(_))) {
            return false;
        }
        if let Some((server, database)) = &service.server {
            let lock = format!(
                "BEGIN; SELECT pg_advisory_xact_lock(hashtextextended('cc-anywhere writes ' || current_schema(), 0)); SELECT pg_sleep({})",
                LOCK.as_secs_f64()
            );
            return self.hold(LOCK, Held::LockedByClient(server.client(database, &lock)));
        }
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let name = format!("sqlite:{}", service.world.dir.join("data/cc.db").display());
        let locked = runtime.block_on(async {
            let db = sea_orm::Database::connect(name).await.ok()?;
            db.execute_unprepared("BEGIN IMMEDIATE").await.ok().map(|_| db)
        });
        locked.is_some_and(|db| self.hold(LOCK, Held::Locked(runtime, db)))
    }

    fn hold(&mut self, time: Duration, held: Held) -> bool {
        self.excuse(time);
        self.held.push((Instant::now() + time, held));
        true
    }

    fn excuse(&mut self, time: Duration) {
        let now = if self.by_wall { wall_ms() } else { boot_ms() };
        let ms = i64::try_from(time.as_millis()).expect("short");
        self.excused.push((now, now + ms + AFTERWARDS_MS));
    }

    fn undo(&mut self, is_due: impl Fn(Instant) -> bool) {
        for (_, held) in self.held.extract_if(.., |(until, _)| is_due(*until)) {
            match held {
                Held::Frozen(pids) => pids.iter().for_each(|pid| signal(*pid, "CONT")),
                Held::LockedByClient(mut client) => {
                    client.wait().expect("an end");
                }
                Held::Full(file) => fs::remove_file(file).expect("removed"),
                Held::Locked(runtime, db) => {
                    runtime.block_on(async {
                        db.execute_unprepared("ROLLBACK").await.expect("unlocked");
                        db.close().await.expect("closed");
                    });
                }
            }
        }
    }
}

fn wall_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("small")
}

fn boot_ms() -> i64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// The processes of the service with this in their command line.
fn living(service: &Service, name: &str) -> Vec<u32> {
    let mut pids = service.world.processes();
    pids.sort_unstable();
    pids.into_iter().filter(|pid| command_line(*pid).contains(name)).collect()
}

fn chosen(service: &Service, name: &str, victim: u64) -> Option<u32> {
    let living = living(service, name);
    (!living.is_empty()).then(|| living[usize::try_from(victim).expect("small") % living.len()])
}

fn kill(service: &Service, name: &str, victim: u64) -> bool {
    let chosen = chosen(service, name, victim);
    chosen.is_some_and(|pid| {
        signal(pid, "KILL");
        true
    })
}

/// Ends one of the connections that the supervisor has with its workers.
fn cut_link(api: u32, victim: u64) -> bool {
    let links = links(api);
    let pid = i32::try_from(api).ok().and_then(Pid::from_raw).expect("a pid");
    let (false, Ok(pidfd)) = (links.is_empty(), pidfd_open(pid, PidfdFlags::empty())) else { return false };
    let link = links[usize::try_from(victim).expect("small") % links.len()];
    let Ok(socket) = pidfd_getfd(pidfd.as_fd(), link, PidfdGetfdFlags::empty()) else { return false };
    rustix::net::shutdown(socket, rustix::net::Shutdown::Both).is_ok()
}

/// The descriptors of a process that are connected ends of a link.
fn links(pid: u32) -> Vec<i32> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let is_link = |inode: &str| {
        // Num RefCount Protocol Flags Type St Inode Path; state 03 is connected.
        let mut rows = table.lines().map(|row| row.split_whitespace().collect::<Vec<_>>());
        rows.any(|row| row.len() == 8 && row[5] == "03" && row[6] == inode && row[7].contains("link"))
    };
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return Vec::new() };
    let fds = entries.flatten().filter(|entry| {
        let target = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        target.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']')).is_some_and(is_link)
    });
    fds.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
