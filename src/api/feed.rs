//! The events of all tasks, for those who want some of them.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use strum::VariantArray as _;

use actix_web::web::Bytes;

use super::caller::Caller;
use super::error::ApiError;
use super::follow::{Source, written};
use super::input::{Params, task_id};
use super::shared::Shared;
use crate::process::wall_now;
use crate::queue::{FeedFollower, Find, Queue, QueueError, SequencedEvent};
use crate::telemetry::{CountedStream, meters};
use domain::{EventKind, Named as _, TaskId, Timestamp};
use wire::Task;

/// Number of tasks that are remembered; then they are looked up anew.
const REMEMBERED: usize = 10_000;

/// Filter of events; all conditions together.
#[derive(Default)]
pub struct Wanted {
    tasks: HashSet<TaskId>,
    kinds: HashSet<EventKind>,
    tag: Option<String>,
    key: Option<String>,
    /// Name of the key whose tasks the caller sees; `None`: those of all keys.
    own: Option<String>,
    /// True if a task has the tag and the keys.
    known: HashMap<TaskId, bool>,
}

impl Wanted {
    /// The parameters of a query that it reads.
    pub const PARAMS: [&str; 4] = ["taskId", "kind", "tag", "key"];

    /// Reads them. Ids and kinds stand between commas.
    ///
    /// # Errors
    /// There is no such id, or kind.
    pub fn read(params: &Params, caller: &Caller) -> Result<Self, ApiError> {
        let list = |name| params.text(name).unwrap_or_default().split(',').filter(|entry| !entry.is_empty());
        let kind = |name: &str| {
            EventKind::from_name(name).filter(|kind| *kind != EventKind::Partial).ok_or_else(|| {
                let stored = EventKind::VARIANTS.iter().copied().filter(|kind| *kind != EventKind::Partial);
                let names: Vec<_> = stored.map(EventKind::name).collect();
                ApiError::invalid("kind", format!("must be some of {}, got \"{name}\"", names.join(", ")))
            })
        };
        Ok(Self {
            tasks: list("taskId").map(task_id).collect::<Result<_, _>>()?,
            kinds: list("kind").map(kind).collect::<Result<_, _>>()?,
            tag: params.text("tag").map(str::to_owned),
            key: params.text("key").map(str::to_owned),
            own: caller.own(),
            known: HashMap::new(),
        })
    }

    /// All events that the caller sees.
    pub fn all(caller: &Caller) -> Self {
        Self { own: caller.own(), ..Self::default() }
    }

    /// True if this event is one of them.
    ///
    /// # Errors
    /// The queue's.
    pub async fn has(&mut self, event: &SequencedEvent, queue: &Queue) -> Result<bool, QueueError> {
        let event = &event.event;
        let is_right = (self.tasks.is_empty() || self.tasks.contains(&event.task))
            && (self.kinds.is_empty() || self.kinds.contains(&event.kind));
        if !is_right || (self.tag.is_none() && self.key.is_none() && self.own.is_none()) {
            return Ok(is_right);
        }
        if let Some(known) = self.known.get(&event.task) {
            return Ok(*known);
        }
        let is_right = queue.ask(Find(event.task)).await?.is_some_and(|task| self.has_task(&task));
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(event.task, is_right);
        Ok(is_right)
    }

    fn has_task(&self, task: &Task) -> bool {
        self.tag.as_ref().is_none_or(|tag| task.spec.tags.contains(tag))
            && [&self.key, &self.own].into_iter().flatten().all(|key| task.key == *key)
    }
}

/// The events of all tasks that are wanted.
pub struct Feed {
    wanted: Wanted,
    follower: FeedFollower,
    queue: Queue,
    /// Events that were not looked at yet; shared with all followers.
    events: VecDeque<Arc<SequencedEvent>>,
    /// Time at which it was opened: what was stored before is no news.
    opened: Timestamp,
    _counted: CountedStream,
}

impl Feed {
    /// The events of a follower.
    pub fn of(shared: &Shared, wanted: Wanted, follower: FeedFollower) -> Self {
        Self {
            wanted,
            follower,
            queue: shared.queue.clone(),
            events: VecDeque::new(),
            opened: wall_now(),
            _counted: meters().stream("all"),
        }
    }
}

impl Source for Feed {
    async fn ready(&mut self) -> Result<Option<Bytes>, QueueError> {
        while let Some(event) = self.events.pop_front() {
            if self.wanted.has(&event, &self.queue).await? {
                return Ok(Some(written(event.n, &event.event, self.opened)));
            }
        }
        Ok(None)
    }

    fn has_ended(&self) -> bool {
        false
    }

    async fn changed(&mut self) -> Result<Option<Bytes>, QueueError> {
        self.events = self.follower.next().await?.into();
        Ok(None)
    }
}
