//! The allocators' settings: that of the program, and that of the C library, which SQLite uses.

/// Time after which unused pages go back to the system, in milliseconds; a second otherwise.
const PURGE_DELAY_MS: std::ffi::c_long = 10;
/// `mi_option_purge_delay` in `mimalloc.h`: options that are no more keep their numbers.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Lets freed memory go back to the system: large blocks are mapped by themselves, and a few heaps serve all threads.
/// What one large answer took would else be kept for the next.
pub fn give_memory_back() {
    #[expect(unsafe_code, reason = "mi_option_set sets a number")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
    }
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt(3) sets three numbers under the allocator's own lock")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 128 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
