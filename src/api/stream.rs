//! Following a task: its events, or its end.

use std::collections::VecDeque;
use std::time::Duration;

use actix_web::web::Bytes;
use tokio::time::Instant;

use super::follow::{HEARTBEAT, Source, written};
use super::memory::{Memory, Room};
use super::shared::Shared;
use crate::process::wall_now;
use crate::queue::{Find, HasEnded, Queue, QueueError, ReadEvents, TaskFollower, TaskSignal};
use crate::telemetry::{CountedStream, meters};
use domain::{Event, EventKind, Named as _, TaskId, Timestamp};
use wire::Task;
use wire::response::Partial;

/// Events of one read.
const PAGE: u64 = 200;
/// Bytes of them: as much as a client that reads nothing keeps in memory. One event is read whatever its size.
const PAGE_BYTES: u64 = 128 << 10;

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

/// The events of a task, until it has ended.
pub struct TaskEvents {
    task: TaskId,
    after: i64,
    news: TaskFollower,
    queue: Queue,
    memory: Memory,
    /// True if there was more to read the last time: then a whole page may come.
    behind: bool,
    /// Events that were read and are not handed over yet.
    events: VecDeque<Event>,
    /// The room that they take.
    room: Option<Room>,
    /// True if the last event was read.
    ended: bool,
    /// Time at which it was opened: what was stored before is no news.
    opened: Timestamp,
    _counted: CountedStream,
}

impl TaskEvents {
    /// The events behind `after`, and those to come. Registered before it reads, it misses nothing; what it reads twice
    /// it sends once, since `after` moves on.
    pub fn follow(shared: &Shared, task: TaskId, after: i64) -> Self {
        Self {
            task,
            after,
            news: shared.hub.follow(task),
            queue: shared.queue.clone(),
            memory: shared.memory.clone(),
            behind: true,
            events: VecDeque::new(),
            room: None,
            ended: false,
            opened: wall_now(),
            _counted: meters().stream("task"),
        }
    }

    /// Reads a page.
    async fn read(&mut self) -> Result<(), QueueError> {
        let read = ReadEvents { task: self.task, after: self.after, limit: PAGE, bytes: PAGE_BYTES };
        let page = self.queue.ask(read).await?;
        self.after = page.events.last().map_or(self.after, |event| event.seq);
        self.events = page.events.into();
        self.behind = page.more;
        self.ended = !page.more && page.status.is_none_or(domain::Status::is_terminal);
        Ok(())
    }
}

impl Source for TaskEvents {
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(written(event.seq, &event, self.opened)));
            }
            self.room = None;
            if self.ended {
                return Ok(None);
            }
            if self.behind {
                self.room = Some(self.memory.room(PAGE_BYTES).await);
            }
            self.read().await?;
            if self.events.is_empty() && !self.behind {
                return Ok(None);
            }
        }
    }

    fn has_ended(&self) -> bool {
        self.ended
    }

    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError> {
        Ok(match self.news.next().await {
            TaskSignal::Changed => None,
            TaskSignal::Partial(text) => Some(partial(self.task, &text)),
        })
    }
}

fn partial(task_id: TaskId, text: &str) -> Bytes {
    let data = serde_json::to_string(&Partial { task_id, text: text.to_owned() }).unwrap_or_default();
    Bytes::from(format!("event: {}\ndata: {data}\n\n", EventKind::Partial.name()))
}
