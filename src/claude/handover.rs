//! A run that goes from one worker to the next while the CLI runs on: the worker leaves the streams with the shim, and the
//! next one takes them from there.
//!
//! ```text
//! worker            shim                     next worker
//!   │ Hold + streams  │
//!   ├────────────────▶│ keeps them, reads on
//!   │◀──────── Holds ─┤
//!   │ (the store knows that the attempt is handed over)
//!   │ LetGo           │
//!   ├────────────────▶│ waits, until its deadline
//!   │◀──────── LetGo ─┤
//!   ╳                 │◀───────── connects ─┤
//!                     ├ Offer + streams ───▶│
//!                     │  (the store gives it the lease)
//!                     │◀──────────── Taken ─┤
//! ```
//!
//! At each step the worker that has the right to the attempt may die: before `LetGo` the shim ends the tree, behind
//! `Taken` too; between them it waits for another worker until its deadline, and then ends the tree.

use std::collections::HashMap;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream as Stream;

use super::run::{Before, Exit, Item, Run, RunRules, item};
use super::shim::{FromShim, Signed, ToShim, part};
use super::streams;
use super::way::{Ack, Order, Way};
use crate::process::{self, ControlLines};
use domain::{BootInstant, Epoch, LeaseKey, TaskId};

/// Longest answer of a shim: it has nothing else to do.
const SHIM_LIMIT: Duration = Duration::from_secs(2);
/// The kernel takes 107 bytes for the name of a socket; the names of attempts need some forty.
const MAX_FOLDER_BYTES: usize = 55;

/// What another worker must know of a run, beside the streams.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunState {
    /// Read of the output, and no whole line; in hexadecimal.
    unread: String,
    /// Not written to the CLI yet; in hexadecimal.
    unwritten: String,
    /// True if the CLI may be told more.
    takes_input: bool,
    /// Bytes of lines that the CLI has printed.
    bytes: u64,
    /// End of what it said on standard error.
    stderr: String,
    rules: RunRules,
}

/// Folder for the sockets of attempts that are handed over, of this data folder: inside it, or, where that path is too
/// long for a socket, in the folder for temporary files.
#[must_use]
pub fn handover_folder(data_dir: &Path) -> PathBuf {
    let inside = data_dir.join("run").join("attempts");
    if inside.as_os_str().len() <= MAX_FOLDER_BYTES {
        return inside;
    }
    let digest = Sha256::digest(data_dir.as_os_str().as_encoded_bytes());
    let name = hex::encode(&digest[..8]);
    PathBuf::from(format!("/tmp/cc-anywhere-{}-{name}/attempts", process::effective_uid()))
}

/// The attempts in this folder that were handed over, with the socket of each.
#[must_use]
pub fn offers(folder: &Path) -> Vec<(LeaseKey, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter_map(|path| Some((lease_of(path.file_stem()?.to_str()?)?, path))).collect()
}

fn lease_of(name: &str) -> Option<LeaseKey> {
    let (task, epoch) = name.split_once('.')?;
    Some(LeaseKey { task: task.parse::<TaskId>().ok()?, epoch: epoch.parse().map(Epoch::of).ok()? })
}

fn socket_of(folder: &Path, key: LeaseKey) -> PathBuf {
    folder.join(format!("{}.{}.sock", key.task.uuid().simple(), key.epoch))
}

/// A run that its shim holds for another worker. Dropped before it is let go, its process tree is ended.
pub struct HeldRun {
    way: Way,
    /// File of its socket, until that is the next worker's.
    socket: Option<PathBuf>,
}

impl Run {
    /// Stops reading what the CLI prints; [`rest`](Self::rest) returns what was read before.
    pub fn pause(&self) {
        self.streams.stop.send_replace(true);
    }

    /// The next item that was read before the [pause](Self::pause); `None` behind the last.
    pub async fn rest(&mut self) -> Option<Item> {
        self.frames.recv().await.map(|(line, _)| item(line))
    }

