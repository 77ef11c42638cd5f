//! The walls round a task's processes: what they may read, write and reach.
//!
//! *Owns* Landlock, the filter of system calls, the mounts that hide files, and the limits of resources. *Talks to* the
//! kernel only. *Promises* that a process inside [`Walls`] writes below the paths that it was given and nowhere else,
//! reads the system's paths and its own, and reaches no process outside, as far as [`Held`] says so: each wall is built
//! where the kernel has it. Keeps no state but a worker's [watch](SettingsWatch) over the system's settings.
//!
//! Four means, each for what the others can't do: **Landlock** grants paths and forbids the rest, to root too, and
//! forbids what would undo the others (`mount`, `umount`); **mounts** in the task's own namespace hide files below a
//! folder that it may write (Landlock only grants), and sockets; **seccomp** keeps the processes inside from reading
//! each other's memory and descriptors; **capabilities** are taken from root, all but those of files and users.
//!
//! Decided against: a container runtime. It would need a daemon or root, an image with the user's toolchains, and half
//! a second for each task.

mod landlock;
mod mounts;
mod opened;
mod probe;
mod settings_watch;
mod system;
mod walls;

pub use landlock::SystemRules;
pub use probe::{Report, Targets, Tried, run_probe};
pub use settings_watch::SettingsWatch;
pub use walls::{Access, Grant, Held, Limits, Unsafe, Walls, check_required, enter};
