//! One attempt while its process runs.
//!
//! *Owns* a process that was started, what was seen of it, and what waits for people. *Talks to* the CLI ([`Run`]) and the
//! store ([`Outbox`](super::outbox::Outbox)) through its [driver]; the [machine](machine::Machine) that
//! decides is pure: events in, effects out.
//!
//! [`Run`]: crate::claude::Run

mod carried;
mod driver;
mod effect;
mod machine;
#[cfg(test)]
mod machine_test;
mod questions;
mod tool_spans;

pub use carried::{About, Carried, VERSION};
pub use driver::{Attempt, Driven, Ended, Parts};
pub use effect::{Produced, StopReason};
pub use machine::Config;
pub use tool_spans::ToolSpans;
