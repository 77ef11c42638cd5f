//! What this process uses.

use super::{boot_now, stat, wall_now};
use domain::Timestamp;

/// What this process uses.
#[derive(Clone, Copy, Debug)]
pub struct OwnUse {
    /// Processor time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_files: usize,
    /// Threads.
    pub threads: i64,
    /// Start.
    pub started: Timestamp,
}

/// Returns what this process uses; `None` where the kernel doesn't say.
#[must_use]
pub fn own_use() -> Option<OwnUse> {
    let stat = stat::of(std::process::id())?;
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let started_ms = i64::try_from(stat.starttime.saturating_mul(1_000) / ticks).ok()?;
    Some(OwnUse {
        cpu_seconds: (stat.utime + stat.stime) as f64 / ticks as f64,
        resident_bytes: stat.rss.saturating_mul(rustix::param::page_size() as u64),
        open_files: std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count),
        threads: stat.num_threads,
        started: wall_now().plus_ms(started_ms - boot_now().ms),
    })
}
