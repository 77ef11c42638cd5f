//! The way of an attempt to the store: events, many at a time, what is asked, and what became of it. One writer keeps the
//! order in which the attempt has said it, and insists until each is stored; the attempt goes on reading meanwhile.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use tracing::Instrument as _;

use crate::process::BackOff;
use crate::queue::{Append, Ask, Asked, Progress, Queue, QueueError, Say, Stale, Step, StoreError};
use crate::telemetry::{chain, mask, mask_value};
use domain::{LeaseKey, NewEvent, SessionId, Usd, json};

/// Maximum number of items that wait for the store before the CLI has to wait: its output then stays in its pipe, and
/// nothing is lost.
const AHEAD: usize = 256;
/// Maximum size of waiting events, in KiB.
const KIB_AHEAD: u32 = 4 << 10;
/// Items of one write.
const BATCH: usize = 100;
/// Longest text of an event that is stored while there is no room for more, in bytes: the task comes to its end all the same.
const MAX_SHORT_TEXT: usize = 200;

/// An item to be stored.
enum Item {
    /// An event, with the room that it takes.
    Event(NewEvent, OwnedSemaphorePermit),
    /// What the attempt has cost so far: stored with the next events.
    Cost(Usd),
    /// How the attempt goes round in circles: stored with the next events.
    Looping(String),
    /// Somebody's word to the task: a message, or `None` for an interrupt.
    Say(Option<String>),
    /// A part of a transcript, with the room that it takes.
    Transcript(SessionId, String, OwnedSemaphorePermit),
    /// A question.
    Ask(Box<Ask>),
    /// A step of a question or message.
    Step(Step),
    /// Answered when all before it is stored.
    Flush(oneshot::Sender<OutboxState>),
}

/// How far an attempt is stored, for another worker to go on.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutboxState {
    /// Number of events that were stored.
    sent: i64,
    /// Bytes of events that are stored whole.
    left: u64,
    /// Number of parts of transcripts.
    parts: i64,
}

impl OutboxState {
    /// Of an attempt that begins: beyond `most` bytes events are stored without their texts.
    pub const fn new(most: u64) -> Self {
        Self { sent: 0, left: most, parts: 0 }
    }
}

/// A question that is stored.
#[derive(Debug)]
pub struct Filed {
    /// The CLI's name for it.
    pub cli_id: String,
    /// The question as it is stored.
    pub asked: Asked,
}

/// See the [module](self).
pub struct Outbox {
    items: mpsc::Sender<Item>,
    room: Arc<Semaphore>,
    filed: mpsc::UnboundedReceiver<Filed>,
    writer: JoinHandle<()>,
    /// Answered when the store says that the task belongs to another worker.
    lost: oneshot::Receiver<()>,
}

impl Outbox {
    /// Begins with the session, so that it is known from the first event on.
    pub fn open(queue: Queue, key: LeaseKey, session: SessionId, state: OutboxState) -> Self {
        let (items, receiver) = mpsc::channel(AHEAD);
        // Without a bound: the writer must not wait for the attempt, which may wait for the writer.
        let (sender, filed) = mpsc::unbounded_channel();
        let (lost_sender, lost) = oneshot::channel();
        let transcript = Vec::new();
        let OutboxState { sent, left, parts } = state;
        let session = Some(session);
        let writer =
            Writer { queue, key, session, cost: None, looping: None, sent, left, transcript, parts, filed: sender };
        let write = async move {
            if writer.run(receiver).await.is_err() {
                lost_sender.send(()).unwrap_or_default();
            }
        };
        let writer = tokio::spawn(write.in_current_span());
        Self { items, room: Arc::new(Semaphore::new(KIB_AHEAD as usize)), filed, writer, lost }
    }

    /// Stores an event, without the secrets in it; waits while too many are on their way.
    pub async fn add(&self, mut event: NewEvent) {
        mask(&mut event.data);
        let Some(place) = self.room_for(event.data.len()).await else { return };
        self.put(Item::Event(event, place)).await;
    }

