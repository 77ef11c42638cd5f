//! Attributes of mounts.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _};

/// Lets a mount, or with `recursive` all mounts below it as well, be read-only or not, in one step. Linux 5.12.
///
/// # Errors
/// The system's; nothing was changed then.
pub fn set_read_only(mount: impl AsFd, recursive: bool, read_only: bool) -> io::Result<()> {
    let mut attributes = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let changed = if read_only { &mut attributes.attr_set } else { &mut attributes.attr_clr };
    *changed = libc::MOUNT_ATTR_RDONLY;
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    let (fd, size) = (mount.as_fd().as_raw_fd(), size_of::<libc::mount_attr>());
    #[expect(unsafe_code, reason = "mount_setattr(2) reads an empty text and a structure of the size that it is told")]
    let done = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw mut attributes, size) };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_no_mount_is_refused() {
        let program = std::env::current_exe().expect("a program");
        let file = std::fs::File::open(program).expect("a file");
        assert!(super::set_read_only(&file, false, false).is_err());
    }
}
