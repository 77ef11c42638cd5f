//! The queue and its limits.

use domain::{Group, GroupKind, Limit, Rate};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Counts of tasks, and how the queue is set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Tasks that have not ended: pending and running.
    pub size: i64,
    /// Tasks that wait.
    pub pending: i64,
    /// Tasks that run.
    pub running: i64,
    /// Tasks that have ended with a result.
    pub completed: i64,
    /// Tasks that have ended without one.
    pub failed: i64,
    /// Tasks that were cancelled.
    pub cancelled: i64,
    /// True while claims are held back.
    pub is_paused: bool,
    /// Maximum number of tasks of each worker at a time.
    pub concurrency: u32,
    /// Milliseconds since the oldest pending task was stored.
    pub oldest_pending_ms: Option<i64>,
    /// Sets of labels that ready tasks require and no living worker has; for admins, and left out where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unmatched: Vec<Unmatched>,
}

/// Labels that tasks require and no living worker has.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Unmatched {
    /// The labels.
    pub requires: Vec<String>,
    /// Number of tasks that wait for them.
    pub tasks: i64,
    /// Milliseconds since the oldest of them was stored.
    pub oldest_ms: i64,
}

/// The limit of a group of tasks.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitState {
    /// Kind of the group.
    pub group: GroupKind,
    /// Key or tag of the group; empty for the queue.
    pub name: String,
    /// Maximum number of tasks at a time.
    pub concurrency: Option<u32>,
    /// Maximum number of starts in a time.
    pub rate: Option<Rate>,
    /// True while none of the group is started.
    pub paused: bool,
}

impl LimitState {
    /// The limit of a group.
    #[must_use]
    pub fn of(group: &Group, limit: Limit) -> Self {
        let Limit { concurrency, rate, paused } = limit;
        Self { group: group.kind, name: group.name.clone(), concurrency, rate, paused }
    }
}

/// A limit in use.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LimitUse {
    /// Kind of the group.
    pub group: GroupKind,
    /// Key or tag of the group; empty for the queue.
    pub name: String,
    /// Maximum number of tasks at a time.
    pub concurrency: Option<u32>,
    /// Maximum number of starts in a time.
    pub rate: Option<Rate>,
    /// True while none of the group is started.
    pub paused: bool,
    /// Number of tasks that the limit holds back.
    pub waiting: i64,
}

impl LimitUse {
    /// The limit of a group, and the number of tasks that it holds back.
    #[must_use]
    pub fn of(group: &Group, limit: Limit, waiting: i64) -> Self {
        let LimitState { group, name, concurrency, rate, paused } = LimitState::of(group, limit);
        Self { group, name, concurrency, rate, paused, waiting }
    }
}

/// The limits that are set.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Limits {
    /// The limits.
    pub limits: Vec<LimitUse>,
}
