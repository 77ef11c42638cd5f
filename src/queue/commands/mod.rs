//! The commands: what each message of the queue does to the store, in one transaction.
//!
//! Rules and no statements: every file decides with what the domain says, and reads and writes through
//! [`Tx`](crate::store::Tx). [`Change`] is a command, [`Unit`] the transaction that it runs in with what is kept beside
//! it until the commit: the history, the tasks that changed, and the groups that tasks have left.

mod amend;
mod attempts;
mod change;
mod children;
mod claim;
mod dependencies;
#[cfg(test)]
mod dependencies_test;
mod files;
mod gate;
mod handover;
mod hooks;
mod keys;
mod limits;
#[cfg(test)]
mod model_test;
mod money;
mod prune;
mod races;
mod radar;
mod rules;
mod schedules;
mod secrets;
mod submit;
mod take_back;
mod talk;
mod transitions;
mod unit;
mod workers;

pub use change::{Change, Command, PendingAnswer, asked};
pub use unit::{Done, Unit};
