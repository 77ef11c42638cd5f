//! The allocator's settings.

/// Lets freed memory go back to the system: large blocks are mapped by themselves, and a few heaps serve all threads.
/// What one large answer took would else be kept for the next.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt(3) sets three numbers under the allocator's own lock")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 64 << 10);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}
