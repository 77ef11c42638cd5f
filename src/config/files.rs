//! The settings of files that clients send, and of those that tasks leave.

use std::time::Duration;

use super::source::Source;

/// Files that clients send, and those that tasks leave.
#[derive(Clone, Copy, Debug)]
pub struct Files {
    /// Maximum size of a file that is sent, in bytes.
    pub max_bytes: u64,
    /// Maximum size of what a task leaves, in bytes.
    pub artifact_bytes: u64,
    /// Bytes of all files from which on no further one is taken.
    pub disk_bytes: Option<u64>,
    /// Time for which a file is kept after its last use; for ever where it isn't set.
    pub retention: Option<Duration>,
}

impl Files {
    pub(super) fn read(from: &mut Source) -> Self {
        let days: u64 = from.number("FILE_RETENTION_DAYS", 0, 36_500);
        let disk: u64 = from.number("FILES_DISK_BYTES", 0, u64::MAX);
        Self {
            max_bytes: from.number("MAX_FILE_BYTES", 1, 1 << 40),
            artifact_bytes: from.number("TASK_ARTIFACT_BYTES", 0, 1 << 40),
            disk_bytes: (disk > 0).then_some(disk),
            retention: (days > 0).then(|| Duration::from_secs(days * 24 * 3_600)),
        }
    }
}
