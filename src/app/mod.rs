//! The composition root: which actors each role has, with their limits, in which order they
//! start, and in which they stop.
//!
//! ```text
//! serve, inline       queue ─▶ worker ─▶ api
//! serve, managed      queue ─▶ supervisor ─▶ (worker processes) ─▶ api
//! serve, standalone   queue ─▶ api
//! worker              queue ─▶ worker ─▶ link, where a supervisor started it
//! ```
//!
//! They stop in reverse, but that the server stays to answer until the work has ended: it only
//! accepts no tasks any more.

mod parts;
mod roles;
mod secrets;
mod serve;
mod stop;
mod worker;

pub use serve::serve;
pub use worker::{WorkerRole, worker};

/// Exit code of the process.
type Exit = anyhow::Result<u8>;

/// Runs a role. What hangs in a thread of its own (a dead disk, a receiver that never answers) is not waited for: the
/// process ends with it.
fn run(role: impl Future<Output = Exit>) -> Exit {
    // Its environment has the account's key, its descriptors the database.
    crate::process::close_memory();
    let system = actix::System::new();
    let exit = system.block_on(role);
    std::mem::forget(system);
    exit
}
