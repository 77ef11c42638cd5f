//! Starts of programs that copy nothing of this process's memory.
//!
//! The standard library forks where something is to be done before the `exec`, and copies the tables of all memory for it:
//! of a server, that takes longer than the rest of a start, and holds up the thread. Here the child runs in the memory of its
//! parent until its `exec`, as with vfork(2).

use std::ffi::{CString, NulError, OsStr, c_char, c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::ptr::{null, null_mut};
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::process::{Pid, WaitOptions, waitpid};

use crate::BeforeExec;

/// Size of a child's stack until its `exec`, in bytes.
const STACK_BYTES: usize = 64 << 10;

/// What the child needs until its `exec`. It runs in the memory of its parent, which waits for it.
struct Start<'a> {
    program: CString,
    args: Vec<*const c_char>,
    env: Vec<*const c_char>,
    streams: Option<[BorrowedFd<'a>; 3]>,
    steps: &'a BeforeExec,
    /// Number of the error that has ended it; 0 for none.
    failed: AtomicI32,
}

/// Starts a program after these steps. `args` begins with its name; the environment is exactly `env`; its standard streams
/// are `streams`, or those of this process. Who starts it waits for its end.
///
/// No stream is one of the numbers 0 to 2: the runtime of Rust has opened those that a process was started without.
///
/// # Errors
/// The system's, of a step or of the start; a text has a NUL in it.
pub fn spawn<'t>(
    program: &Path,
    args: impl Iterator<Item = &'t OsStr>,
    env: impl Iterator<Item = (&'t str, &'t str)>,
    streams: Option<[BorrowedFd<'_>; 3]>,
    steps: &BeforeExec,
) -> io::Result<Pid> {
    let args = args.map(|arg| CString::new(arg.as_bytes())).collect::<Result<Vec<_>, NulError>>()?;
    let env = env.map(|(name, value)| CString::new(format!("{name}={value}"))).collect::<Result<Vec<_>, NulError>>()?;
    let pointers = |texts: &[CString]| texts.iter().map(|text| text.as_ptr()).chain([null()]).collect();
    let start = Start {
        program: CString::new(program.as_os_str().as_bytes())?,
        args: pointers(&args),
        env: pointers(&env),
        streams,
        steps,
        failed: AtomicI32::new(0),
    };
    let child = without_signals(|| start.child())?;
    match start.failed.load(Ordering::Relaxed) {
        0 => Ok(child),
        error => {
            rustix::io::retry_on_intr(|| waitpid(Some(child), WaitOptions::empty()))?;
            Err(io::Error::from_raw_os_error(error))
        }
    }
}

/// Keeps signals off this thread: a handler of ours must not run in a child that uses our memory.
fn without_signals<T>(run: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    #[expect(
        unsafe_code,
        reason = "a set of signals is a plain value, which sigfillset(3) and pthread_sigmask(3) write"
    )]
    unsafe {
        let (mut all, mut before) = (std::mem::zeroed(), std::mem::zeroed());
        libc::sigfillset(&raw mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const all, &raw mut before);
        let result = run();
        libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, null_mut());
        result
    }
}

