//! Descriptors: those that came by their number, and those that are waited for.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError};

/// Numbers that were handed out already.
static TAKEN: Mutex<BTreeSet<RawFd>> = Mutex::new(BTreeSet::new());

/// Takes a descriptor that the parent process has passed on under this number; it closes at the next exec. **To be
/// called before this process opens anything itself.**
///
/// # Errors
/// No descriptor of this number is open, it is a standard stream, it was taken before, or this process opened it itself
/// (it closes at exec, as all that Rust opens).
pub fn inherited(number: RawFd) -> io::Result<OwnedFd> {
    let refused = |why| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
    if number <= 2 {
        return refused("it is a standard stream, or no number of a descriptor");
    }
    if !TAKEN.lock().unwrap_or_else(PoisonError::into_inner).insert(number) {
        return refused("it was taken before");
    }
    #[expect(unsafe_code, reason = "borrowed for the next call alone, which fails where it is not open")]
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    if rustix::io::fcntl_getfd(borrowed)?.contains(rustix::io::FdFlags::CLOEXEC) {
        return refused("it was not passed on");
    }
    rustix::io::fcntl_setfd(borrowed, rustix::io::FdFlags::CLOEXEC)?;
    #[expect(unsafe_code, reason = "it is open, came from the parent process, and is handed out once")]
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Completes when the descriptor can be read, or is at its end. It takes the descriptor, which closes with it.
///
/// # Errors
/// It can't be waited for.
pub async fn readable(descriptor: OwnedFd) -> io::Result<()> {
    #[expect(unsafe_code, reason = "the descriptor is owned by the AsyncFd and closed by nobody else")]
    let registered = unsafe { tokio::io::unix::AsyncFd::register(descriptor) };
    registered.map_err(io::Error::from)?.readable().await.map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn a_number_is_taken_once_and_only_where_it_was_passed_on() {
        assert!(inherited(1).is_err() && inherited(-1).is_err() && inherited(9_999).is_err());
        let own = std::fs::File::open("/dev/null").expect("a file");
        assert!(inherited(own.as_raw_fd()).is_err(), "opened by this process itself");
        let passed = std::fs::File::open("/dev/null").expect("a file");
        rustix::io::fcntl_setfd(&passed, rustix::io::FdFlags::empty()).expect("set");
        let number = passed.as_raw_fd();
        std::mem::forget(passed);
        assert!(inherited(number).is_ok());
        assert!(inherited(number).is_err(), "a second time");
    }
}
