//! Starts of programs: those that something is to be done for before their `exec` by [`sys::spawn`], the others by `Command`,
//! whose only user this is.

use crate::config::Environment;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use sys::BeforeExec;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::process::Child;

use super::{BackOff, number_of};

/// Held while a process is started: what one of them is to inherit, no other one does.
static STARTING: Mutex<()> = Mutex::new(());

/// Description of a process to start. The environment is exactly `env`: nothing is inherited.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The program, as an absolute path.
    pub program: PathBuf,
    /// Arguments of the program, without its name.
    pub args: Vec<OsString>,
    /// Whole environment.
    pub env: Environment,
    /// Folder in which it starts; ours where `None`.
    pub directory: Option<PathBuf>,
}

impl Launch {
    fn command(&self) -> Command {
        #[expect(clippy::disallowed_methods, reason = "the one place that builds commands")]
        let mut command = Command::new(&self.program);
        command.args(&self.args).env_clear().envs(self.env.iter().map(|(k, v)| (k, v)));
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        command
    }

    /// Starts it after these steps, of which the folder is one, on these standard streams or on ours.
    fn start(&self, streams: Option<[BorrowedFd<'_>; 3]>, steps: &BeforeExec) -> io::Result<Pid> {
        let args = std::iter::once(self.program.as_os_str()).chain(self.args.iter().map(OsString::as_os_str));
        let env = self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        sys::spawn(&self.program, args, env, streams, steps)
    }
}

/// Starts a process.
fn start(mut command: tokio::process::Command) -> io::Result<Child> {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    command.spawn()
}

/// Starts a process that inherits `passed_on` under its number. Without a step of our own before `exec` the standard library
/// needs no fork, which would copy the tables of all our memory.
fn start_with(command: Command, passed_on: OwnedFd) -> io::Result<Child> {
    let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    fcntl_setfd(&passed_on, FdFlags::empty())?;
    let started = tokio::process::Command::from(command).spawn();
    // Before another process may be started.
    drop(passed_on);
    started
}

/// Asks the desktop to open an address. Returns false where there is none.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that builds commands")]
pub fn open_in_browser(url: &str) -> bool {
    let quiet = |program: &str| {
        let mut command = Command::new(program);
        command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let started = {
            let _alone = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
            command.spawn()
        };
        started.and_then(|mut child| child.wait()).is_ok_and(|status| status.success())
    };
    ["xdg-open", "open"].into_iter().any(quiet)
}

/// The streams of a CLI, as the worker holds them. Sockets: a process that finds one in `/proc` can't open it anew, as
/// it could a pipe.
pub struct Streams {
    /// Frames to the CLI.
    pub stdin: tokio::net::UnixStream,
    /// Frames from the CLI.
    pub stdout: tokio::net::UnixStream,
    /// Standard error.
    pub stderr: tokio::net::UnixStream,
}

/// Starts a shim with the CLI's streams, and the control socket `control` under its own number.
///
/// # Errors
/// The system's, when the process can't be started.
pub fn spawn_shim(launch: &Launch, control: OwnedFd) -> io::Result<(Child, Streams)> {
    fail::fail_point!("no-process", |_| Err(io::Error::from_raw_os_error(libc::EAGAIN)));
    let mut command = launch.command();
    let (stdin, theirs) = stream()?;
    command.stdin(theirs);
    let (stdout, theirs) = stream()?;
    command.stdout(theirs);
    let (stderr, theirs) = stream()?;
    command.stderr(theirs);
    let child = start_with(command, control)?;
    Ok((child, Streams { stdin, stdout, stderr }))
}

/// Starts a process of ours with the control socket `control` under its own number. It inherits our output, and may
/// outlive us.
///
/// # Errors
/// The system's, when the process can't be started.
pub fn spawn_helper(launch: &Launch, control: OwnedFd) -> io::Result<Child> {
    let mut command = launch.command();
    command.stdin(Stdio::null()).process_group(0);
    start_with(command, control)
}

/// A process that was started here. Dropped before its end was awaited, it is killed.
struct Started(Pid);

impl Started {
    /// Waits for its end.
    async fn wait(self) -> io::Result<ExitStatus> {
        let status = end_of(self.0).await;
        // By now its number may be another one's.
        std::mem::forget(self);
        status
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It is ours, and its end was not fetched: the number is of no other one.
        kill_process(self.0, Signal::KILL).unwrap_or_default();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(end_of(self.0));
        }
    }
}

async fn end_of(pid: Pid) -> io::Result<ExitStatus> {
    let mut back_off = BackOff::default();
    loop {
        super::ended(number_of(pid)).await;
        match rustix::io::retry_on_intr(|| waitpid(Some(pid), WaitOptions::NOHANG))? {
            Some((_, status)) => return Ok(ExitStatus::from_raw(status.as_raw())),
            // The system had no descriptor for watching it.
            None => back_off.pause().await,
        }
    }
}

/// Returns our end of a pipe that a process writes into, and the other one.
fn pipe() -> io::Result<(Receiver, OwnedFd)> {
    let (ours, theirs) = io::pipe()?;
    Ok((Receiver::from_owned_fd(ours.into())?, theirs.into()))
}

/// Returns our end of a stream, and the other one.
fn stream() -> io::Result<(tokio::net::UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    Ok((tokio::net::UnixStream::from_std(ours)?, theirs.into()))
}