    /// Leaves a paused run with its shim, for another worker. `state` makes one text of what that one must know. The
    /// pass goes along, where there is one.
    ///
    /// # Errors
    /// The run can't be handed over, since it has ended, or the shim does not answer; returned with its end.
    pub async fn hold(
        self,
        folder: &Path,
        key: LeaseKey,
        pass: Option<OwnedFd>,
        state: impl FnOnce(RunState) -> io::Result<String>,
    ) -> Result<HeldRun, (io::Error, Exit)> {
        let takes_input = self.takes_input();
        // Its sender is kept until the input has stopped: without one it would be closed.
        let Self { way, streams, stderr, rules, exit, input: _input, .. } = self;
        let held = async {
            let left = streams.left().await?;
            let kept = stderr.lock().map(|kept| kept.clone()).unwrap_or_default();
            let run = RunState {
                unread: hex::encode(&left.output.unread),
                unwritten: left.input.as_ref().map(|(_, unwritten)| hex::encode(unwritten)).unwrap_or_default(),
                takes_input,
                bytes: left.output.bytes,
                stderr: String::from_utf8_lossy(&kept).into_owned(),
                rules,
            };
            let state = state(run)?;
            let mut parts = Parts::default();
            parts.add(part::STDIN, left.input.map(|(stdin, _)| stdin))?;
            parts.add(part::STDOUT, left.output.stream)?;
            parts.add(part::STDERR, left.stderr)?;
            parts.push(part::PASS, pass);
            folder.parent().map(process::make_own_folder).transpose()?;
            process::make_own_folder(folder)?;
            let socket = socket_of(folder, key);
            parts.push(part::LISTENER, Some(UnixListener::bind(&socket)?.into()));
            let held = HeldRun { way, socket: Some(socket) };
            held.way.send(Order::with(&ToShim::Hold { state, parts: parts.names }, parts.descriptors)?)?;
            held.confirmed(Ack::Holds).await
        };
        match held.await {
            Ok(held) => Ok(held),
            // The way is closed: the shim ends what is left.
            Err(error) => {
                let exit = tokio::time::timeout(2 * SHIM_LIMIT, exit).await;
                Err((error, exit.ok().and_then(Result::ok).unwrap_or(Exit::LOST)))
            }
        }
    }
}

/// Descriptors with their names.
#[derive(Default)]
struct Parts {
    names: Vec<String>,
    descriptors: Vec<OwnedFd>,
}

impl Parts {
    fn add(&mut self, name: &str, stream: Option<Stream>) -> io::Result<()> {
        self.push(name, stream.map(Stream::into_std).transpose()?.map(OwnedFd::from));
        Ok(())
    }

    fn push(&mut self, name: &str, descriptor: Option<OwnedFd>) {
        if let Some(descriptor) = descriptor {
            self.names.push(name.to_owned());
            self.descriptors.push(descriptor);
        }
    }
}

impl HeldRun {
    async fn confirmed(mut self, wanted: Ack) -> io::Result<Self> {
        match tokio::time::timeout(SHIM_LIMIT, self.way.acks.recv()).await {
            Ok(Some(ack)) if ack == wanted => Ok(self),
            Ok(Some(_)) => Err(io::Error::other("the shim has confirmed something else")),
            Ok(None) => Err(io::Error::other("the shim is gone")),
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the shim does not answer")),
        }
    }

    /// Moves the time at which the shim ends the tree by itself.
    pub fn extend(&self, deadline: BootInstant) {
        self.way.tell(&ToShim::Deadline { at_ms: deadline.ms });
    }

    /// Leaves the run, which lives until this time unless another worker takes it.
    ///
    /// # Errors
    /// The shim does not answer; it ends the process tree.
    pub async fn let_go(self, deadline: BootInstant) -> io::Result<()> {
        self.way.tell(&ToShim::LetGo { at_ms: deadline.ms });
        let mut left = self.confirmed(Ack::LetGo).await?;
        left.socket = None;
        Ok(())
    }
}

