//! Sockets: the pair between a worker and a shim, and a limit for clients that don't read.

use std::io;
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// A connected pair: ours, and the one to pass to the shim. Both close at exec; passing one
/// on is [`super::spawn_shim`]'s business.
///
/// # Errors
/// The system's, when there are no descriptors left.
pub fn control_pair() -> io::Result<(UnixStream, OwnedFd)> {
    let (ours, theirs) = UnixStream::pair()?;
    Ok((ours, theirs.into()))
}

/// In the shim: opens the socket that the worker passed under this number.
///
/// # Errors
/// The number is not an open socket.
pub fn control_from_fd(fd: RawFd) -> io::Result<UnixStream> {
    let owned = sys::inherited(fd)?;
    rustix::net::sockopt::socket_type(&owned)?;
    Ok(owned.into())
}

/// Lets the kernel end a TCP connection whose client takes nothing of what waits for it within this time, also one whose
/// window is shut: `TCP_USER_TIMEOUT`, tcp(7).
///
/// # Errors
/// It is no TCP socket.
pub fn cut_off_after(connection: &impl AsFd, limit: Duration) -> io::Result<()> {
    let ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
    Ok(rustix::net::sockopt::set_tcp_user_timeout(connection, ms)?)
}
