//! The allocator of the program, and its settings.

use std::alloc::{GlobalAlloc, Layout, System};
use std::ffi::c_long;

use mimalloc::MiMalloc;

/// Size from which on a block is a large one, in bytes. The C library maps each of these by itself.
const LARGE: usize = 64 << 10;
/// Time after which unused pages of small blocks go back to the system, in milliseconds; a second otherwise.
const PURGE_DELAY_MS: c_long = 10;
/// `mi_option_purge_delay` in `mimalloc.h`: options that are no more keep their numbers.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Small blocks come from mimalloc, where each thread has a heap, and what another thread frees costs neither a lock: a request
/// goes through two. Large blocks come from the C library, which gives each back to the system when it is freed.
#[derive(Clone, Copy, Debug, Default)]
pub struct BySize;

const fn is_large(bytes: usize) -> bool {
    bytes >= LARGE
}

#[expect(unsafe_code, reason = "each block goes back to the allocator that it is from, since both are told its size")]
unsafe impl GlobalAlloc for BySize {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match is_large(layout.size()) {
            true => unsafe { System.alloc(layout) },
            false => unsafe { MiMalloc.alloc(layout) },
        }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match is_large(layout.size()) {
            true => unsafe { System.alloc_zeroed(layout) },
            false => unsafe { MiMalloc.alloc_zeroed(layout) },
        }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match is_large(layout.size()) {
            true => unsafe { System.dealloc(block, layout) },
            false => unsafe { MiMalloc.dealloc(block, layout) },
        }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        match (is_large(layout.size()), is_large(bytes)) {
            (true, true) => unsafe { System.realloc(block, layout, bytes) },
            (false, false) => unsafe { MiMalloc.realloc(block, layout, bytes) },
            _ => unsafe { self.move_over(block, layout, bytes) },
        }
    }
}

impl BySize {
    /// Moves a block from one allocator to the other. Where there is no memory it stays.
    ///
    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    #[expect(unsafe_code, reason = "both blocks are as long as what is copied, and they are two")]
    unsafe fn move_over(self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(bytes, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(bytes));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

/// Lets freed memory go back to the system: large blocks are mapped by themselves, and a few heaps serve what else the C
/// library has. What one large answer took would else be kept for the next.
pub fn give_memory_back() {
    #[expect(unsafe_code, reason = "mi_option_set sets a number")]
    unsafe {
        libmimalloc_sys::mi_option_set(PURGE_DELAY, PURGE_DELAY_MS);
    }
    #[cfg(target_env = "gnu")]
    #[expect(unsafe_code, reason = "mallopt(3) sets three numbers under the allocator's own lock")]
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE as i32);
        libc::mallopt(libc::M_TRIM_THRESHOLD, 1 << 20);
        libc::mallopt(libc::M_ARENA_MAX, 2);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: BySize = BySize;

    #[test]
    fn a_block_keeps_what_is_in_it_while_it_grows_and_shrinks_across_the_border() {
        let byte = |at: usize| (at % 251) as u8;
        let mut block: Vec<u8> = Vec::new();
        for size in [1, LARGE - 1, LARGE, 3 * LARGE, LARGE + 1, LARGE, LARGE - 1, 100, 2 * LARGE, 0, 7] {
            block.truncate(size);
            block.extend((block.len()..size).map(byte));
            block.shrink_to_fit();
            assert!(block.iter().enumerate().all(|(at, value)| *value == byte(at)), "{size}");
        }
        assert!(vec![0_u8; LARGE + 1].iter().chain(&vec![0_u8; LARGE - 1]).all(|value| *value == 0));
    }

    #[test]
    fn what_one_thread_has_taken_another_one_frees() {
        let blocks: Vec<Vec<u8>> = (0..64).map(|n| vec![n; LARGE - 32 + usize::from(n)]).collect();
        let freed = std::thread::spawn(move || blocks.into_iter().map(|block| usize::from(block[0])).sum::<usize>());
        assert_eq!(freed.join().ok(), Some((0..64).sum()));
    }
}
