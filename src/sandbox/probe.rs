//! The attacks that the walls are for, in harmless versions: what stands in the place of the CLI and tries them.
//!
//! `cc-anywhere agent-probe` is started as the CLI would be, tries each, and says what it could do. Nothing that it
//! reaches is kept or changed.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::mount::UnmountFlags;
use rustix::process::Pid;
use rustix::thread::UnshareFlags;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Places that a task must not reach.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Targets {
    /// Files of the service.
    pub files: Vec<PathBuf>,
    /// Folders of the service.
    pub folders: Vec<PathBuf>,
    /// A folder that is not the task's, and may be read by everybody.
    pub outside: PathBuf,
    /// The home of another key.
    pub other_home: Option<PathBuf>,
    /// The socket of the supervisor.
    pub socket: PathBuf,
    /// Port of an API that asks for no key.
    pub port: Option<u16>,
    /// Process of the worker.
    pub worker: u32,
    /// SHA-256 of the account's key, in hexadecimal.
    pub key_hash: Option<String>,
}

/// A wall, and whether it held.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tried {
    /// What a task must not do.
    pub attack: String,
    /// What it could do all the same; `None` where the wall holds.
    pub reached: Option<String>,
}

/// What the probe prints.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    /// Every wall, in the order in which it was tried.
    pub tried: Vec<Tried>,
}

/// Tries everything and prints what it reached in one line of JSON. Returns the exit code.
#[must_use]
pub fn run_probe(targets: &str) -> u8 {
    let Ok(targets) = serde_json::from_str::<Targets>(targets) else { return 64 };
    let report = Report { tried: try_all(&targets) };
    let Ok(line) = serde_json::to_string(&report) else { return 70 };
    u8::from(writeln!(io::stdout(), "{line}").is_err())
}

type Attack = (&'static str, fn(&Targets) -> Option<String>);

/// Every attack; the last one changes the namespaces of the probe.
const ATTACKS: &[Attack] = &[
    ("read the service's files", read_files),
    ("write or replace the service's files", write_files),
    ("write outside its folders", write_outside),
    ("change modes and times outside its folders", change_outside),
    ("read the home of another key", read_home),
    ("hold the account's key", hold_key),
    ("look into the shim, the worker or their descriptors", look_into),
    ("signal processes outside", signal),
    ("write into the streams of the CLI", open_streams),
    ("connect to the supervisor's socket", connect_socket),
    ("connect to an API that asks for no key", connect_port),
    ("undo the mounts that hide files", unmount),
];

fn try_all(targets: &Targets) -> Vec<Tried> {
    ATTACKS.iter().map(|(attack, run)| Tried { attack: (*attack).to_owned(), reached: run(targets) }).collect()
}

fn named(path: &Path) -> String {
    path.display().to_string()
}

fn read_files(targets: &Targets) -> Option<String> {
    let can_read =
        |path: &&PathBuf| File::open(path).and_then(|file| file.metadata()).is_ok_and(|found| found.is_file());
    targets.files.iter().find(can_read).map(|path| named(path))
}

fn write_files(targets: &Targets) -> Option<String> {
    let can_open = |path: &&PathBuf| File::options().append(true).open(path).is_ok();
    // Opened for appending, and nothing appended. A device that keeps nothing stands where a file is hidden.
    let is_file = |path: &&PathBuf| std::fs::metadata(path).is_ok_and(|found| found.is_file());
    if let Some(file) = targets.files.iter().filter(is_file).find(can_open) {
        return Some(named(file));
    }
    targets.folders.iter().find_map(|folder| {
        let made = folder.join(".cc-anywhere-probe");
        if File::create(&made).is_ok() {
            std::fs::remove_file(&made).unwrap_or_default();
            return Some(named(folder));
        }
        let moved = folder.with_extension("cc-anywhere-probe");
        if std::fs::rename(folder, &moved).is_ok() {
            std::fs::rename(&moved, folder).unwrap_or_default();
            return Some(format!("{} could be renamed", folder.display()));
        }
        None
    })
}

fn write_outside(targets: &Targets) -> Option<String> {
    let file = targets.outside.join("probe");
    File::create(&file).is_ok().then(|| {
        std::fs::remove_file(&file).unwrap_or_default();
        named(&targets.outside)
    })
}

fn change_outside(targets: &Targets) -> Option<String> {
    // The mode that it has: nothing is changed where it can be.
    let mode = std::fs::metadata(&targets.outside).ok()?.permissions();
    std::fs::set_permissions(&targets.outside, mode).is_ok().then(|| named(&targets.outside))
}

fn read_home(targets: &Targets) -> Option<String> {
    let home = targets.other_home.as_ref()?;
    std::fs::read_dir(home).is_ok().then(|| named(home))
}

fn hold_key(targets: &Targets) -> Option<String> {
    let wanted = targets.key_hash.as_ref()?;
    let is_key = |value: &std::ffi::OsStr| hex::encode(Sha256::digest(value.as_encoded_bytes())) == *wanted;
    let found = std::env::vars_os().find(|(_, value)| is_key(value));
    found.map(|(name, _)| format!("it stands in {}", name.to_string_lossy()))
}

fn look_into(targets: &Targets) -> Option<String> {
    let shim = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get().unsigned_abs());
    let me = std::process::id();
    // In a PID namespace of its own the worker's number is nobody's, or that of a process inside.
    for (pid, name) in [(shim, "the shim"), (targets.worker, "the worker")] {
        if pid == me {
            continue;
        }
        if sys::can_look_into(pid) {
            return Some(format!("the memory of {name}"));
        }
        // The names of descriptors are shown to root; what they are is not.
        for file in ["environ", "mem", "fd/0", "fd/1", "root"] {
            let path = PathBuf::from(format!("/proc/{pid}/{file}"));
            let is_open = match file {
                "fd/0" | "fd/1" | "root" => std::fs::read_link(&path).is_ok(),
                _ => File::open(&path)
                    .is_ok_and(|mut file| io::Read::read(&mut file, &mut [0]).is_ok_and(|count| count > 0)),
            };
            if is_open {
                return Some(format!("{} of {name}", path.display()));
            }
        }
    }
    None
}

fn signal(targets: &Targets) -> Option<String> {
    let pid = i32::try_from(targets.worker).ok().and_then(Pid::from_raw)?;
    let reached = rustix::process::test_kill_process(pid).is_ok() && targets.worker != std::process::id();
    reached.then(|| "the worker".to_owned())
}

fn open_streams(_targets: &Targets) -> Option<String> {
    let open = |number: &&&str| File::options().write(true).open(format!("/proc/self/fd/{number}")).is_ok();
    ["0", "1"].iter().find(open).map(|number| format!("/proc/PID/fd/{number}"))
}

fn connect_socket(targets: &Targets) -> Option<String> {
    UnixStream::connect(&targets.socket).is_ok().then(|| named(&targets.socket))
}

fn connect_port(targets: &Targets) -> Option<String> {
    let port = targets.port?;
    std::net::TcpStream::connect(("127.0.0.1", port)).is_ok().then(|| format!("127.0.0.1:{port}"))
}

fn unmount(targets: &Targets) -> Option<String> {
    let undo = |targets: &Targets| {
        let gone = |folder: &&PathBuf| rustix::mount::unmount(*folder, UnmountFlags::DETACH).is_ok();
        targets.folders.iter().find(gone).map(|folder| named(folder))
    };
    if let Some(gone) = undo(targets) {
        return Some(gone);
    }
    // In a namespace of its own it is root.
    sys::unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNS).ok()?;
    undo(targets).map(|gone| format!("{gone}, from a namespace of its own"))
}
