//! Events of a task, and of all tasks.

use domain::{Event, EventKind, Status, TaskId};

/// Reads events of a task, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEvents {
    pub task: TaskId,
    /// Number behind which they begin.
    pub after: i64,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum size of the data in bytes; one event is read whatever its size.
    pub bytes: u64,
}

/// Reads a page of a task's events.
#[derive(Clone, Debug)]
pub struct ReadEventPage {
    pub task: TaskId,
    /// Where it stands.
    pub place: PagePlace,
    /// Kinds of events, any of them; with none, all.
    pub kinds: Vec<EventKind>,
    /// Maximum number of them.
    pub limit: u64,
    /// Maximum size of the data in bytes; one event is read whatever its size.
    pub bytes: u64,
}

impl ReadEventPage {
    /// Reads one event. The page holds the next one behind it, where it isn't there.
    #[must_use]
    pub fn one(task: TaskId, seq: i64) -> Self {
        let place = PagePlace::After(seq.saturating_sub(1));
        Self { task, place, kinds: Vec::new(), limit: 1, bytes: 1 }
    }
}

/// Place of a page among the events of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PagePlace {
    /// The next behind this number.
    After(i64),
    /// The last before this number.
    Before(i64),
}

/// A page of events, and the status of the task when they were read.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// Events, in order.
    pub events: Vec<Event>,
    /// True if there are more behind the last of them, or, where the page was asked for by its end, before the first.
    pub more: bool,
    /// Number of the newest event of the task.
    pub last_event: i64,
    /// `None` where there is no such task. Read before the events: a terminal status means
    /// that the last event is among them, or on a later page.
    pub status: Option<Status>,
}

/// An event with its place among all events.
#[derive(Clone, Debug)]
pub struct SequencedEvent {
    /// Grows from event to event, with gaps.
    pub n: i64,
    pub event: Event,
}

/// A page of the events of all tasks.
pub struct LatestEvents {
    /// Events, in order.
    pub events: Vec<SequencedEvent>,
    /// True if there may be more behind them.
    pub more: bool,
}
