//! What a shim keeps between two workers: the streams of the CLI, what it prints meanwhile, and what the last worker has
//! left for the next.

use std::io::{self, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use super::messages::{FromShim, Signed, part};
use crate::process::{self, ControlLines};
use domain::LeaseKey;

/// Bytes of output that are kept in memory; then the CLI waits, as it does for a worker that reads nothing.
const MAX_PRINTED: usize = 16 << 20;
/// The same of standard error, of which the end counts.
const MAX_SAID: usize = 64 << 10;
/// Bytes that are read at a time.
const CHUNK: usize = 64 << 10;
/// Time after which an offer that was not taken is made to another worker.
pub const TAKE_LIMIT: Duration = Duration::from_secs(10);
/// Longest time for an offer: a worker that takes it reads it at once.
const OFFER_LIMIT: Duration = Duration::from_millis(700);

/// See the [module](self).
pub struct Held {
    listener: UnixListener,
    state: String,
    /// Names of the descriptors, in order.
    names: Vec<String>,
    descriptors: Vec<OwnedFd>,
    printed: Spool,
    said: Spool,
    /// True if the last worker has left.
    pub is_free: bool,
    /// A worker to which it was offered, and which has not taken it yet, with the time of the offer.
    pub asked: Option<(ControlLines, Instant)>,
}

/// Output that nobody reads for now.
struct Spool {
    /// Place of its stream among the descriptors.
    at: Option<usize>,
    bytes: Vec<u8>,
    most: usize,
    /// True if its end is kept rather than its beginning.
    keeps_end: bool,
    has_ended: bool,
}

impl Spool {
    fn wants_more(&self) -> bool {
        self.at.is_some() && !self.has_ended && (self.keeps_end || self.bytes.len() < self.most)
    }

    /// Reads what there is.
    fn read(&mut self, stream: &OwnedFd) {
        let mut chunk = [0; CHUNK];
        while self.wants_more() {
            match rustix::io::read(stream, &mut chunk) {
                Ok(0) => self.has_ended = true,
                Ok(count) => self.bytes.extend_from_slice(&chunk[..count]),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => break,
                Err(_) => self.has_ended = true,
            }
            if self.keeps_end {
                self.bytes.drain(..self.bytes.len().saturating_sub(self.most));
            }
        }
    }
}

impl Held {
    /// Takes over what a worker has left. `None` where the socket for the next one is not among it.
    pub fn new(state: String, mut names: Vec<String>, mut descriptors: Vec<OwnedFd>) -> Option<Self> {
        if names.len() != descriptors.len() {
            return None;
        }
        let at = names.iter().position(|name| name == part::LISTENER)?;
        names.remove(at);
        let listener = UnixListener::from(descriptors.remove(at));
        listener.set_nonblocking(true).ok()?;
        let spool = |name: &str, most, keeps_end| {
            let at = names.iter().position(|one| one == name);
            Spool { at, bytes: Vec::new(), most, keeps_end, has_ended: false }
        };
        let (printed, said) = (spool(part::STDOUT, MAX_PRINTED, false), spool(part::STDERR, MAX_SAID, true));
        Some(Self { listener, state, names, descriptors, printed, said, is_free: false, asked: None })
    }

    /// What is waited for: the next worker once the last one has left, else more output.
    pub fn sources(&self) -> Vec<BorrowedFd<'_>> {
        if let Some((asked, _)) = &self.asked {
            return vec![asked.as_fd()];
        }
        let streams = [&self.printed, &self.said].into_iter().filter(|spool| spool.wants_more());
        let streams = streams.filter_map(|spool| Some(self.descriptors.get(spool.at?)?.as_fd()));
        streams.chain(self.is_free.then(|| self.listener.as_fd())).collect()
    }

    /// Reads what the CLI prints meanwhile.
    pub fn read(&mut self) {
        if self.asked.is_some() {
            // What was offered must stay as it is.
            return;
        }
        for spool in [&mut self.printed, &mut self.said] {
            if let Some(stream) = spool.at.and_then(|at| self.descriptors.get(at)) {
                spool.read(stream);
            }
        }
    }

    /// Offers all of it to a worker that has come, if one has.
    pub fn offer(&mut self, lease: Option<LeaseKey>, secret: &str) {
        if !self.is_free || self.asked.is_some() {
            return;
        }
        let Ok((worker, _)) = self.listener.accept() else { return };
        // Its folder lets nobody in but our own user.
        if self.send(&worker, lease, secret).is_ok() {
            worker.set_nonblocking(true).unwrap_or_default();
            self.asked = Some((ControlLines::new(worker), Instant::now()));
        }
    }

    fn send(&self, worker: &UnixStream, lease: Option<LeaseKey>, secret: &str) -> io::Result<()> {
        let (state, parts) = (self.state.clone(), self.names.clone());
        let (printed, said) = (self.printed.bytes.len(), self.said.bytes.len());
        let says = FromShim::Offer { lease, state, parts, printed, said };
        let mut bytes = serde_json::to_vec(&Signed { secret: secret.to_owned(), says })?;
        bytes.push(b'\n');
        bytes.extend_from_slice(&self.printed.bytes);
        bytes.extend_from_slice(&self.said.bytes);
        let until = Instant::now() + OFFER_LIMIT;
        worker.set_nonblocking(false)?;
        worker.set_write_timeout(Some(OFFER_LIMIT))?;
        let descriptors: Vec<BorrowedFd<'_>> = self.descriptors.iter().map(std::os::fd::AsFd::as_fd).collect();
        let mut sent = process::send_with(worker, &bytes, &descriptors)?;
        while sent < bytes.len() {
            if Instant::now() > until {
                return Err(io::ErrorKind::TimedOut.into());
            }
            sent += (&mut &*worker).write(&bytes[sent..])?;
        }
        Ok(())
    }
}
