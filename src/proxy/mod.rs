//! The credential proxy: the CLI asks it instead of the API, with a token of its attempt, and it adds the account's key.
//!
//! A process of its own for each worker (`cc-anywhere agent-proxy`), so that the answer of a model that is on its way
//! reaches its CLI while the worker is replaced. It *owns* the account's key beside the worker, the tokens of attempts, and
//! the count of what each has spent. It *talks to* the CLI on loopback, to the API's address, and to the worker: over one
//! socket about itself, and over one for each attempt, the attempt's [`Pass`]. *Promises* that no process of a task ever
//! holds the key; that a token is good for its attempt, for the API's own paths, and while the attempt's budget lasts; that
//! an answer is passed on as it comes; and that a token is worth nothing once nobody holds its pass: when the worker dies,
//! or when the shim that held it for the next worker does. When the worker has left and no pass is held, it ends.
//! One pass is let in before there is an attempt, which takes it.
//!
//! Decided against: a Unix socket, which the CLI can't be given as an address; an asynchronous HTTP client beside the one
//! that sends webhooks. A call of a model takes a thread for seconds, and a worker has few at a time.

mod client;
mod estimate;
mod messages;
mod meter;
mod price;
mod role;
mod server;
mod upstream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sha2::{Digest as _, Sha256};

pub use client::{Pass, Proxy, ProxyLaunch};
use domain::Spent;
pub use estimate::Estimate;
pub use messages::Counted;
use meter::Meter;
pub use role::{ProxyArgs, run_proxy};

/// Attempts by the hash of their token.
type Passes = Mutex<HashMap<[u8; 32], Arc<Meter>>>;

/// What an answer in a stream has cost that comes in parts of this length.
pub fn counted(answer: &[u8], length: usize) -> Option<Spent> {
    let meter = Meter::default();
    let mut passing = meter::Answer::new(&meter, true);
    answer.chunks(length).for_each(|part| passing.pass(part));
    drop(passing);
    meter.spent()
}

fn hash(token: &str) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn lock(passes: &Passes) -> MutexGuard<'_, HashMap<[u8; 32], Arc<Meter>>> {
    passes.lock().unwrap_or_else(PoisonError::into_inner)
}
