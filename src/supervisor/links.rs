//! Takes in the workers that connect, and passes on what they say, and hints to them.

use std::time::Duration;

use actix::Addr;
use tokio::sync::mpsc;

use super::actor::SupervisorActor;
use super::messages::{Heard, LinkDown, LinkUp, Wake};
use crate::ipc::{Incoming, Listening, Outgoing, PROTOCOL_VERSION, ToSupervisor, ToWorker};
use crate::process::BackOff;
use crate::queue::ChangeNotifier;

/// A worker says hello with its first breath.
const HELLO_LIMIT: Duration = Duration::from_secs(5);
/// Maximum number of hints that wait for a worker that doesn't read; more are lost.
const HINTS_AHEAD: usize = 64;

/// Accepts workers for as long as the socket is there.
pub async fn accept_links(listening: Listening, supervisor: Addr<SupervisorActor>) {
    let mut back_off = BackOff::default();
    loop {
        match listening.accept().await {
            Ok((pid, incoming, outgoing)) => {
                back_off.reset();
                actix::spawn(talk(pid, incoming, outgoing, supervisor.clone()));
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "could not accept a worker");
                back_off.pause().await;
            }
        }
    }
}

async fn talk(
    pid: Option<u32>,
    mut incoming: Incoming<ToSupervisor>,
    mut outgoing: Outgoing<ToWorker>,
    supervisor: Addr<SupervisorActor>,
) {
    let hello = tokio::time::timeout(HELLO_LIMIT, incoming.next()).await;
    let Ok(Some(ToSupervisor::Hello { worker, holder, token, version, .. })) = hello else { return };
    let (link, mut hints) = mpsc::channel(HINTS_AHEAD);
    let up = LinkUp { name: worker.clone(), holder, pid, token, version, link };
    if !supervisor.send(up).await.unwrap_or(false) {
        tracing::warn!(workerId = worker, "turned away a worker with a wrong token, or what is none of our workers");
        return;
    }
    if outgoing.send(&ToWorker::Welcome { version: PROTOCOL_VERSION }).await.is_err() {
        return;
    }
    let writer = actix::spawn(async move {
        while let Some(hint) = hints.recv().await {
            if outgoing.send(&hint).await.is_err() {
                return;
            }
        }
    });
    while let Some(frame) = incoming.next().await {
        // A restart of the supervisor loses a hint at most.
        supervisor.send(Heard { name: worker.clone(), holder, frame }).await.unwrap_or_default();
    }
    writer.abort();
    // Awaited, so that the way to the worker is seen to be closed.
    drop(writer.await);
    supervisor.send(LinkDown { name: worker, holder }).await.unwrap_or_default();
}

/// Tells linked workers at once what they would find out within milliseconds: of new tasks as many as can take them, so that
/// the others don't compete for them in vain.
pub async fn pass_hints_on(hub: ChangeNotifier, supervisor: Addr<SupervisorActor>) {
    let mut concerned = hub.concerned();
    let mut passed = *concerned.borrow();
    while concerned.changed().await.is_ok() {
        let now = *concerned.borrow_and_update();
        // A restart of the supervisor loses a hint at most.
        supervisor.send(Wake(now.since(passed))).await.unwrap_or_default();
        passed = now;
    }
}
