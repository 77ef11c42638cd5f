//! HTTP: routes, views, errors, streams.
//!
//! *Owns* the server and its life. *Talks to* the queue and, in managed mode, the supervisor;
//! handlers translate and decide nothing about tasks. *Promises* the shapes and status codes
//! of docs/api.md, and that a success is answered only for what is on disk. When [`ApiActor`]
//! panics, the server goes on serving and the actor takes it up again.

mod actor;
mod answer;
mod audit;
mod auth;
mod body;
mod caller;
mod connections;
mod encoding;
mod error;
mod feed;
mod follow;
mod guard;
mod input;
mod memory;
mod openapi;
mod routes;
mod shared;
mod stream;
mod streams;
mod wrong_keys;

pub use actor::{ApiActor, Drain, MAILBOX, Stop, bind};
pub use auth::{Hosts, load_or_make_key};
pub use connections::Connections;
pub use memory::Memory;
pub use shared::{Shared, Workers};
pub use streams::Streams;
pub use wrong_keys::WrongKeys;