/// In the shim: starts the CLI on the shim's own streams, after these steps. Returns its pid.
///
/// # Errors
/// The system's, when the process can't be started.
pub fn spawn_cli(launch: &Launch, steps: BeforeExec) -> io::Result<u32> {
    launch.start(None, &steps).map(number_of)
}

/// Starts a worker in a process group of its own, so that Ctrl-C reaches its supervisor only.
/// It inherits our output, and outlives us.
///
/// # Errors
/// The system's, when the process can't be started.
pub fn spawn_worker(launch: &Launch) -> io::Result<Child> {
    let mut command = launch.command();
    command.stdin(Stdio::null()).process_group(0);
    start(command.into())
}

/// Runs a program to its end and returns what it printed, standard error behind standard
/// output.
///
/// # Errors
/// It can't be started, or didn't end within `limit`; it is killed then.
pub async fn output(launch: &Launch, limit: Duration) -> io::Result<(ExitStatus, String)> {
    let mut command = tokio::process::Command::from(launch.command());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let output = tokio::time::timeout(limit, start(command)?.wait_with_output())
        .await
        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "did not end in time"))??;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok((output.status, text))
}

/// A program that has run to its end.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub status: ExitStatus,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Beginning of standard error.
    pub stderr: String,
}

/// Length that is kept of standard error, in bytes.
const MAX_STDERR_BYTES: u64 = 16 << 10;

/// Runs a program to its end, after these steps, and returns what it printed, at most `most` bytes.
///
/// # Errors
/// It can't be started, printed more, or didn't end within `limit`; it is killed then.
pub async fn captured(launch: &Launch, steps: BeforeExec, limit: Duration, most: usize) -> io::Result<Ran> {
    let (out, stdout) = pipe()?;
    let (err, stderr) = pipe()?;
    let stdin = File::open("/dev/null")?;
    let child = Started(launch.start(Some([stdin.as_fd(), stdout.as_fd(), stderr.as_fd()]), &steps)?);
    drop((steps, stdin, stdout, stderr));
    let run = async {
        // Each stream is closed behind what is read of it, so that nobody waits for us.
        let (stdout, stderr) = tokio::try_join!(begin(out, most as u64 + 1), begin(err, MAX_STDERR_BYTES))?;
        if stdout.len() > most {
            return Err(io::Error::other(format!("printed more than {most} bytes")));
        }
        let status = child.wait().await?;
        Ok(Ran { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() })
    };
    tokio::time::timeout(limit, run)
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "did not end in time")))
}

async fn begin(stream: impl tokio::io::AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    stream.take(most).read_to_end(&mut bytes).await?;
    Ok(bytes)
}

/// Returns the exit code or the signal of a process.
#[must_use]
pub fn exit_of(status: ExitStatus) -> (Option<i32>, Option<i32>) {
    (status.code(), status.signal())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::control_pair;
    use std::os::fd::AsRawFd as _;

    fn launch(program: &str, args: &[&str]) -> Launch {
        let args = args.iter().map(Into::into).collect();
        Launch { program: program.into(), args, env: Environment::default(), directory: None }
    }

    #[tokio::test]
    async fn a_program_is_run_to_its_end_or_killed() {
        let run = |script: &str, limit: Duration, most: usize| {
            let launch = launch("/bin/sh", &["-c", script]);
            async move { captured(&launch, BeforeExec::default(), limit, most).await }
        };
        let long = Duration::from_secs(20);
        let ran = run("cat; echo said; echo told >&2; exit 3", long, 100).await.expect("run");
        assert_eq!(
            (ran.status.code(), ran.stdout.as_slice(), ran.stderr.as_str()),
            (Some(3), &b"said\n"[..], "told\n")
        );
        assert!(run("kill -KILL $$", long, 100).await.expect("run").status.signal().is_some());
        assert!(run("yes", long, 100).await.is_err(), "it prints more");
        let missing = launch("/bin/that-is-not-there", &[]);
        let missing = captured(&missing, BeforeExec::default(), long, 100).await.expect_err("nothing to run");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("pid");
        let script = format!("echo $$ > {}; exec sleep 1000", file.display());
        let late = run(&script, Duration::from_secs(1), 100).await.expect_err("no end");
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        let pid = std::fs::read_to_string(&file).expect("it has begun").trim().parse().expect("a number");
        crate::process::ended(pid).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn what_is_passed_on_to_one_process_reaches_no_other() {
        let helpers = (0..2).map(|_| {
            tokio::spawn(async {
                for _ in 0..100 {
                    let (_ours, theirs) = control_pair().expect("a socket");
                    let number = theirs.as_raw_fd();
                    let has_it = launch("/bin/sh", &["-c", &format!("test -S /proc/self/fd/{number}")]);
                    let mut helper = spawn_helper(&has_it, theirs).expect("started");
                    assert!(helper.wait().await.expect("ended").success(), "it has what it was given");
                }
            })
        });
        let others = (0..2).map(|_| {
            tokio::spawn(async {
                for _ in 0..100 {
                    let listed = output(&launch("/bin/ls", &["-l", "/proc/self/fd"]), Duration::from_secs(20)).await;
                    let (status, open) = listed.expect("listed");
                    assert!(status.success() && !open.contains("socket:"), "{open}");
                }
            })
        });
        for task in helpers.chain(others).collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
    }
}