impl Start<'_> {
    /// Makes the child, and waits until it has become the program, or has ended.
    fn child(&self) -> io::Result<Pid> {
        // Pages that it does not touch are never there.
        let mut stack = Vec::<u128>::with_capacity(STACK_BYTES / size_of::<u128>());
        #[expect(
            unsafe_code,
            reason = "the child has a stack of its own, and is done with our memory when this returns"
        )]
        let child = unsafe {
            let top = stack.as_mut_ptr().add(stack.capacity()).cast::<c_void>();
            let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
            libc::clone(run, top, flags, std::ptr::from_ref(self).cast_mut().cast())
        };
        Pid::from_raw(child).filter(|_| child > 0).ok_or_else(io::Error::last_os_error)
    }

    /// In the child: no allocation, no lock. Returns the number of the error.
    fn exec(&self) -> c_int {
        for (number, stream) in (0..).zip(self.streams.iter().flatten()) {
            #[expect(unsafe_code, reason = "dup2(2) on a descriptor that is open; what it replaces is the child's own")]
            if unsafe { libc::dup2(stream.as_raw_fd(), number) } < 0 {
                return errno();
            }
        }
        if let Err(error) = self.steps.run() {
            return error.raw_os_error().unwrap_or(libc::EINVAL);
        }
        #[expect(
            unsafe_code,
            reason = "calls of the system on texts and lists that are there until this process is replaced"
        )]
        unsafe {
            // Both outlive the `exec`.
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const none, null_mut());
            libc::execve(self.program.as_ptr(), self.args.as_ptr(), self.env.as_ptr());
        }
        errno()
    }
}

fn errno() -> c_int {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}

extern "C" fn run(start: *mut c_void) -> c_int {
    #[expect(unsafe_code, reason = "what was passed on, which its owner keeps until this process is replaced or ends")]
    let start = unsafe { &*start.cast::<Start<'_>>() };
    start.failed.store(start.exec(), Ordering::Relaxed);
    127
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, getrlimit};

    use super::*;

    /// Its exit code; `None` where a signal has ended it.
    fn started(program: &str, args: &[&str], env: &[(&str, &str)], steps: &BeforeExec) -> io::Result<Option<i32>> {
        let all = std::iter::once(&program).chain(args).map(OsStr::new);
        let child = spawn(Path::new(program), all, env.iter().copied(), None, steps)?;
        let (_, status) = waitpid(Some(child), WaitOptions::empty())?.expect("its end");
        Ok(status.exit_status())
    }

    #[test]
    fn a_program_has_what_it_was_given_and_its_parent_nothing_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = Some(std::fs::File::open(folder.path()).expect("a folder").into());
        let steps = BeforeExec { directory, limits: vec![(libc::RLIMIT_FSIZE, 4_096)], ..BeforeExec::default() };
        let own = || (std::env::current_dir().expect("a folder"), getrlimit(Resource::Fsize).current);
        let before = own();
        let script = r#"[ "$A" = "b c" ] && [ -z "$HOME" ] && [ "$1" = "x" ] && [ "$(pwd -P)" = "$2" ] && [ "$(ulimit -f)" = 8 ] && exit 7"#;
        let path = folder.path().canonicalize().expect("a path");
        let args = ["-c", script, "sh", "x", path.to_str().expect("a text")];
        assert_eq!(started("/bin/sh", &args, &[("A", "b c")], &steps).expect("started"), Some(7));
        assert_eq!(own(), before);
    }

    #[test]
    fn a_start_that_fails_says_why() {
        let none = BeforeExec::default();
        let missing = started("/bin/that-is-not-there", &[], &[], &none).expect_err("nothing to start");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let directory = Some(std::fs::File::open("/bin/sh").expect("a file").into());
        let steps = BeforeExec { directory, ..none };
        let refused = started("/bin/sh", &["-c", "exit 0"], &[], &steps).expect_err("no folder");
        assert_eq!(refused.kind(), io::ErrorKind::NotADirectory);
        let cut = started("/bin/sh", &["-c", "\0"], &[], &BeforeExec::default()).expect_err("no argument");
        assert_eq!(cut.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn a_signal_is_not_kept_off_a_program() {
        let kills_itself = started("/bin/sh", &["-c", "kill -TERM $$; exit 0"], &[], &BeforeExec::default());
        assert_eq!(kills_itself.expect("started"), None);
        // Written to a pipe that nobody reads, it ends in silence.
        let pipe = started("/bin/bash", &["-c", "yes | true; exit ${PIPESTATUS[0]}"], &[], &BeforeExec::default());
        assert_eq!(pipe.expect("started"), Some(141));
    }
}
