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
mod content;
mod cookie;
mod encoding;
mod error;
mod feed;
mod follow;
mod guard;
mod head;
mod input;
mod memory;
mod metrics;
mod no_body;
mod openapi;
mod routes;
mod shared;
mod stream;
mod streams;
mod wrong_keys;

pub use actor::{ApiActor, Drain, MAILBOX, Pages, Stop, bind};
pub use audit::{note_action, note_at};
pub use auth::{Hosts, load_or_make_key};
pub use body::read_body;
pub use caller::{find_task, own_task};
pub use connections::Connections;
pub use cookie::{COOKIE, OURS, cookie_named, cookie_of};
pub use error::ApiError;
pub use follow::{Source, answer as follow};
pub use guard::find_key;
pub use input::Params;
pub use memory::Memory;
pub use routes::{
    LIST_PARAMS, add_schedule, amend_task, artifact_view, cancel_task, change_schedule, change_tasks, crash_worker,
    detail_of_change, graph_of, named_tasks, pick_as, question_cursor, race_of, read_question_cursor, remove_schedule,
    retry_task, run_schedule, start_worker, stop_worker, submit_task, wanted_tasks, worker_capacity, workers_overview,
};
pub use shared::{Shared, Workers};
pub use streams::Streams;
pub use wrong_keys::WrongKeys;