    /// Stores what the CLI has added to a transcript, without the secrets in it.
    pub async fn mirror(&self, session: SessionId, mut entries: String) {
        mask(&mut entries);
        let Some(place) = self.room_for(entries.len()).await else { return };
        self.put(Item::Transcript(session, entries, place)).await;
    }

    /// Stores what the attempt has cost so far, with the next event.
    pub async fn cost(&self, so_far: Usd) {
        self.put(Item::Cost(so_far)).await;
    }

    /// Stores how the attempt goes round in circles, with the next event, without the secrets in it.
    pub async fn looping(&self, mut sign: String) {
        mask(&mut sign);
        self.put(Item::Looping(sign)).await;
    }

    /// Says something to the task, as a client would: a message, or `None` for an interrupt.
    pub async fn say(&self, text: Option<String>) {
        self.put(Item::Say(text)).await;
    }

    async fn room_for(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let kib = u32::try_from(bytes >> 10).unwrap_or(KIB_AHEAD).min(KIB_AHEAD);
        Arc::clone(&self.room).acquire_many_owned(kib).await.ok()
    }

    /// Stores a question, without the secrets in it; [`next`](Self::next) tells when it is stored.
    pub async fn ask(&self, mut ask: Ask) {
        for value in [&mut ask.input, &mut ask.suggestions] {
            mask_value(value);
        }
        self.put(Item::Ask(Box::new(ask))).await;
    }

    /// Stores what became of something.
    pub async fn note(&self, step: Step) {
        self.put(Item::Step(step)).await;
    }

    async fn put(&self, item: Item) {
        // Closed means that the task is lost, which `next` tells.
        self.items.send(item).await.unwrap_or_default();
    }

    /// The next question that was stored; `None` when the task belongs to another worker. May be dropped
    /// and called again.
    pub async fn next(&mut self) -> Option<Filed> {
        tokio::select! {
            Some(filed) = self.filed.recv() => Some(filed),
            Ok(()) = &mut self.lost => None,
            else => std::future::pending().await,
        }
    }

    /// Waits until all is stored. Returns how far that is; `None` when the task belongs to another worker.
    pub async fn flush(&self) -> Option<OutboxState> {
        let (sender, stored) = oneshot::channel();
        self.put(Item::Flush(sender)).await;
        stored.await.ok()
    }

    /// A question that was stored and that nobody has been told of yet.
    pub fn filed(&mut self) -> Option<Filed> {
        self.filed.try_recv().ok()
    }

    /// Waits until all is stored.
    pub async fn close(self) {
        drop(self.items);
        if let Err(error) = self.writer.await {
            tracing::error!(error = chain(&error), "the writer of an attempt failed");
        }
    }
}

struct Writer {
    queue: Queue,
    key: LeaseKey,
    session: Option<SessionId>,
    /// US dollars so far that are not stored yet.
    cost: Option<Usd>,
    /// A sign of a loop that is not stored yet.
    looping: Option<String>,
    /// Number of events that were stored.
    sent: i64,
    /// Bytes of events that are stored whole.
    left: u64,
    /// Parts of transcripts that are stored with the next events, and the number of all of them.
    transcript: Vec<(SessionId, i64, String)>,
    parts: i64,
    filed: mpsc::UnboundedSender<Filed>,
}