impl Drop for HeldRun {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            // One that stays is found by the next worker, and answered by nobody.
            std::fs::remove_file(socket).unwrap_or_default();
        }
    }
}

/// A run that its shim offers. Dropped before it is taken, it is offered to the next worker.
pub struct Offer {
    orders: ControlLines,
    secret: String,
    /// The attempt.
    pub lease: LeaseKey,
    /// What the last worker has left.
    pub state: String,
    parts: HashMap<String, OwnedFd>,
    printed: Vec<u8>,
    said: Vec<u8>,
}

impl Offer {
    /// Asks the shim behind a socket; blocks.
    ///
    /// # Errors
    /// `ConnectionRefused` where the shim is gone; the system's, and an answer that can't be read.
    pub fn ask(socket: &Path) -> io::Result<Self> {
        let connection = UnixStream::connect(socket)?;
        connection.set_read_timeout(Some(SHIM_LIMIT))?;
        let mut orders = ControlLines::new(connection);
        let line = orders.next()?.ok_or(io::ErrorKind::UnexpectedEof)?;
        let Signed { secret, says } = serde_json::from_slice(&line)?;
        let FromShim::Offer { lease: Some(lease), state, parts, printed, said } = says else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the shim offers no attempt"));
        };
        let (printed, said) = (orders.take(printed)?, orders.take(said)?);
        let parts = parts.into_iter().zip(orders.passed()).collect();
        Ok(Self { orders, secret, lease, state, parts, printed, said })
    }

    /// Returns the right to ask the API that comes with it.
    pub fn pass(&mut self) -> Option<OwnedFd> {
        self.parts.remove(part::PASS)
    }

    /// Takes the run, which lives until this time unless told otherwise.
    ///
    /// # Errors
    /// The shim is gone, or a stream is missing.
    pub fn take(mut self, state: RunState, deadline: BootInstant) -> io::Result<Run> {
        let mut part = |name: &str| self.parts.remove(name).map(stream).transpose();
        let (stdin, stdout, stderr) = (part(part::STDIN)?, part(part::STDOUT)?, part(part::STDERR)?);
        let mut before = Before {
            unread: hex::decode(&state.unread).map_err(io::Error::other)?,
            bytes: state.bytes,
            unwritten: hex::decode(&state.unwritten).map_err(io::Error::other)?,
            stderr: state.stderr.into_bytes(),
        };
        before.unread.extend_from_slice(&self.printed);
        streams::keep(&mut before.stderr, &self.said);
        let control = self.orders.into_socket();
        let mut taken = serde_json::to_string(&ToShim::Taken { at_ms: deadline.ms })?;
        taken.push('\n');
        (&control).write_all(taken.as_bytes())?;
        control.set_nonblocking(true)?;
        let streams = (stdin, stdout.map_or_else(ended, Ok)?, stderr.map_or_else(ended, Ok)?);
        let mut run = Run::over(streams, Way::over(control)?, None, self.secret, state.rules, before);
        if !state.takes_input {
            run.finish_input();
        }
        Ok(run)
    }
}

fn stream(descriptor: OwnedFd) -> io::Result<Stream> {
    let stream = UnixStream::from(descriptor);
    stream.set_nonblocking(true)?;
    Stream::from_std(stream)
}

/// A stream that has ended.
fn ended() -> io::Result<Stream> {
    Stream::pair().map(|(ours, _)| ours)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_has_the_name_of_its_attempt() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = LeaseKey { task: TaskId::new(), epoch: Epoch::of(7) };
        for name in [socket_of(folder.path(), key), folder.path().join("x.sock"), folder.path().join("1.2.sock")] {
            std::fs::write(name, "").expect("written");
        }
        assert_eq!(offers(folder.path()), [(key, socket_of(folder.path(), key))]);
        assert!(socket_of(&handover_folder(Path::new(&"/d".repeat(100))), key).as_os_str().len() < 108);
        assert!(socket_of(&handover_folder(Path::new("/data")), key).starts_with("/data/run"));
    }
}
