//! The worker processes of managed mode: starting, watching, replacing, stopping.
//!
//! *Owns* which workers there are to be, and the sockets to them. *Talks to* the processes
//! over [`crate::ipc`], and tells the queue when one of them is dead. *Promises* that a worker
//! that exits, is killed, or falls silent is noticed, that its process tree is ended before
//! its tasks run again, and that it is replaced with back-off. It gives up on nothing in
//! silence: what restarts too often is marked and tried again at a slow pace.
//!
//! When this process dies, the workers go on; the next one reads the files that this one
//! left, and takes them over.
//!
//! Decided against: pipes to the workers. A socket that has a name can be found again.

mod actor;
mod left_behind;
mod links;
mod messages;
mod record;
mod worker_process;

pub use actor::{MAILBOX, SupervisorActor, SupervisorSettings};
pub use left_behind::end_left_behind;
pub use links::{accept_links, pass_hints_on};
pub use messages::{CrashWorker, List, Shutdown, ShutdownNow, StartFailed, StartWorker, StopWorker};
pub use record::Records;
