//! The streams of a running CLI: what it prints, what it says on standard error, and what it is told. Each can be stopped,
//! so that another worker goes on with it.

use std::io::Cursor;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Buf as _, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use super::limits::RunLimits;
use super::lines::{Line, LineReader};

/// Longest line that is read whole. A result of 15 MB has twice as many bytes where much of it is escaped.
const MAX_LINE_BYTES: usize = 64 << 20;
/// Maximum number of unread lines before the CLI has to wait: it then blocks on its own output.
pub const FRAMES_AHEAD: usize = 64;
/// Maximum size of unread lines, in KiB. One longer line waits alone.
const KIB_AHEAD: u32 = 4 << 10;
/// Length that is kept of standard error, in bytes: its end, where the reason stands.
const STDERR_KEPT_BYTES: usize = 4 << 10;

/// A line with the room that it takes.
pub type Placed = (Line, OwnedSemaphorePermit);

/// True once the streams are to be stopped.
pub type Stop = watch::Receiver<bool>;

/// Reads what another worker has read before, then the stream. Its end is that of the stream.
type Output = tokio::io::Chain<Cursor<Vec<u8>>, UnixStream>;

/// What is left of the output when it is stopped.
pub struct RestOfOutput {
    /// The stream, unless it has ended.
    pub stream: Option<UnixStream>,
    /// Read, and no whole line.
    pub unread: Vec<u8>,
    /// Bytes of lines so far.
    pub bytes: u64,
}

/// Passes on the lines that the CLI prints, after what another worker has read before, and whose lines had so many bytes.
pub async fn pump(
    (unread, mut bytes): (Vec<u8>, u64),
    stdout: UnixStream,
    to: mpsc::Sender<Placed>,
    limits: RunLimits,
    mut stop: Stop,
) -> RestOfOutput {
    let room = Arc::new(Semaphore::new(KIB_AHEAD as usize));
    let mut from = LineReader::<Output>::new(AsyncReadExt::chain(Cursor::new(unread), stdout), MAX_LINE_BYTES);
    loop {
        let line = tokio::select! {
            biased;
            // A line of which bytes were dropped can't be gone on with by anybody else.
            Ok(_) = stop.wait_for(|stop| *stop), if !from.is_cut() => {
                let (chain, mut unread) = from.into_parts();
                let (before, stream) = chain.into_inner();
                let at = usize::try_from(before.position()).unwrap_or(usize::MAX).min(before.get_ref().len());
                unread.extend_from_slice(&before.get_ref()[at..]);
                return RestOfOutput { stream: Some(stream), unread, bytes };
            }
            line = from.next() => line,
        };
        let Ok(Some(line)) = line else { break };
        if matches!(&line, Line::Whole(text) if text.trim().is_empty()) {
            continue;
        }
        bytes += line.read() as u64;
        if limits.has_printed(bytes) {
            break;
        }
        let kib = u32::try_from(line.held() >> 10).unwrap_or(KIB_AHEAD).min(KIB_AHEAD);
        let Ok(place) = Arc::clone(&room).acquire_many_owned(kib).await else { break };
        if to.send((line, place)).await.is_err() {
            break;
        }
    }
    RestOfOutput { stream: None, unread: Vec::new(), bytes }
}

/// Keeps the end of what the CLI says on standard error. Returns the stream where it was stopped.
pub async fn keep_end(mut stderr: UnixStream, kept: Arc<Mutex<Vec<u8>>>, mut stop: Stop) -> Option<UnixStream> {
    let mut chunk = vec![0; 4 << 10];
    loop {
        tokio::select! {
            Ok(_) = stop.wait_for(|stop| *stop) => return Some(stderr),
            read = stderr.read(&mut chunk) => {
                let Ok(count @ 1..) = read else { return None };
                keep(&mut kept.lock().unwrap_or_else(PoisonError::into_inner), &chunk[..count]);
            }
        }
    }
}

/// Adds to what is kept of standard error.
pub fn keep(kept: &mut Vec<u8>, said: &[u8]) {
    kept.extend_from_slice(said);
    let excess = kept.len().saturating_sub(STDERR_KEPT_BYTES);
    kept.drain(..excess);
}

/// Writes lines to the CLI, after what another worker has left unwritten. The stream is closed when there can come no
/// more. Returns it where it was stopped, with what is still to be written.
pub async fn write(
    unwritten: Vec<u8>,
    mut stdin: UnixStream,
    mut lines: mpsc::Receiver<String>,
    mut stop: Stop,
) -> Option<(UnixStream, Vec<u8>)> {
    let mut unwritten = BytesMut::from(&*unwritten);
    loop {
        if unwritten.is_empty() {
            tokio::select! {
                biased;
                line = lines.recv() => unwritten = BytesMut::from(line?.as_bytes()),
                Ok(_) = stop.wait_for(|stop| *stop) => return Some((stdin, Vec::new())),
            }
        }
        tokio::select! {
            biased;
            Ok(_) = stop.wait_for(|stop| *stop) => {
                while let Ok(line) = lines.try_recv() {
                    unwritten.extend_from_slice(line.as_bytes());
                }
                return Some((stdin, unwritten.to_vec()));
            }
            written = stdin.write(&unwritten) => {
                let count = written.ok().filter(|count| *count > 0)?;
                unwritten.advance(count);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[actix::test]
    async fn what_is_said_until_the_input_is_stopped_is_written_or_given_back() {
        let (ours, theirs) = UnixStream::pair().expect("a pair");
        let ((to, lines), (stop, stopped)) = (mpsc::channel(8), watch::channel(false));
        let before = b"before\n".repeat(100_000);
        let input = tokio::spawn(write(before.clone(), ours, lines, stopped));
        // Nobody reads: these wait behind what is too much for the socket.
        for line in ["one\n", "two\n"] {
            to.send(line.to_owned()).await.expect("a receiver");
        }
        stop.send_replace(true);
        let (ours, unwritten) = input.await.expect("no panic").expect("it was stopped");
        drop(ours);
        let (mut theirs, mut all) = (theirs, Vec::new());
        theirs.read_to_end(&mut all).await.expect("read");
        assert!(all.len() < before.len());
        all.extend_from_slice(&unwritten);
        assert!(all.starts_with(&before) && all.ends_with(b"before\none\ntwo\n"));
    }

    #[actix::test]
    async fn an_input_without_a_speaker_is_closed_behind_the_last_word() {
        let (ours, mut theirs) = UnixStream::pair().expect("a pair");
        let ((to, lines), (_stop, stopped)) = (mpsc::channel(8), watch::channel(false));
        let input = tokio::spawn(write(b"be".to_vec(), ours, lines, stopped));
        to.send("fore\n".to_owned()).await.expect("a receiver");
        drop(to);
        let mut all = String::new();
        theirs.read_to_string(&mut all).await.expect("the end of the stream");
        assert_eq!(all, "before\n");
        assert!(input.await.expect("no panic").is_none());
    }
}
