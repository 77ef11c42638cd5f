//! Attempts that another worker has handed over: finding them, and getting the right to them.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::attempt::{Carried, VERSION};
use super::set_up::WorkerContext;
use crate::claude::Offer;
use crate::process::{self, EnvMarks};
use crate::queue::{Adopt, Assignment, FindHandover, NotAdopted, Queue, QueueError, TakeBackOrphan};
use crate::store::views::HeldTree;
use crate::telemetry::chain;
use domain::{BootInstant, LeaseKey, LeaseTimes};

/// Longest time for the answer of a shim.
const ASK_LIMIT: Duration = Duration::from_secs(5);

/// An attempt that this worker has the right to.
pub struct Adopted {
    /// The task in hand.
    pub assignment: Assignment,
    /// Its process.
    pub offer: Offer,
    /// What the last worker has left.
    pub carried: Carried,
    /// Time at which the shim ends the tree, unless the lease is renewed.
    pub deadline: BootInstant,
}

/// Takes over the attempt behind a socket. `None` where it is not to be had, which the log says.
pub async fn adopt(tools: &Arc<WorkerContext>, queue: &Queue, key: LeaseKey, socket: PathBuf) -> Option<Adopted> {
    match ask(&socket).await {
        Ok(offer) if offer.lease == key => match take(tools, queue, offer).await {
            Ok(adopted) => {
                let adopted = adopted?;
                forget(&socket);
                tracing::info!(taskId = %key.task, "Took over an attempt as it runs");
                Some(adopted)
            }
            Err(error) => {
                tracing::warn!(taskId = %key.task, error = chain(&error), "Could not take over an attempt");
                None
            }
        },
        Ok(offer) => {
            tracing::warn!(taskId = %key.task, offered = %offer.lease.task, "A shim offers another attempt");
            None
        }
        // The shim is gone, and the tree with it.
        Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound) => {
            match take_back(queue, key).await {
                Ok(TakenBack::Done) => forget(&socket),
                // It has the shim for itself, and forgets the socket.
                Ok(TakenBack::Held) => {}
                Ok(TakenBack::ProcessesLeft) => {
                    tracing::error!(taskId = %key.task, "Processes of the task are left");
                }
                Err(error) => {
                    tracing::warn!(taskId = %key.task, error = chain(&error), "Could not take back an attempt");
                }
            }
            None
        }
        // It waits for its last worker still, or talks to another one.
        Err(error) => {
            tracing::debug!(taskId = %key.task, %error, "A shim does not offer its attempt");
            None
        }
    }
}

async fn ask(socket: &Path) -> io::Result<Offer> {
    let socket = socket.to_owned();
    process::blocking(ASK_LIMIT, move || Offer::ask(&socket)).await?
}

async fn take(tools: &Arc<WorkerContext>, queue: &Queue, offer: Offer) -> Result<Option<Adopted>, QueueError> {
    let carried = match serde_json::from_str::<Carried>(&offer.state) {
        Ok(carried) if carried.version == VERSION => carried,
        // Another worker may know its form; if none does, the shim ends it in time.
        Ok(Carried { version, .. }) => {
            tracing::warn!(version, "An attempt was left in a form that this version does not know");
            return Ok(None);
        }
        Err(error) => {
            tracing::warn!(error = chain(&error), "An attempt was left in a form that can't be read");
            return Ok(None);
        }
    };
    let asked_at = process::boot_now();
    let (holder, worker) = (tools.holder, tools.name.clone());
    process::barrier("adopt-before");
    let adopted = queue.ask(Adopt { key: offer.lease, holder, worker, lease: tools.lease }).await?;
    process::barrier("adopt-after");
    match adopted {
        Ok(assignment) => {
            let deadline = LeaseTimes::new(tools.lease).tree_deadline(asked_at);
            Ok(Some(Adopted { assignment, offer, carried, deadline }))
        }
        Err(NotAdopted::Held) => Ok(None),
        Err(NotAdopted::Gone) => {
            // Cancelled meanwhile, say: taken and dropped, its shim ends the tree.
            let dropped = offer.take(carried.run, asked_at).map(drop);
            tracing::info!(ended = dropped.is_ok(), "An attempt was handed over whose task is not running any more");
            Ok(None)
        }
    }
}

/// Ends what is left of an attempt that was handed over. Returns false where processes of it are left.
///
/// # Errors
/// The queue's.
pub async fn end_processes(queue: &Queue, key: LeaseKey) -> Result<bool, QueueError> {
    match queue.ask(FindHandover(key)).await? {
        Some(tree) => Ok(end(tree).await),
        None => Ok(true),
    }
}

/// What has become of an attempt whose socket nobody answers.
enum TakenBack {
    /// Nothing of it is left.
    Done,
    /// A worker has it.
    Held,
    /// Processes of it can't be ended.
    ProcessesLeft,
}

/// Takes back the task of an attempt whose shim is gone.
async fn take_back(queue: &Queue, key: LeaseKey) -> Result<TakenBack, QueueError> {
    match queue.ask(FindHandover(key)).await? {
        None => return Ok(TakenBack::Done),
        Some(tree) if tree.is_held => return Ok(TakenBack::Held),
        Some(tree) if !end(tree).await => return Ok(TakenBack::ProcessesLeft),
        Some(_) => {}
    }
    if queue.ask(TakeBackOrphan(key)).await? {
        tracing::warn!(taskId = %key.task, "Took back a task whose attempt ended while it was handed over");
    }
    Ok(TakenBack::Done)
}

async fn end(tree: HeldTree) -> bool {
    process::end_all(EnvMarks::of_attempt(tree.task, tree.session, tree.tree_holder)).await
}

fn forget(socket: &Path) {
    match std::fs::remove_file(socket) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            tracing::warn!(socket = %socket.display(), %error, "The socket of an attempt stays");
        }
        _ => {}
    }
}
