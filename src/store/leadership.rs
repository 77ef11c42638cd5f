//! Which process does what one alone should do: schedules, webhooks, leases that ran out, retention.
//!
//! Each of these duties is done in transactions that change nothing a second time, so a leader is no matter of safety: it
//! saves the others the work. On one machine each process does them, and a worker stands in for an API that is down. On many
//! the store elects one, and another one as soon as that is gone.

use std::time::Duration;

use tokio::sync::watch;

/// See the [module](self). Clones share it.
#[derive(Clone, Debug)]
pub struct Leadership(Option<watch::Receiver<bool>>);

impl Leadership {
    /// Each process leads.
    pub const fn of_each() -> Self {
        Self(None)
    }

    /// One process leads: this one, while the value is true.
    pub const fn elected(is_leader: watch::Receiver<bool>) -> Self {
        Self(Some(is_leader))
    }

    /// True if one process is elected among all.
    #[must_use]
    pub const fn is_elected(&self) -> bool {
        self.0.is_some()
    }

    /// True if this process does the duties.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.as_ref().is_none_or(|leads| *leads.borrow())
    }

    /// Time for which this process leaves what is due to others; `None` where it does nothing. A leader that was elected
    /// has nobody to wait for.
    #[must_use]
    pub fn delay(&self, stands_in_after: Duration) -> Option<Duration> {
        match self.is_ours() {
            false => None,
            true if self.is_elected() => Some(Duration::ZERO),
            true => Some(stands_in_after),
        }
    }
}
