//! Whether running attempts go on while their worker is replaced.

use std::time::Duration;

use super::Mode;
use super::source::Source;

/// Settings of handovers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handover {
    /// True if a worker that stops leaves its running attempts to another one.
    pub by_workers: bool,
    /// True if somebody has asked for it by name: then a server tries it wherever it runs.
    is_asked_for: bool,
    /// Time that another worker has.
    pub limit: Duration,
}

impl Handover {
    pub(super) fn read(from: &mut Source, mode: Mode) -> Self {
        let choices = [("auto", None), ("on", Some(true)), ("off", Some(false))];
        let asked = from.choice("HANDOVER", &choices);
        Self {
            by_workers: asked.unwrap_or(mode == Mode::Managed),
            is_asked_for: asked == Some(true),
            limit: from.millis("HANDOVER_TIMEOUT_MS", 1_000, 3_600_000),
        }
    }

    /// True if the workers of a server that stops leave their attempts to those of the next. All processes of a container
    /// end with its first.
    #[must_use]
    pub const fn by_server(self, is_first_of_container: bool) -> bool {
        self.is_asked_for || (self.by_workers && !is_first_of_container)
    }

    /// Duration of the leases of attempts that are handed over: their shims end them at four fifths of it.
    #[must_use]
    pub fn lease(self) -> Duration {
        self.limit * 5 / 4
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_all_of_a_container_hands_over_where_it_was_asked_to_alone() {
        let settings = |by_workers, is_asked_for| Handover { by_workers, is_asked_for, limit: Duration::from_secs(60) };
        for (by_workers, is_asked_for, first, hands_over) in [
            (true, false, false, true),
            (true, false, true, false),
            (true, true, true, true),
            (false, false, false, false),
        ] {
            assert_eq!(settings(by_workers, is_asked_for).by_server(first), hands_over);
        }
        assert_eq!(settings(true, false).lease(), Duration::from_secs(75));
    }
}
