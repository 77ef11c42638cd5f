//! Following: server-sent events of any [`Source`], with heartbeats, until it ends, the server stops or the client leaves.
//!
//! The WebSocket has a loop of its own: it hears as well as it tells.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::web::Bytes;
use futures_util::stream::unfold;
use tokio::sync::watch;
use tokio::time::Instant;

use super::streams::StreamPermit;
use crate::process::wall_now;
use crate::queue::QueueError;
use crate::service::Phase;
use crate::telemetry::meters;
use domain::{Event, Named as _, Timestamp};
use wire::response::EventView;

/// Bytes that are handed over at a time.
const PIECE: usize = 64 << 10;
/// Longest time between two comments, by which proxies and clients know that the stream lives; also the
/// longest that a lost hint may cost.
pub const HEARTBEAT: Duration = Duration::from_secs(10);
/// Comment that is sent where there is no event.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": here\n\n");

/// Source of events.
pub trait Source: 'static {
    /// The next of what is there, as it is sent; `None` where there is nothing now.
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError>;

    /// True if nothing comes any more.
    fn has_ended(&self) -> bool;

    /// Waits until there may be more, and returns what goes out at once. May be dropped and called again.
    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError>;
}

/// An answer of server-sent events.
pub fn answer(source: impl Source, permit: StreamPermit, phase: watch::Receiver<Phase>) -> HttpResponse {
    // A comment at once, so that the client knows that it is heard.
    let now = Instant::now();
    let follow = Follow { source, permit, phase, piece: KEEP_ALIVE, sent: now, checked: now };
    let stream = unfold(follow, |mut follow| async move {
        let piece = follow.next().await?;
        Some((Ok::<_, actix_web::Error>(piece), follow))
    });
    HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("X-Accel-Buffering", "no"))
        .streaming(stream)
}

/// An event under this number, for a stream that was opened at this time; empty where its data is no JSON, which no part
/// of the program writes.
pub fn written(number: i64, event: &Event, opened: Timestamp) -> Bytes {
    if event.at >= opened {
        meters().event_lag(wall_now().since_ms(event.at));
    }
    let data = EventView::of(event).and_then(|view| serde_json::to_string(&view).ok());
    let text = data.map(|data| format!("id: {number}\nevent: {}\ndata: {data}\n\n", event.kind.name()));
    text.map(Bytes::from).unwrap_or_default()
}

struct Follow<S> {
    source: S,
    permit: StreamPermit,
    phase: watch::Receiver<Phase>,
    /// Rendered text that is not handed over yet.
    piece: Bytes,
    /// Time of the last piece. Changes that are none of this source's come all the time.
    sent: Instant,
    /// Time at which the key was last known to be good.
    checked: Instant,
}

impl<S: Source> Follow<S> {
    /// The next piece of the stream; `None` at its end.
    async fn next(&mut self) -> Option<Bytes> {
        let ended = self.piece().await;
        if let Err(error) = &ended {
            // The client reconnects with the last number that it saw.
            tracing::warn!(error = crate::telemetry::chain(error), "A stream broke off");
        }
        ended.ok().flatten()
    }

    /// True if the key is good, as far as was looked within a heartbeat.
    async fn may_go_on(&mut self) -> bool {
        if self.checked.elapsed() < HEARTBEAT {
            return true;
        }
        self.checked = Instant::now();
        self.permit.is_good().await
    }

    async fn piece(&mut self) -> Result<Option<Bytes>, QueueError> {
        loop {
            if !self.piece.is_empty() {
                self.sent = Instant::now();
                return Ok(Some(self.piece.split_to(PIECE.min(self.piece.len()))));
            }
            if *self.phase.borrow() == Phase::Stopping || !self.may_go_on().await {
                return Ok(None);
            }
            if let Some(piece) = self.source.ready().await? {
                self.piece = piece;
                continue;
            }
            if self.source.has_ended() {
                return Ok(None);
            }
            tokio::select! {
                piece = self.source.changed() => self.piece = piece?.unwrap_or_default(),
                _ = self.phase.changed() => {}
                () = tokio::time::sleep_until(self.sent + HEARTBEAT) => self.piece = KEEP_ALIVE,
            }
        }
    }
}
