//! The five statuses that the outside sees.

use serde::{Deserialize, Serialize};

/// Status of a task.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::EnumString,
    strum::IntoStaticStr,
    strum::VariantArray,
    strum::Display,
)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Stored and waiting: for a free slot, or for its due time.
    Pending,
    /// Held by a worker under a lease.
    Running,
    /// Ended with a result without error.
    Completed,
    /// Ended without one.
    Failed,
    /// Ended by a cancel.
    Cancelled,
}

impl Status {
    /// The sign that stands beside its name for people: never colour alone.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::Pending => "○",
            Self::Running => "●",
            Self::Completed => "✓",
            Self::Failed => "✗",
            Self::Cancelled => "⊘",
        }
    }

    /// True if a task stays in this status for ever.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }

    /// True if the table in ARCHITECTURE.md has a transition between the two.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        matches!(
            (self, next),
            (Self::Pending, Self::Running | Self::Cancelled)
                | (Self::Running, Self::Pending | Self::Completed | Self::Failed | Self::Cancelled)
        )
    }
}
