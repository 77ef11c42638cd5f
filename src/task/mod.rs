//! The domain, pure: what a task is, which states it can be in, and what may move it.
//!
//! *Owns* the rules: [`Record::apply`] is the only place that decides a transition, and every
//! store runs it inside its own transaction. *Talks to* nobody: no I/O, no clock, no actor;
//! times and chance come in as values. *Promises* that no sequence of commands reaches a state
//! outside the table in ARCHITECTURE.md (a property test holds it).
//!
//! Decided against: a state machine in SQL alone. The statements repeat the guards (epoch,
//! status), but a reader learns the rules here.

mod audit;
mod audit_groups;
mod audit_schedules;
#[cfg(test)]
mod audit_test;
mod audit_trees;
mod event;
mod files;
mod gate;
mod history;
pub mod json;
mod lease;
mod limit;
mod machine;
#[cfg(test)]
mod machine_test;
mod outcome;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod protocol_test;
mod retry;
mod schedule;
mod sdk;
mod spec;
mod status;
pub mod stored;
mod talk;
mod time;
mod view;
mod webhook;

pub use audit::{Audit, Beside};
pub use event::{Event, EventKind, NewEvent};
pub use files::{ContextFile, Upload, can_be_named};
pub use gate::{Budgets, Candidate, GroupRoom, Hold, Room};
pub use history::{Counts, Did, Entry, Standing, TreeLine};
pub use lease::{HolderId, Lease, LeaseKey, LeaseTimes, TREE_END_MS};
pub use limit::{Group, GroupKind, Limit, LimitChange, MAX_NAME, Rate};
pub use machine::{Command, Record, ReleaseReason, SUSPECT, State};
pub use outcome::{ChangeSet, Failure, FailureClass, Outcome, Report, Spent, Tokens, is_sane_cost};
pub use retry::RetryPolicy;
pub use schedule::{Missed, Overlap, Timetable};
pub use sdk::{McpConfig, PermissionMode, SdkOptions};
pub use spec::{
    Background, Context, InvalidSpec, MAX_INSTRUCTION_BYTES, Options, PRIORITIES, Questions, TaskSpec, Timeout,
    WorktreeOptions,
};
pub use status::Status;
pub use talk::{Behavior, Decision, Question, Said, Scope, session_rules};
pub use time::{Boot, BootInstant, Wall};
pub use view::{Attempt, AttemptOutcome, Attempted, Remarks, Task, TaskError, Truncated};
pub use webhook::{HookEvent, WebhookOptions};

/// The name of a task: a UUID of version 7, so that ids sort by the time of their making.
pub type TaskId = uuid::Uuid;
