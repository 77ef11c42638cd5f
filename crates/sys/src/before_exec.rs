//! Steps of a new process before its exec.
//!
//! There only what is async-signal-safe may run: no allocation, no lock. So the steps are data, made before the start; each is
//! a call of the system or two.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use seccompiler::BpfProgram;

/// A user with its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct User {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Steps of a new process before its exec, in the order in which they are made.
#[derive(Debug, Default)]
pub struct BeforeExec {
    /// Folder in which it starts.
    pub directory: Option<OwnedFd>,
    /// Limits of resources (`RLIMIT_…`), soft and hard.
    pub limits: Vec<(u32, u64)>,
    /// Capabilities that it may have, as a set of bits; all others are taken from it for good.
    pub capabilities: Option<u64>,
    /// User that it becomes, without further groups.
    pub user: Option<User>,
    /// Rules of Landlock that hold for it; it and its children gain no privileges by `exec` any more.
    pub ruleset: Option<OwnedFd>,
    /// Filter of system calls; as with rules.
    pub filter: Option<BpfProgram>,
    /// True if it is killed when the thread that starts it ends.
    pub dies_with_parent: bool,
}

impl BeforeExec {
    /// Makes the steps. One that fails fails the start.
    pub(crate) fn run(&self) -> io::Result<()> {
        if let Some(directory) = &self.directory {
            rustix::process::fchdir(directory)?;
        }
        for (resource, limit) in &self.limits {
            set_limit(*resource, *limit)?;
        }
        if let Some(kept) = self.capabilities {
            keep_capabilities(kept)?;
        }
        if let Some(user) = self.user {
            become_user(user)?;
        }
        if self.ruleset.is_some() || self.filter.is_some() {
            rustix::thread::set_no_new_privs(true)?;
        }
        if let Some(ruleset) = &self.ruleset {
            restrict(ruleset)?;
        }
        if let Some(filter) = &self.filter {
            // Its causes are texts; here there is no room for one.
            seccompiler::apply_filter(filter).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
        }
        if self.dies_with_parent {
            // After the change of the user, which resets it.
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        }
        Ok(())
    }
}

fn check(result: i64) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lowers a limit. One that is lower already stays.
fn set_limit(resource: u32, limit: u64) -> io::Result<()> {
    let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    #[expect(unsafe_code, reason = "getrlimit(2) writes to the place that is passed")]
    let got = unsafe { libc::getrlimit(resource as _, &raw mut now) };
    check(got.into())?;
    let lower = libc::rlimit { rlim_cur: now.rlim_cur.min(limit), rlim_max: now.rlim_max.min(limit) };
    #[expect(unsafe_code, reason = "setrlimit(2) reads the place that is passed")]
    let set = unsafe { libc::setrlimit(resource as _, &raw const lower) };
    check(set.into())
}

/// Takes capabilities out of the bounding set: an `exec` gives at most what is there, to root too.
fn keep_capabilities(kept: u64) -> io::Result<()> {
    for capability in 0..64 {
        if kept & (1 << capability) != 0 {
            continue;
        }
        #[expect(unsafe_code, reason = "prctl(2) with numbers alone")]
        let dropped = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
        match (dropped, io::Error::last_os_error()) {
            (0, _) => {}
            // Behind the last one that the kernel has.
            (_, error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            (_, error) => return Err(error),
        }
    }
    #[expect(unsafe_code, reason = "prctl(2) with numbers alone")]
    let cleared = unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    check(cleared.into())
}

/// The calls of the kernel: those of the C library would change other threads, which are not here.
fn become_user(user: User) -> io::Result<()> {
    #[expect(unsafe_code, reason = "system calls with numbers and an empty list")]
    let results = unsafe {
        [
            libc::syscall(libc::SYS_setgroups, 0, std::ptr::null::<libc::gid_t>()),
            libc::syscall(libc::SYS_setresgid, user.gid, user.gid, user.gid),
            libc::syscall(libc::SYS_setresuid, user.uid, user.uid, user.uid),
        ]
    };
    results.into_iter().try_for_each(check)
}

fn restrict(ruleset: &OwnedFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "landlock_restrict_self(2) takes a descriptor and a number")]
    let restricted = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) };
    check(restricted)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::fs::File;
    use std::io::Read as _;
    use std::os::fd::AsFd as _;
    use std::path::Path;

    use rustix::process::{WaitOptions, waitpid};

    use super::*;

    fn output(program: &str, args: &[&str], steps: &BeforeExec) -> String {
        let (read, write) = io::pipe().expect("a pipe");
        let null = File::options().read(true).write(true).open("/dev/null").expect("nothing");
        let args = std::iter::once(&program).chain(args).map(OsStr::new);
        let streams = Some([null.as_fd(), write.as_fd(), null.as_fd()]);
        let child = crate::spawn(Path::new(program), args, std::iter::empty(), streams, steps).expect("a process");
        drop(write);
        let mut said = String::new();
        (&read).read_to_string(&mut said).expect("a text");
        waitpid(Some(child), WaitOptions::empty()).expect("its end");
        said.trim().to_owned()
    }

    #[test]
    fn a_process_starts_in_the_folder_that_was_opened_and_under_its_limits() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (folder.path().join("old"), folder.path().join("new"));
        std::fs::create_dir(&old).expect("a folder");
        let directory = Some(std::fs::File::open(&old).expect("a folder").into());
        std::fs::rename(&old, &new).expect("renamed");
        let steps = BeforeExec { directory, limits: vec![(libc::RLIMIT_FSIZE, 4_096)], ..BeforeExec::default() };
        let said = output("/bin/sh", &["-c", "pwd -P; ulimit -f; ulimit -H -f"], &steps);
        let wanted = format!("{}\n8\n8", new.canonicalize().expect("a path").display());
        assert_eq!(said, wanted);
    }

    #[test]
    fn root_keeps_the_capabilities_that_it_is_left() {
        if !rustix::process::geteuid().is_root() {
            return;
        }
        let steps = BeforeExec { capabilities: Some(0b11), ..BeforeExec::default() };
        let said = output("/bin/grep", &["-E", "^Cap(Eff|Bnd)", "/proc/self/status"], &steps);
        assert_eq!(said, "CapEff:\t0000000000000003\nCapBnd:\t0000000000000003");
        let steps = BeforeExec { user: Some(User { uid: 65_534, gid: 65_534 }), ..BeforeExec::default() };
        assert_eq!(output("/usr/bin/id", &["-G"], &steps), "65534");
    }
}
