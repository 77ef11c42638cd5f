//! The domain, pure: which states a task can be in, what may move it, and what things are called.
//!
//! *Owns* the rules: [`Record::apply`] is the only place that decides a transition, and every
//! store runs it inside its own transaction. *Talks to* no other part: no I/O, no clock, no actor;
//! times and chance come in as values. *Promises* that no sequence of commands reaches a state
//! outside the table in ARCHITECTURE.md (a property test holds it).
//!
//! Decided against: a state machine in SQL alone. The statements repeat the guards (epoch,
//! status), but a reader learns the rules here.

mod attempt;
mod coach;
mod dependency;
mod event;
mod fair;
mod family;
mod file;
mod gate;
mod id;
mod invalid;
pub mod json;
mod label;
mod lease;
mod limit;
mod loop_guard;
mod machine;
#[cfg(test)]
mod machine_test;
mod money;
mod named;
mod outcome;
#[cfg(test)]
mod planted;
#[cfg(test)]
mod protocol_test;
mod race;
mod radar;
mod retry;
mod schedule;
mod status;
mod talk;
pub mod template;
mod time;
mod trace;
mod visible;
mod words;

pub use attempt::AttemptOutcome;
pub use coach::{AnsweredCall, RuleScope, SuggestedRule, rule_covers, suggested_rules, wider_rule};
pub use dependency::{Condition, DependencyState, MAX_DEPENDENCIES, OnFailure, dependency_state, in_order};
pub use event::{Event, EventKind, NewEvent, line_of, main_argument};
pub use fair::{FairBy, Fairness, Line, MAX_WEIGHT, Ready, Share, Turns, turns_before};
pub use family::{MAX_CHILDREN, MAX_DEPTH, NoChild, Parent};
pub use file::{Artifact, FileId};
pub use gate::{Budgets, Candidate, GroupRoom, Hold, Room};
pub use id::{BlobId, BootId, RuleId, ScheduleId, SessionId, TaskId, WorkerInstanceId};
pub use invalid::Invalid;
pub use label::{InvalidLabel, Labels, MAX_LABELS, check_label, lane_of};
pub use lease::{Epoch, Lease, LeaseKey, LeaseTimes, TREE_END_MS};
pub use limit::{Group, GroupKind, Limit, LimitChange, MAX_NAME, Rate};
pub use loop_guard::{LOOP_AFTER, LoopGuard, ToolCall};
pub use machine::{CRASH_LIMIT, Record, Refusal, ReleaseReason, SUSPECT, State, TaskCommand};
pub use money::Usd;
pub use named::{Name, Named};
pub use outcome::{
    ChangeSet, Failure, FailureClass, Outcome, Report, Spent, Tokens, Verification, VerificationRound, sane_cost,
};
pub use race::{CONTENDERS, Contender, Pick, RaceState, race_state};
pub use radar::{changed_files, place_of};
pub use retry::RetryPolicy;
pub use schedule::{Missed, Overlap, RunOutcome, Timetable};
pub use status::Status;
pub use talk::{Behavior, Decision, Question, Scope, TaskInput, session_rules};
pub use time::{BootInstant, Timestamp};
pub use trace::{TraceParent, span_of_attempt};
pub use visible::visible;
pub use words::{excerpt, pieces, terms_of, text_of, words_of};
