//! Questions to the system: what it has, and what it lets this process do.

/// Version of Landlock that the kernel has; 0 where it has none, or it is turned off.
#[must_use]
pub fn landlock_abi() -> u32 {
    /// `LANDLOCK_CREATE_RULESET_VERSION`, linux/landlock.h.
    const VERSION: u32 = 1;
    #[expect(unsafe_code, reason = "landlock_create_ruleset(2) reads nothing where its length is 0")]
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<u8>(), 0, VERSION) };
    u32::try_from(version).unwrap_or(0)
}

/// Tries to read memory of another process, as a debugger would: true if that was allowed. Nothing of it is kept.
#[must_use]
pub fn can_look_into(pid: u32) -> bool {
    let mut byte = 0_u8;
    let ours = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
    // No address of a program: allowed, the call says that it is none (EFAULT).
    let theirs = libc::iovec { iov_base: std::ptr::without_provenance_mut(1), iov_len: 1 };
    let Ok(pid) = libc::pid_t::try_from(pid) else { return false };
    #[expect(unsafe_code, reason = "process_vm_readv(2) writes to one byte of ours at most")]
    let read = unsafe { libc::process_vm_readv(pid, &raw const ours, 1, &raw const theirs, 1, 0) };
    read == 1 || std::io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

#[cfg(test)]
mod tests {
    #[test]
    fn this_process_may_look_into_itself() {
        assert!(super::can_look_into(std::process::id()));
        assert!(!super::can_look_into(u32::MAX));
    }
}