impl Writer {
    async fn run(mut self, mut items: mpsc::Receiver<Item>) -> Result<(), Stale> {
        let mut batch = Vec::new();
        while items.recv_many(&mut batch, BATCH).await > 0 {
            let (mut events, mut places) = (Vec::new(), Vec::new());
            for item in batch.drain(..) {
                match item {
                    Item::Event(event, place) => {
                        events.push(event);
                        places.push(place);
                    }
                    Item::Cost(so_far) => self.cost = Some(so_far),
                    Item::Looping(sign) => self.looping = Some(sign),
                    Item::Say(text) => {
                        self.append(std::mem::take(&mut events)).await?;
                        // Refused where the task has ended meanwhile, or too many messages wait: then nothing is lost.
                        let said = self.queue.ask(Say { task: self.key.task, text }).await;
                        tracing::debug!(?said, "The loop guard has spoken");
                    }
                    Item::Flush(done) => {
                        self.append(std::mem::take(&mut events)).await?;
                        let state = OutboxState { sent: self.sent, left: self.left, parts: self.parts };
                        done.send(state).unwrap_or_default();
                    }
                    Item::Transcript(session, entries, place) => {
                        self.parts += 1;
                        self.transcript.push((session, self.parts, entries));
                        places.push(place);
                    }
                    Item::Ask(ask) => {
                        self.append(std::mem::take(&mut events)).await?;
                        self.ask(*ask).await?;
                    }
                    Item::Step(step) => {
                        self.append(std::mem::take(&mut events)).await?;
                        self.queue.insist(&Progress { key: self.key, step }, "what was said").await?;
                    }
                }
            }
            self.append(events).await?;
        }
        Ok(())
    }

    async fn ask(&self, ask: Ask) -> Result<(), Stale> {
        let asked = self.queue.insist(&ask, "a question").await?;
        // There is no listener where the process has ended meanwhile.
        self.filed.send(Filed { cli_id: ask.request_id, asked }).unwrap_or_default();
        Ok(())
    }

    /// Stores events, without their texts where the disk is full: there, [`Queue::insist`] would never end.
    async fn append(&mut self, mut events: Vec<NewEvent>) -> Result<(), Stale> {
        if events.is_empty() && self.transcript.is_empty() {
            return Ok(());
        }
        events.iter_mut().for_each(|event| self.spend(event));
        let count = i64::try_from(events.len()).unwrap_or(0);
        let session_id = self.session.take();
        let (cost_so_far, looping) = (self.cost.take(), self.looping.take());
        let transcript = std::mem::take(&mut self.transcript);
        let (key, from) = (self.key, self.sent);
        let mut append = Append { key, from, events, session_id, cost_so_far, looping, transcript, essential: false };
        self.sent += count;
        let mut back_off = BackOff::default();
        loop {
            match self.queue.ask(append.clone()).await {
                Ok(stored) => return stored,
                Err(QueueError::Store(shortage @ (StoreError::Full | StoreError::Quota { .. })))
                    if !append.essential =>
                {
                    tracing::warn!(error = chain(&shortage), "Events are stored without their texts");
                    append.essential = true;
                    append.events.iter_mut().for_each(shorten);
                }
                Err(error) => {
                    tracing::warn!(error = chain(&error), "events wait for the store");
                    back_off.pause().await;
                }
            }
        }
    }
}

impl Writer {
    /// Takes the bytes of an event from those that are left. Where there are none it is cut, and the first one says why.
    fn spend(&mut self, event: &mut NewEvent) {
        let bytes = event.data.len() as u64;
        if bytes <= self.left {
            self.left -= bytes;
            return;
        }
        if self.left > 0 {
            tracing::warn!("The attempt has stored as many bytes as it may: events lose their texts");
            self.left = 0;
        }
        shorten(event);
    }
}

/// Cuts an event: the fact and its figures are left.
fn shorten(event: &mut NewEvent) {
    if event.data.len() <= MAX_SHORT_TEXT {
        return;
    }
    let whole = serde_json::from_str(&event.data).ok().map(|mut data| {
        json::shorten(&mut data, MAX_SHORT_TEXT);
        data.to_string()
    });
    event.data = match whole.filter(|short| short.len() <= 20 * MAX_SHORT_TEXT) {
        Some(short) => short,
        None => NewEvent::log("left out: there is no room for it").data,
    };
}
