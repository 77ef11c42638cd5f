//! Following a task: as server-sent events, or to its end; and how server-sent events are written.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Bytes;
use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::time::Instant;

use super::memory::{Memory, Room};
use super::shared::Shared;
use crate::queue::{Find, Followed, HasEnded, Live, Queue, QueueError, ReadEvents};
use crate::service::Phase;
use domain::{Event, EventKind, Named as _, TaskId};
use wire::Task;
use wire::response::{EventView, Partial};

/// Events of one read.
const PAGE: u64 = 200;
/// Bytes of them: as much as a client that reads nothing keeps in memory. One event is read whatever its size.
const PAGE_BYTES: u64 = 128 << 10;
/// Bytes that are handed over at a time.
pub(super) const PIECE: usize = 64 << 10;
/// A comment at least so often, so that proxies and clients know that we are there; also the
/// longest that a lost hint may cost.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(10);
/// What is sent where there is nothing to tell.
pub(super) const HERE: Bytes = Bytes::from_static(b": here\n\n");

/// An answer of server-sent events.
pub fn answer(stream: impl Stream<Item = Result<Bytes, actix_web::Error>> + 'static) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream)
}

/// An event under this number; `None` where its data is no JSON, which nobody writes.
pub(super) fn written(number: i64, event: &Event) -> Option<String> {
    let data = serde_json::to_string(&EventView::of(event)?).ok()?;
    Some(format!("id: {number}\nevent: {}\ndata: {data}\n\n", event.kind.name()))
}

/// Reads a task until it has ended or `limit` has passed; returns it as it stands then.
pub async fn wait_for_end(shared: &Shared, id: TaskId, limit: Duration) -> Result<Option<Task>, QueueError> {
    let mut news = shared.hub.follow(id);
    let until = Instant::now() + limit;
    loop {
        if shared.queue.ask(HasEnded(id)).await? || Instant::now() >= until {
            return shared.queue.ask(Find(id)).await;
        }
        let next = until.min(Instant::now() + HEARTBEAT);
        drop(tokio::time::timeout_at(next, news.next()).await);
    }
}

/// The events of a task behind `after`, and those to come, until it has ended.
pub fn events(
    shared: &Shared,
    task: TaskId,
    after: i64,
) -> impl Stream<Item = Result<Bytes, actix_web::Error>> + use<> {
    let following = Following {
        task,
        after,
        news: shared.hub.follow(task),
        queue: shared.queue.clone(),
        phase: shared.phase.clone(),
        memory: shared.memory.clone(),
        behind: true,
        events: VecDeque::new(),
        piece: Bytes::new(),
        room: None,
        ended: false,
        sent: Instant::now(),
    };
    unfold(following, |mut following| async move {
        let next = following.next().await?;
        Some((Ok(next), following))
    })
}

struct Following {
    task: TaskId,
    after: i64,
    news: Followed,
    queue: Queue,
    phase: watch::Receiver<Phase>,
    memory: Memory,
    /// Whether there was more to read the last time: then a whole page may come.
    behind: bool,
    /// What was read and is not rendered.
    events: VecDeque<Event>,
    /// What is rendered and not handed over.
    piece: Bytes,
    /// The room that both take.
    room: Option<Room>,
    ended: bool,
    /// When something was sent last. Hints of commits that are none of this task's come all the time.
    sent: Instant,
}

impl Following {
    /// The next piece of the stream; `None` at its end. Registered before it reads, it misses
    /// nothing; what it reads twice it sends once, since `after` moves on.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.piece.is_empty()
                && let Some(event) = self.events.pop_front()
            {
                self.piece = written(event.seq, &event).map(Bytes::from).unwrap_or_default();
            }
            if !self.piece.is_empty() {
                self.sent = Instant::now();
                return Some(self.piece.split_to(PIECE.min(self.piece.len())));
            }
            if !self.events.is_empty() {
                continue;
            }
            self.room = None;
            if self.ended || *self.phase.borrow() == Phase::Stopping {
                return None;
            }
            if self.behind {
                self.room = Some(self.memory.room(PAGE_BYTES).await);
            }
            self.read().await;
            if self.behind || !self.events.is_empty() || self.ended {
                continue;
            }
            tokio::select! {
                live = self.news.next() => match live {
                    Live::Changed => {}
                    Live::Partial(text) => {
                        self.sent = Instant::now();
                        return Some(partial(self.task, &text));
                    }
                },
                _ = self.phase.changed() => {}
                () = tokio::time::sleep_until(self.sent + HEARTBEAT) => self.piece = HERE,
            }
        }
    }

    /// Reads a page.
    async fn read(&mut self) {
        let read = ReadEvents { task: self.task, after: self.after, limit: PAGE, bytes: PAGE_BYTES };
        match self.queue.ask(read).await {
            Ok(page) => {
                self.after = page.events.last().map_or(self.after, |event| event.seq);
                self.events = page.events.into();
                self.behind = page.more;
                self.ended = !page.more && page.status.is_none_or(domain::Status::is_terminal);
            }
            Err(error) => {
                // The client reconnects with the last number that it saw.
                tracing::warn!(error = crate::telemetry::chain(&error), "A stream broke off");
                (self.behind, self.ended) = (false, true);
            }
        }
    }
}

fn partial(task: TaskId, text: &str) -> Bytes {
    let data = serde_json::to_string(&Partial { task_id: task, text: text.to_owned() }).unwrap_or_default();
    Bytes::from(format!("event: {}\ndata: {data}\n\n", EventKind::Partial.name()))
}
