//! What of the system every task may use: paths for Landlock, and calls for seccomp.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// Folders of programs, libraries and settings that all users of the machine may read.
const READ: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/libx32",
    "/opt",
    "/nix",
    "/gnu",
    "/snap",
    "/proc",
    "/sys",
    "/run/systemd/resolve",
    "/run/resolvconf",
    "/run/nscd",
    "/run/current-system",
    "/var/lib/dpkg",
    "/var/lib/apt",
    "/var/cache/fontconfig",
    "/dev/random",
    "/dev/urandom",
    "/dev/fd",
];

/// Settings of the system. As root, only what everybody may read.
const SETTINGS: &str = "/etc";

/// Devices that keep nothing.
const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// Sockets through which a program could have others do what it may not: hidden where there is a mount namespace.
pub(super) const SOCKETS: &[&str] = &["/run/docker.sock", "/run/containerd", "/run/podman", "/run/user", "/run/dbus"];

/// A path, and which file stands there: its device and its number.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub path: PathBuf,
    file: (u64, u64),
}

impl Standing {
    /// What stands at a path, where anything does, as far as it is `wanted`.
    fn at(path: PathBuf, wanted: impl FnOnce(&Metadata) -> bool) -> Option<Self> {
        let found = std::fs::metadata(&path).ok().filter(wanted)?;
        Some(Self { path, file: (found.dev(), found.ino()) })
    }
}

/// The paths of the system that every task may use, as they stand at a time.
#[derive(Debug)]
pub(super) struct SystemPaths {
    /// Folders that it may read.
    folders: Vec<Standing>,
    /// Devices, which it may write too.
    pub devices: Vec<Standing>,
    /// Settings that it may read, where the folder with all of them is not for it.
    settings: Vec<Standing>,
    /// Those of them that are links. What they lead to may change without the folder.
    links: Vec<Standing>,
}

impl SystemPaths {
    /// Returns them as they stand now.
    pub(super) fn now() -> Self {
        let (mut settings, mut links) = (Vec::new(), Vec::new());
        // Root reads everything, so the files of passwords are left out by their modes.
        let entries = self::settings().and_then(|folder| std::fs::read_dir(folder).ok());
        for entry in entries.into_iter().flatten().flatten() {
            let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
            let to = if is_link { &mut links } else { &mut settings };
            to.extend(setting(entry.path()));
        }
        Self { folders: folders(), devices: devices(), settings, links }
    }

    /// Returns what may be read.
    pub(super) fn readable(&self) -> impl Iterator<Item = &Path> {
        let all = self.folders.iter().chain(&self.settings).chain(&self.links);
        all.map(|standing| standing.path.as_path())
    }

    /// True if the same files stand there now. Settings that are no links are left to the
    /// [watch](super::SettingsWatch): they are many.
    pub(super) fn stand(&self) -> bool {
        let is_there = |link: &Standing| setting(link.path.clone()).as_ref() == Some(link);
        self.folders == folders() && self.devices == devices() && self.links.iter().all(is_there)
    }
}

/// The folder of settings, where its files are granted one by one.
pub(super) fn settings() -> Option<&'static Path> {
    rustix::process::geteuid().is_root().then_some(Path::new(SETTINGS))
}

fn folders() -> Vec<Standing> {
    let all = READ.iter().chain(settings().is_none().then_some(&SETTINGS));
    all.filter_map(|path| Standing::at((*path).into(), |_| true)).collect()
}

fn devices() -> Vec<Standing> {
    DEVICES.iter().filter_map(|path| Standing::at((*path).into(), |_| true)).collect()
}

/// A setting that everybody may read.
fn setting(path: PathBuf) -> Option<Standing> {
    Standing::at(path, |file| file.mode() & 0o004 != 0)
}

/// Calls with which a process reaches into another one, or into the kernel. They fail with `EPERM`.
const CALLS: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_open_by_handle_at,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
];

/// Makes the filter of system calls.
///
/// # Errors
/// The architecture is one that the filter doesn't know.
pub(super) fn filter() -> io::Result<BpfProgram> {
    let rules = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
    let refuse = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refuse, arch).map_err(io::Error::other)?;
    filter.try_into().map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stood_there_still_stands() {
        let now = SystemPaths::now();
        assert!(now.stand() && now.readable().any(|path| path == Path::new("/usr")));
        assert!(now.readable().any(|path| path.starts_with("/etc")));
        let gone = Standing { path: "/etc/no such file".into(), file: (0, 0) };
        assert!(!SystemPaths { links: vec![gone], ..now }.stand());
    }
}
