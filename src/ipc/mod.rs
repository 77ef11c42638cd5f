//! Local sockets between the API process and its worker processes: control only.
//!
//! *Owns* the frames, their encoding, and who may connect: the folder is 0700, the socket
//! 0600, the peer must have our uid and, for a worker, its token. *Promises* nothing about
//! delivery: every frame is a hint, and the truth is in the database. An older peer that gets
//! a newer frame reads it as `Unknown` and ignores it.

mod frame;
mod socket;

pub use frame::{PROTOCOL_VERSION, ToSupervisor, ToWorker, exposed};
pub use socket::{Incoming, Listening, Outgoing, connect, frames, listen, socket_path};
