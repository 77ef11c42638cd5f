//! The right to work on a task, for a time.

use serde::{Deserialize, Serialize};

use crate::{BootInstant, TaskId, WorkerInstanceId};

/// The right of one holder to run one attempt until `expires`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Instance of the worker that holds it.
    pub holder: WorkerInstanceId,
    /// End, unless it is renewed.
    pub expires: BootInstant,
}

/// Proof of a lease, shown with every write about a running task. A write whose epoch is not the task's newest changes
/// nothing (fencing).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeaseKey {
    /// The task.
    pub task: TaskId,
    /// The epoch under which it was claimed.
    pub epoch: Epoch,
}

/// The times of a lease, all from its length. What makes them safe: a tree whose lease is not renewed
/// has ended [`TREE_END_MS`] after [`LeaseTimes::tree_deadline`], which lies before the moment
/// from which on [`LeaseTimes::is_over`], whatever happened to the messages in between
/// (`protocol_test.rs` tries every order of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaseTimes {
    lease_ms: i64,
}

/// Longest time that a shim needs from its deadline to the end of its tree, in milliseconds.
pub const TREE_END_MS: i64 = 3_000;

impl LeaseTimes {
    /// The times of a lease of this length.
    #[must_use]
    pub const fn new(lease: std::time::Duration) -> Self {
        Self { lease_ms: lease.as_millis() as i64 }
    }

    /// Returns the end of a lease that the store grants at `now`.
    #[must_use]
    pub fn expiry(self, now: BootInstant) -> BootInstant {
        now.plus_ms(self.lease_ms)
    }

    /// Returns the time until which the process tree may live, for a claim or renewal that was sent at `asked_at`. It
    /// counts from before the question, because the time that the answer took is not known.
    #[must_use]
    pub fn tree_deadline(self, asked_at: BootInstant) -> BootInstant {
        asked_at.plus_ms(self.lease_ms / 10 * 8)
    }

    /// Time between two renewals: a renewal may fail twice before the deadline.
    #[must_use]
    pub const fn renew_every(self) -> std::time::Duration {
        std::time::Duration::from_millis((self.lease_ms / 3) as u64)
    }

    /// True if a lease that ended at `expiry` has been over for long enough that its tree has ended too.
    #[must_use]
    pub fn is_over(expiry: BootInstant, now: BootInstant) -> bool {
        expiry.plus_ms(TREE_END_MS).is_past(now)
    }
}

/// Number of a lease among all leases of its task: grows by one with each claim and each cancel of a running task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(i64);

impl Epoch {
    /// The epoch of a task that was never claimed.
    pub const FIRST: Self = Self(0);

    /// The epoch of this number.
    #[must_use]
    pub const fn of(number: i64) -> Self {
        Self(number)
    }

    /// The number, to be stored.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// The epoch after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl std::fmt::Display for Epoch {
    fn fmt(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(to)
    }
}
