//! The Claude Code CLI as a library: what to start, what it says, how it ended.
//!
//! *Owns* the command line, the environment, the frames and the shim between us and the CLI.
//! *Talks to* processes, through `crate::process`. *Promises* that a [`Run`] which is dropped
//! leaves no process behind: its shim sees the end of the control socket and ends the tree.
//! Knows nothing of queues, leases or databases; a deadline is just a time.
//!
//! Decided against: a crate that models every frame. Newer CLIs add frames and fields; we act
//! on a dozen fields and keep each frame as it came.

mod command;
mod ending;
mod frame;
mod handover;
mod home;
mod home_files;
mod homes;
mod input;
mod lenient;
mod limits;
mod lines;
mod outcome;
mod result;
mod run;
mod shim;
mod spawn;
mod streams;
mod transcript;
mod unavailable;
mod way;

pub use crate::sandbox::run_probe;
pub use command::{ASK_USER, Session, Settings, command, not_allowed};
pub use ending::is_hopeless;
pub use frame::{AnswerCounts, ApiRetry, Frame, FrameKind, McpServer};
pub use handover::{HeldRun, Offer, RunState, handover_folder, offers};
pub use homes::{Homes, move_in};
pub use limits::DiskLimit;
pub use lines::Line;
pub use outcome::{Ending, Observed};
pub use run::{Exit, Item, Run, Start};
pub use shim::{Limit, ShimArgs, run_shim};
pub use spawn::{Shim, ShimLaunch};
pub use transcript::{Transcript, bring_home, move_transcript, restore as restore_transcript, transcript};
pub use unavailable::{Unavailable, check, version};
