//! The history of what was done, and the checker that reads it.
//!
//! *Owns* what a line of the history says ([`HistoryEvent`]) and the rules by which it is judged ([`Audit`]). *Talks to* no other part:
//! entries come in one by one. *Promises* to name every promise of ARCHITECTURE.md that was broken; it shares no code
//! with what it judges beyond the names of things.

mod check;
#[cfg(test)]
mod check_test;
mod groups;
mod history;
mod promises;
mod schedules;
mod trees;

pub use check::{Audit, AuditContext, Broken};
pub use history::{Counts, Entry, HistoryEvent, NamedFile, Source, TaskSnapshot, TreeLine, Wait};
pub use promises::{OF_ONE_TASK, PROMISES};
