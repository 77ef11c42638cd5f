//! What of the system every task may use: paths for Landlock, and calls for seccomp.

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

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
pub(super) const DEVICES: &[&str] = &["/dev/null", "/dev/zero", "/dev/full", "/dev/tty", "/dev/ptmx", "/dev/pts"];

/// Sockets through which a program could have others do what it may not: hidden where there is a mount namespace.
pub(super) const SOCKETS: &[&str] = &["/run/docker.sock", "/run/containerd", "/run/podman", "/run/user", "/run/dbus"];

/// Returns the paths of the system that a task may read.
pub(super) fn readable() -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = READ.iter().map(PathBuf::from).collect();
    if !rustix::process::geteuid().is_root() {
        paths.push(SETTINGS.into());
        return paths;
    }
    // Root reads everything, so the files of passwords are left out by their modes.
    let entries = std::fs::read_dir(SETTINGS).into_iter().flatten().flatten().map(|entry| entry.path());
    paths.extend(entries.filter(|path| std::fs::metadata(path).is_ok_and(|found| found.mode() & 0o004 != 0)));
    paths
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
