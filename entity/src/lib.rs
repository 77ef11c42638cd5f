//! The tables of cc-anywhere, as rows. No rules: what a row means is decided above.
//!
//! Times are `BIGINT` milliseconds, set by the program: wall-clock times since the Unix epoch,
//! lease times on the clock that never jumps, beside the boot that they belong to.

pub mod api_key;
pub mod attempt;
pub mod changes;
pub mod credential;
pub mod dependency;
pub mod event;
pub mod history;
pub mod idempotency_key;
pub mod message;
pub mod question;
pub mod queue_state;
pub mod task;
pub mod worker;
