//! Copies of this process.

use std::io;

use rustix::process::{Pid, WaitOptions};
use rustix::thread::UnshareFlags;

/// Moves this process into new namespaces.
///
/// # Errors
/// The process has several threads, or the system refuses.
pub fn unshare(flags: UnshareFlags) -> io::Result<()> {
    check_one_thread()?;
    #[expect(unsafe_code, reason = "sound as long as no other thread shares this process's file table: there is none")]
    unsafe {
        rustix::thread::unshare_unsafe(flags)?;
    }
    Ok(())
}

/// Copies this process. Returns the child's pid in the parent, and `None` in the child.
///
/// # Errors
/// The process has several threads, or the system has no process to give.
pub fn fork() -> io::Result<Option<Pid>> {
    check_one_thread()?;
    #[expect(unsafe_code, reason = "fork is sound in a process with one thread")]
    let forked = unsafe { libc::fork() };
    match forked {
        0 => Ok(None),
        pid if pid > 0 => Ok(Pid::from_raw(pid)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes everything, waits for the child, and exits with its code: with 71 where it can't be waited for, with 72 where
/// a signal has ended it.
pub fn wait_in_place_of(child: Pid) -> ! {
    #[expect(unsafe_code, reason = "no descriptor is used from here on: this function does not return")]
    unsafe {
        libc::close_range(0, libc::c_uint::MAX, 0);
    }
    let code = loop {
        match rustix::process::waitpid(Some(child), WaitOptions::empty()) {
            Ok(Some((_, status))) => break status.exit_status().unwrap_or(72),
            Ok(None) | Err(rustix::io::Errno::INTR) => {}
            Err(_) => break 71,
        }
    };
    #[expect(unsafe_code, reason = "_exit(2) runs nothing: what runs at a usual end may use closed descriptors")]
    unsafe {
        libc::_exit(code)
    }
}

fn check_one_thread() -> io::Result<()> {
    match std::fs::read_dir("/proc/self/task")?.count() {
        1 => Ok(()),
        threads => Err(io::Error::other(format!("the process has {threads} threads"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_process_with_threads_is_not_copied() {
        // The test runs in a thread of its own.
        assert!(super::fork().is_err());
        assert!(super::unshare(rustix::thread::UnshareFlags::empty()).is_err());
    }
}
