//! Lines from another process of ours, with the descriptors that come with them.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use super::pass::receive_with;

/// Bytes that are read at a time.
const CHUNK: usize = 8 << 10;

/// One end of a control socket.
pub struct ControlLines {
    socket: UnixStream,
    buffer: Vec<u8>,
    /// Beginning of the buffer that holds no newline.
    searched: usize,
    passed: Vec<OwnedFd>,
}

impl ControlLines {
    /// The lines that come on this socket.
    pub const fn new(socket: UnixStream) -> Self {
        Self { socket, buffer: Vec::new(), searched: 0, passed: Vec::new() }
    }

    /// Returns the next line; `None` at the end of the stream.
    ///
    /// # Errors
    /// The system's; `WouldBlock` where the socket does not block and no whole line has come.
    pub fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(at) = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.drain(..=self.searched + at).collect();
                self.searched = 0;
                return Ok(Some(line));
            }
            self.searched = self.buffer.len();
            let mut chunk = [0; CHUNK];
            match receive_with(&self.socket, &mut chunk, &mut self.passed) {
                Ok(0) => return Ok(None),
                Ok(count) => self.buffer.extend_from_slice(&chunk[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Takes bytes that follow a line, exactly this many.
    ///
    /// # Errors
    /// The system's, or the end of the stream before them.
    pub fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut chunk = [0; CHUNK];
        while self.buffer.len() < count {
            match receive_with(&self.socket, &mut chunk, &mut self.passed) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.buffer.extend_from_slice(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.searched = 0;
        Ok(self.buffer.drain(..count).collect())
    }

    /// Takes the descriptors that have come so far.
    pub fn passed(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.passed)
    }

    /// The socket, to be answered on.
    pub const fn socket(&self) -> &UnixStream {
        &self.socket
    }

    /// The socket alone; what was read of it and not taken is lost.
    pub fn into_socket(self) -> UnixStream {
        self.socket
    }
}

impl AsFd for ControlLines {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
