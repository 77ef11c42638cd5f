//! The stream of a page: hints that something has changed, after which a script reads the page again, and, for the page of a
//! task, its new events as pieces of the page.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::web::{self, Bytes, Data, Query};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::door::{Turned, Visitor};
use super::render::{Conversation, Show};
use crate::api::{Shared, Source, follow, own_task};
use crate::queue::{ListQuestions, PagePlace, Queue, QueueError, ReadEventPage, TaskFollower, TaskSignal};
use crate::service::OpenPage;
use domain::{EventKind, Named as _, TaskId};
use wire::KeyScope;

/// Shortest time between two hints.
const PACE: Duration = Duration::from_millis(250);
/// Shortest time between two counts of open questions.
const LOOK: Duration = Duration::from_secs(1);
/// Events of one read, and bytes of them.
const PAGE: u64 = 100;
const PAGE_BYTES: u64 = 256 << 10;

pub fn routes(config: &mut web::ServiceConfig) {
    config.route("/web/live", web::get().to(live));
}

#[derive(Deserialize)]
struct Asked {
    task: Option<String>,
    after: Option<i64>,
    /// Number of the first event on the page.
    first: Option<i64>,
    show: Option<String>,
}

async fn live(
    request: HttpRequest,
    visitor: Visitor,
    asked: Query<Asked>,
    shared: Data<Shared>,
) -> Result<HttpResponse, Turned> {
    visitor.check(KeyScope::Read)?;
    let permit = shared.streams.open(&shared.keys, &visitor.caller)?;
    let page = shared.watchers.open(&visitor.caller);
    let Some(task) = &asked.task else {
        let hints = Hints(PacedCommits::of(&shared, PACE, false));
        return Ok(follow(Seen { source: hints, _page: page }, permit, shared.phase.clone()));
    };
    let task = own_task(&shared, &visitor.caller, task).await?;
    // A browser that connects again says how far it came.
    let last = request.headers().get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    let show = asked.show.as_deref().and_then(Show::from_name).unwrap_or_default();
    let own = visitor.caller.own();
    let conversation = Conversation::new(show).from(asked.first.unwrap_or(0));
    let mut events = TaskPieces::follow(&shared, task, last.or(asked.after).unwrap_or(0), conversation, own);
    events.remember_calls().await?;
    Ok(follow(Seen { source: events, _page: page }, permit, shared.phase.clone()))
}

/// A hint, that the page is to be read again.
const HINT: Bytes = Bytes::from_static(b"event: change\ndata:\n\n");

/// Commits of all tasks, told of at most at a pace.
struct PacedCommits {
    commits: watch::Receiver<u64>,
    pace: Duration,
    /// True if there was one that was not told of.
    is_due: bool,
    told: Instant,
}

impl PacedCommits {
    fn of(shared: &Shared, pace: Duration, is_due: bool) -> Self {
        Self { commits: shared.hub.commits(), pace, is_due, told: Instant::now() }
    }

    /// Waits for the next. May be dropped and called again.
    async fn next(&mut self) {
        // An error would say that the queue is gone: there is nothing to tell then.
        if !self.is_due && self.commits.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.is_due = true;
        tokio::time::sleep_until(self.told + self.pace).await;
        self.commits.mark_unchanged();
        (self.is_due, self.told) = (false, Instant::now());
    }
}

/// The source of a page that somebody has open.
struct Seen<S> {
    source: S,
    _page: OpenPage,
}

impl<S: Source> Source for Seen<S> {
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError> {
        self.source.ready().await
    }

    fn has_ended(&self) -> bool {
        self.source.has_ended()
    }

    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError> {
        self.source.changed().await
    }
}

/// A hint for each commit, at a pace.
struct Hints(PacedCommits);

impl Source for Hints {
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError> {
        Ok(None)
    }

    fn has_ended(&self) -> bool {
        false
    }

    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError> {
        self.0.next().await;
        Ok(Some(HINT))
    }
}

/// The events of a task as pieces of its page, and text while it is written.
struct TaskPieces {
    task: TaskId,
    after: i64,
    news: TaskFollower,
    queue: Queue,
    conversation: Conversation,
    pieces: VecDeque<Bytes>,
    /// After these the number of open questions may be another one.
    commits: PacedCommits,
    /// Name of the key whose questions count, and their number.
    own: Option<String>,
    waiting: i64,
    /// True if the task is gone.
    gone: bool,
}

impl TaskPieces {
    fn follow(shared: &Shared, task: TaskId, after: i64, conversation: Conversation, own: Option<String>) -> Self {
        Self {
            task,
            after,
            news: shared.hub.follow(task),
            queue: shared.queue.clone(),
            conversation,
            pieces: VecDeque::new(),
            commits: PacedCommits::of(shared, LOOK, true),
            own,
            waiting: -1,
            gone: false,
        }
    }

    /// Reads the calls that the page has already, into whose folds results are still to come.
    async fn remember_calls(&mut self) -> Result<(), QueueError> {
        let place = PagePlace::Before(self.after.saturating_add(1));
        let kinds = vec![EventKind::Assistant, EventKind::ToolUse, EventKind::ToolResult];
        let read = ReadEventPage { task: self.task, place, kinds, limit: PAGE, bytes: PAGE_BYTES };
        for event in self.queue.ask(read).await?.events {
            self.conversation.add(&event);
        }
        Ok(())
    }

    async fn read(&mut self) -> Result<(), QueueError> {
        let place = PagePlace::After(self.after);
        let read = ReadEventPage { task: self.task, place, kinds: Vec::new(), limit: PAGE, bytes: PAGE_BYTES };
        let page = self.queue.ask(read).await?;
        for event in &page.events {
            self.after = event.seq;
            let blocks: Vec<_> = self.conversation.add(event).iter().map(|block| piece(event.seq, block)).collect();
            // The number moves on also where nothing is shown.
            let bare = || Bytes::from(format!("id: {}\nevent: seen\ndata:\n\n", event.seq));
            if blocks.is_empty() { self.pieces.push_back(bare()) } else { self.pieces.extend(blocks) }
        }
        if !page.events.is_empty() {
            self.pieces.push_back(HINT);
        }
        self.gone = page.status.is_none();
        Ok(())
    }
}

fn piece(seq: i64, block: &super::render::Block) -> Bytes {
    let data = json!({ "seq": block.seq, "html": block.html.as_str() });
    Bytes::from(format!("id: {seq}\nevent: block\ndata: {data}\n\n"))
}

impl Source for TaskPieces {
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError> {
        loop {
            if let Some(piece) = self.pieces.pop_front() {
                return Ok(Some(piece));
            }
            let before = self.after;
            self.read().await?;
            if self.pieces.is_empty() && self.after == before {
                return Ok(None);
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.gone
    }

    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError> {
        loop {
            tokio::select! {
                signal = self.news.next() => return Ok(match signal {
                    TaskSignal::Changed => None,
                    TaskSignal::Partial(text) => Some(Bytes::from(format!("event: partial\ndata: {}\n\n", json!(&*text)))),
                }),
                () = self.commits.next() => {
                    let count = ListQuestions { key: self.own.clone(), after: None, limit: 0 };
                    let waiting = self.queue.ask(count).await?.total;
                    if waiting != std::mem::replace(&mut self.waiting, waiting) {
                        return Ok(Some(Bytes::from(format!("event: waiting\ndata: {waiting}\n\n"))));
                    }
                }
            }
        }
    }
}
