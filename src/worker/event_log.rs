//! Stores the events of an attempt, many at a time, in order.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::process::BackOff;
use crate::queue::{Append, Queue, QueueError, Stale, StoreError};
use crate::telemetry::chain;
use domain::{LeaseKey, NewEvent, SessionId, json};

/// Most events that wait for the store before the CLI has to wait: its output then stays in its
/// pipe, and nothing is lost.
const AHEAD: usize = 256;
/// Most bytes of them, in KiB.
const KIB_AHEAD: u32 = 4 << 10;
/// Events of one write.
const BATCH: usize = 100;
/// Longest text of an event that is stored while the disk is full, in bytes: the task comes to its end all the same.
const MAX_TEXT_WHEN_FULL: usize = 200;

/// An event with the room that it takes.
type Waiting = (NewEvent, OwnedSemaphorePermit);

/// The way of events to the store.
pub struct EventLog {
    events: mpsc::Sender<Waiting>,
    room: Arc<Semaphore>,
    writer: JoinHandle<()>,
    /// Answered when the store says that the task is not ours any more.
    lost: oneshot::Receiver<()>,
}

impl EventLog {
    /// Begins with the session, so that it is known from the first event on.
    pub fn open(queue: Queue, key: LeaseKey, session_id: SessionId) -> Self {
        let (events, receiver) = mpsc::channel(AHEAD);
        let (lost_sender, lost) = oneshot::channel();
        let writer = tokio::spawn(write(queue, key, session_id, receiver, lost_sender));
        Self { events, room: Arc::new(Semaphore::new(KIB_AHEAD as usize)), writer, lost }
    }

    /// Stores an event; waits while too many are on their way.
    pub async fn add(&self, event: NewEvent) {
        let kib = u32::try_from(event.data.len() >> 10).unwrap_or(KIB_AHEAD).min(KIB_AHEAD);
        let Ok(place) = Arc::clone(&self.room).acquire_many_owned(kib).await else { return };
        // Closed means that the task is lost, which `lost` tells.
        self.events.send((event, place)).await.unwrap_or_default();
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
            tracing::error!(error = crate::telemetry::chain(&error), "the writer of events failed");
        }
    }
}

async fn write(
    queue: Queue,
    key: LeaseKey,
    session_id: SessionId,
    mut events: mpsc::Receiver<Waiting>,
    lost: oneshot::Sender<()>,
) {
    let mut session_id = Some(session_id);
    let mut batch = Vec::new();
    let mut sent = 0;
    while events.recv_many(&mut batch, BATCH).await > 0 {
        let (waiting, places): (Vec<_>, Vec<_>) = std::mem::take(&mut batch).into_iter().unzip();
        let mut append = Append { key, from: sent, events: waiting, session_id: session_id.take(), essential: false };
        sent += i64::try_from(append.events.len()).unwrap_or(0);
        let mut back_off = BackOff::default();
        loop {
            match queue.ask(append.clone()).await {
                Ok(Ok(())) => break,
                Ok(Err(Stale)) => {
                    lost.send(()).unwrap_or_default();
                    return;
                }
                Err(QueueError::Store(StoreError::Full)) if !append.essential => {
                    tracing::warn!(taskId = %key.task, "The disk is full: events are stored without their texts");
                    append.essential = true;
                    append.events.iter_mut().for_each(shorten);
                }
                Err(error) => {
                    tracing::warn!(taskId = %key.task, error = chain(&error), "events wait for the store");
                    back_off.pause().await;
                }
            }
        }
        drop(places);
    }
}

/// What is left of an event on a full disk: that it happened, and its figures.
fn shorten(event: &mut NewEvent) {
    if event.data.len() <= MAX_TEXT_WHEN_FULL {
        return;
    }
    let whole = serde_json::from_str(&event.data).ok().map(|mut data| {
        json::shorten(&mut data, MAX_TEXT_WHEN_FULL);
        data.to_string()
    });
    event.data = match whole.filter(|short| short.len() <= 20 * MAX_TEXT_WHEN_FULL) {
        Some(short) => short,
        None => NewEvent::log("left out: the disk is full").data,
    };
}
