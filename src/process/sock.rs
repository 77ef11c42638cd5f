//! The pair of sockets between a worker and a shim.

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

/// A connected pair: ours, and the one to pass to the shim. Both close at exec; passing one
/// on is [`super::spawn_shim`]'s business.
///
/// # Errors
/// The system's, when there are no descriptors left.
pub fn control_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

/// In the shim: the socket that the worker passed under this number.
///
/// # Errors
/// The number is not an open socket.
pub fn control_from_fd(fd: RawFd) -> io::Result<UnixStream> {
    #[expect(unsafe_code, reason = "the number comes from the worker that spawned us and is owned by nobody else here")]
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    rustix::io::fcntl_setfd(&owned, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::socket_type(&owned)?;
    Ok(owned.into())
}
