//! Stores the events of an attempt, many at a time, in order.

use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::queue::{Append, Queue, Stale};
use crate::task::{LeaseKey, NewEvent};

/// So many events wait for the store before the CLI has to wait: its output then stays in its
/// pipe, and nothing is lost.
const AHEAD: usize = 256;
/// Events of one write.
const BATCH: usize = 100;
/// A longer event is stored without its frame.
const MAX_EVENT_BYTES: usize = 1 << 20;
/// The pause before the store is asked again.
const RETRY: Duration = Duration::from_millis(500);

/// The way of events to the store.
pub struct EventLog {
    events: mpsc::Sender<NewEvent>,
    writer: JoinHandle<()>,
    /// Answered when the store says that the task is not ours any more.
    lost: oneshot::Receiver<()>,
}

impl EventLog {
    /// Begins with the session, so that it is known from the first event on.
    pub fn open(queue: Queue, key: LeaseKey, session_id: String) -> Self {
        let (events, receiver) = mpsc::channel(AHEAD);
        let (lost_sender, lost) = oneshot::channel();
        let writer = tokio::spawn(write(queue, key, session_id, receiver, lost_sender));
        Self { events, writer, lost }
    }

    /// Stores an event; waits while too many are on their way.
    pub async fn add(&self, mut event: NewEvent) {
        if event.data.len() > MAX_EVENT_BYTES {
            let message = format!("a frame of {} bytes was left out", event.data.len());
            event = NewEvent { kind: event.kind, ..NewEvent::log(&message) };
        }
        // Closed means that the task is lost, which `lost` tells.
        self.events.send(event).await.unwrap_or_default();
    }

    /// Completes when the task turns out to be somebody else's.
    pub async fn lost(&mut self) {
        if (&mut self.lost).await.is_err() {
            // The writer ended without that: nothing to tell.
            std::future::pending::<()>().await;
        }
    }

    /// Waits until all is stored.
    pub async fn close(self) {
        drop(self.events);
        if let Err(error) = self.writer.await {
            tracing::error!(%error, "the writer of events failed");
        }
    }
}

async fn write(
    queue: Queue,
    key: LeaseKey,
    session_id: String,
    mut events: mpsc::Receiver<NewEvent>,
    lost: oneshot::Sender<()>,
) {
    let mut session_id = Some(session_id);
    let mut batch = Vec::new();
    let mut sent = 0;
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let append = Append { key, from: sent, events: std::mem::take(&mut batch), session_id: session_id.take() };
        sent += i64::try_from(append.events.len()).unwrap_or(0);
        loop {
            match queue.ask(append.clone()).await {
                Ok(Ok(())) => break,
                Ok(Err(Stale)) => {
                    lost.send(()).unwrap_or_default();
                    return;
                }
                Err(error) => {
                    tracing::warn!(taskId = %key.task, %error, "events wait for the store");
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }
}
