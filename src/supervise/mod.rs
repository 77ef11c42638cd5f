//! Restarting: the policy, pure, and the guard that applies it to an actor.
//!
//! *Owns* the rule "how often, how soon". *Talks to* no other part; that it gives up, the guard
//! says through a function of its caller's. *Promises* that a panic in an actor's handler, stream or
//! context future leads to its restart with the mailbox kept.
//!
//! Decided against: actix's own `Supervisor`, which restarts after `stop()` but not after a
//! panic.

mod guard;
mod policy;

pub use guard::start_guarded;
pub use policy::{Decision, RestartPolicy, Restarts};
