//! The unsafe code of cc-anywhere, all of it: calls of the system that have no safe wrapper.
//!
//! Every function here is safe to call: what it needs to be sound it checks itself, or arranges itself. The other
//! crates forbid unsafe code.

mod allocator;
mod before_exec;
mod descriptor;
mod fork;
mod mount;
mod probe;
mod signal;
mod spawn;
mod write_watch;

pub use allocator::{BySize, give_memory_back};
pub use before_exec::{BeforeExec, User};
pub use descriptor::{inherited, readable};
pub use fork::{fork, unshare, wait_in_place_of};
pub use mount::set_read_only;
pub use probe::{can_look_into, landlock_abi};
pub use signal::{kill_namespace, reset_sigpipe};
pub use spawn::spawn;
pub use write_watch::WriteWatch;
