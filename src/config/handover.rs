//! Whether running attempts go on while their worker is replaced.

use std::time::Duration;

use super::Mode;
use super::source::Source;
use crate::process;

/// Settings of handovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// True if a worker that stops leaves its running attempts to another one.
    pub by_workers: bool,
    /// True if the workers of a server that stops do.
    pub by_server: bool,
    /// Time that another worker has.
    pub limit: Duration,
}

impl Handover {
    pub(super) fn read(from: &mut Source, mode: Mode) -> Self {
        let choices = [("auto", None), ("on", Some(true)), ("off", Some(false))];
        let asked = from.choice("HANDOVER", &choices);
        let by_workers = asked.unwrap_or(mode == Mode::Managed);
        Self {
            by_workers,
            // All processes of a container end with its first.
            by_server: by_workers && (asked.is_some() || !process::is_first_of_container()),
            limit: from.millis("HANDOVER_TIMEOUT_MS", 1_000, 3_600_000),
        }
    }

    /// Duration of the leases of attempts that are handed over: their shims end them at four fifths of it.
    #[must_use]
    pub fn lease(self) -> Duration {
        self.limit * 5 / 4
    }
}
