//! cc-anywhere runs Claude Code tasks: a client posts an instruction, the task is stored
//! durably, a worker runs the real CLI on it, and the client follows it live and gets the
//! result, whatever crashes on the way.
//!
//! # What it promises
//!
//! An accepted task is never lost, is executed at least once by at most one live process tree
//! at a time, and its outcome is recorded exactly once.
//!
//! # Three walks
//!
//! **A submit.** `api/routes/submit.rs` reads the request, `service/admission.rs` checks it, and `Submit` goes to
//! `queue/actor.rs`, which adds it to the next commit; `queue/commands/submit.rs` writes the row
//! and its first event. A worker of the same process that waits for work has left its claim there:
//! `queue/commands/claim.rs` runs in the same transaction. After the commit the client has its 202, and the hub
//! hints others that there is work: they look, and claim what they find. `worker/actor.rs` starts a
//! `worker/agent_run.rs`; that prepares the folder (`set_up.rs`), starts the CLI behind its shim
//! (`shim_pool.rs`, `claude/run.rs`, `claude/shim.rs`), stores its frames as events (`outbox.rs`), and, when
//! the process tree is gone, reports what `claude/outcome.rs` makes of it. `crates/domain/src/machine.rs`
//! decides what that means; `queue/commands/transitions.rs` writes it.
//!
//! **A cancel.** The row becomes `cancelled` and its epoch grows by one: from here on nothing
//! that the worker writes counts. The worker hears of it (a hint, or its next look within a
//! second), interrupts the CLI, and has the shim end the tree.
//!
//! **A worker's crash.** Its shims see the end of their control sockets and end their trees. The
//! supervisor sees the end of the process, sweeps what carries the worker's mark, and tells
//! the queue (`HolderDied`): its tasks are pending again, each with one crash counted. Without a
//! supervisor, `queue/reaper.rs` of any other process does the same, at once on the same
//! machine, else when the lease has ended.
//!
//! ARCHITECTURE.md has the picture. Imports go down: `app` → `web` → `api`, `client`, `admin` → `doctor` → `service`, `worker`,
//! `supervisor` → `queue`, `claude`, `git`, `proxy` → `store`, `sandbox` → `process`, `supervise`, `ipc` → `config`,
//! `telemetry` → the crates `wire`, `audit` → `domain`.

pub mod admin;
pub mod app;
#[doc(hidden)]
pub mod borders;
pub mod claude;
pub mod client;
pub mod config;
#[cfg(feature = "bench")]
pub mod no_op;
pub mod telemetry;

mod api;
mod doctor;
mod git;
mod ipc;
mod mcp;
mod process;
pub mod proxy;
mod queue;
mod sandbox;
mod service;
mod store;
mod supervise;
mod supervisor;
mod web;
mod worker;
