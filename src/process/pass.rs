//! Descriptors that one process passes to another, with bytes on a socket.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    recvmsg, sendmsg,
};

/// Maximum number of descriptors that go together.
const MAX_PASSED: usize = 16;

/// Space for them: `unix(7)`, `SCM_RIGHTS`.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_PASSED));

/// Sends bytes, and these descriptors with the first of them. Returns the number of bytes that were sent.
///
/// # Errors
/// The system's; nothing was sent then.
pub fn send_with(socket: impl AsFd, bytes: &[u8], passed: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !passed.is_empty() && !ancillary.push(SendAncillaryMessage::ScmRights(passed)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors go together"));
    }
    Ok(sendmsg(socket, &[IoSlice::new(bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
}

/// Receives bytes, and the descriptors that come with them. Returns the number of bytes; 0 is the end of the stream.
///
/// # Errors
/// The system's.
pub fn receive_with(socket: impl AsFd, buffer: &mut [u8], passed: &mut Vec<OwnedFd>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(buffer)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message {
            passed.extend(descriptors);
        }
    }
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn descriptors_come_with_the_bytes_they_were_sent_with() {
        let (one, other) = UnixStream::pair().expect("a pair");
        let (mut passed, end) = UnixStream::pair().expect("a pair");
        assert_eq!(send_with(&one, b"with", &[end.as_fd()]).expect("sent"), 4);
        assert_eq!(send_with(&one, b"out", &[]).expect("sent"), 3);
        drop(end);
        let (mut bytes, mut received) = ([0; 16], Vec::new());
        assert_eq!(receive_with(&other, &mut bytes, &mut received).expect("received"), 4);
        assert_eq!(received.len(), 1);
        assert_eq!(receive_with(&other, &mut bytes, &mut received).expect("received"), 3);
        assert_eq!(received.len(), 1);
        received.clear();
        assert_eq!(passed.read(&mut bytes).expect("the end of the stream"), 0);
        drop(one);
        assert_eq!(receive_with(&other, &mut bytes, &mut received).expect("the end of the stream"), 0);
    }
}
