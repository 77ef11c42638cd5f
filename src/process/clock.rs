//! The two clocks, read here and nowhere else.

use std::sync::OnceLock;

use fail::fail_point;
use rustix::time::{ClockId, clock_gettime};

use domain::{BootId, BootInstant, Timestamp};

/// The wall clock, now.
#[must_use]
pub fn wall_now() -> Timestamp {
    fail_point!("wall-clock", |jump| {
        let jump = jump.and_then(|jump| jump.parse().ok()).unwrap_or(0);
        Timestamp(millis(ClockId::Realtime)).plus_ms(jump)
    });
    Timestamp(millis(ClockId::Realtime))
}

/// The clock that never jumps and runs on while the machine sleeps, now.
#[must_use]
pub fn boot_now() -> BootInstant {
    BootInstant { boot: boot(), ms: millis(ClockId::Boottime) }
}

fn millis(clock: ClockId) -> i64 {
    let now = clock_gettime(clock);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// Returns the id of this machine's boot. Where the kernel hides it, a value that fits no other process: leases then
/// end by time alone.
fn boot() -> BootId {
    static BOOT: OnceLock<BootId> = OnceLock::new();
    *BOOT.get_or_init(|| {
        std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .ok()
            .and_then(|text| str::parse::<BootId>(text.trim()).ok())
            .unwrap_or_else(BootId::new)
    })
}
