//! HTTP: routes, views, errors, streams.
//!
//! *Owns* the server and its life. *Talks to* the queue and, in managed mode, the supervisor;
//! handlers translate and decide nothing about tasks. *Promises* the shapes and status codes
//! of docs/api.md, and that a success is answered only for what is on disk. When [`ApiActor`]
//! panics, the server goes on serving and the actor takes it up again.

mod actor;
mod auth;
mod connections;
mod deliverer;
mod error;
mod feed;
mod guard;
mod input;
mod memory;
mod openapi;
mod outbound;
mod routes;
mod scheduler;
mod shared;
mod stream;
mod view;

pub use actor::{ApiActor, Drain, MAILBOX, Stop, bind};
pub use auth::{ApiKey, Hosts, Keys, load_or_make_key};
pub use connections::Connections;
pub use deliverer::deliver_forever;
pub use memory::Memory;
pub use outbound::Outbound;
pub use scheduler::fire_forever;
pub use shared::{Phase, Shared, Workers};
