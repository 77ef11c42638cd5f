//! The newest events of all tasks, in memory, for everybody who follows them.
//!
//! Read once after each commit, however many follow, and only while there are followers. A follower that falls behind what is
//! kept reads the store until it has caught up: a slow follower holds nobody up, and misses nothing.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::change_notifier::ChangeNotifier;
use super::messages::QueueError;
use crate::process::BackOff;
use crate::store::views::{LatestEvents, SequencedEvent};
use crate::store::{Reader, StoreError};
use crate::telemetry::{Duty, Vitals, chain};

/// Events of one read, and bytes of them.
const PAGE: u64 = 500;
const PAGE_BYTES: u64 = 1 << 20;
/// Bytes that a follower is given at a time.
const PORTION: usize = 256 << 10;
/// Maximum size of what is kept: events, and bytes of them.
const MAX_EVENTS: usize = 2_048;
const MAX_BYTES: usize = 4 << 20;
/// The longest that a lost hint may cost.
const LOOK: Duration = Duration::from_secs(1);

/// See the [module](self). Clones share it.
#[derive(Clone)]
pub struct EventFeed(Arc<Inner>);

struct Inner {
    reader: Reader,
    kept: Mutex<Kept>,
    /// The number of the newest event that is kept.
    newest: watch::Sender<i64>,
    vitals: Vitals,
    followers: watch::Sender<usize>,
}

/// Buffer of all events behind `base`, up to the newest that was read.
#[derive(Default)]
struct Kept {
    base: i64,
    bytes: usize,
    events: VecDeque<Arc<SequencedEvent>>,
}

impl Kept {
    fn push(&mut self, event: SequencedEvent) {
        self.bytes += event.event.data.len();
        self.events.push_back(Arc::new(event));
        while self.events.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            let Some(oldest) = self.events.pop_front() else { break };
            self.base = oldest.n;
            self.bytes -= oldest.event.data.len();
        }
    }

    /// Returns the events behind this number; `None` where not all of them are kept.
    fn behind(&self, after: i64) -> Option<Vec<Arc<SequencedEvent>>> {
        let from = self.events.partition_point(|event| event.n <= after);
        let mut bytes = 0;
        let portion = self.events.range(from..).take_while(|event| {
            let is_first = bytes == 0;
            bytes += event.event.data.len() + 1;
            is_first || bytes <= PORTION
        });
        (after >= self.base).then(|| portion.cloned().collect())
    }
}

impl EventFeed {
    /// The tail of a store; a task must [run](Self::run) it.
    #[must_use]
    pub fn new(reader: Reader, vitals: Vitals) -> Self {
        let (newest, followers) = (watch::Sender::new(0), watch::Sender::new(0));
        Self(Arc::new(Inner { reader, kept: Mutex::default(), newest, vitals, followers }))
    }

    /// Follows from behind this number, or from now on.
    ///
    /// # Errors
    /// The store's.
    pub async fn follow(&self, after: Option<i64>) -> Result<FeedFollower, QueueError> {
        let after = match after {
            Some(after) => after,
            None => self.0.reader.newest_event().await?,
        };
        self.0.followers.send_modify(|followers| *followers += 1);
        Ok(FeedFollower { tail: self.clone(), after, grown: self.0.newest.subscribe() })
    }

    /// The events behind this number, up to a number of them and of bytes.
    ///
    /// # Errors
    /// The store's.
    pub async fn page(&self, after: i64, limit: u64, bytes: u64) -> Result<LatestEvents, QueueError> {
        Ok(self.0.reader.latest_events(after, limit, bytes).await?)
    }

    /// Reads what is new, for as long as the process lives.
    pub async fn run(self, hub: ChangeNotifier) {
        let (mut commits, mut followers) = (hub.commits(), self.0.followers.subscribe());
        let mut back_off = BackOff::default();
        loop {
            hub.note_followers(false);
            if *followers.borrow() == 0 {
                self.0.vitals.well(Duty::Events);
            }
            // An error would say that this very tail is gone.
            drop(followers.wait_for(|followers| *followers > 0).await);
            hub.note_followers(true);
            let read = self.read_on(&mut commits, &mut followers, &mut back_off).await;
            if let Err(error) = read {
                self.0.vitals.failed(Duty::Events, &error);
                tracing::warn!(error = chain(&error), "The newest events can't be read");
                back_off.pause().await;
            }
        }
    }

    /// Reads until there is no follower any more.
    async fn read_on(
        &self,
        commits: &mut watch::Receiver<u64>,
        followers: &mut watch::Receiver<usize>,
        back_off: &mut BackOff,
    ) -> Result<(), StoreError> {
        let mut newest = self.0.reader.newest_event().await?;
        *self.kept() = Kept { base: newest, ..Kept::default() };
        self.0.newest.send_replace(newest);
        while *followers.borrow_and_update() > 0 {
            commits.mark_unchanged();
            let page = self.0.reader.latest_events(newest, PAGE, PAGE_BYTES).await?;
            self.0.vitals.well(Duty::Events);
            back_off.reset();
            if let Some(last) = page.events.last() {
                newest = last.n;
                let mut kept = self.kept();
                page.events.into_iter().for_each(|event| kept.push(event));
                drop(kept);
                self.0.newest.send_replace(newest);
            }
            if !page.more {
                tokio::select! {
                    _ = commits.changed() => {}
                    _ = followers.changed() => {}
                    () = tokio::time::sleep(LOOK) => {}
                }
            }
        }
        *self.kept() = Kept { base: newest, ..Kept::default() };
        Ok(())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.0.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A follower of all events.
pub struct FeedFollower {
    tail: EventFeed,
    after: i64,
    grown: watch::Receiver<i64>,
}

impl FeedFollower {
    /// The next events; waits until there are some. Each comes once, in order.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self) -> Result<Vec<Arc<SequencedEvent>>, QueueError> {
        loop {
            self.grown.mark_unchanged();
            let kept = self.tail.kept().behind(self.after);
            let events = match kept {
                Some(events) => events,
                None => self.read().await?,
            };
            if let Some(last) = events.last() {
                self.after = last.n;
                return Ok(events);
            }
            // An error would say that the tail is gone, which we hold.
            drop(self.grown.changed().await);
        }
    }

    /// Reads events that are not kept any more, or not yet.
    async fn read(&mut self) -> Result<Vec<Arc<SequencedEvent>>, StoreError> {
        let base = self.tail.kept().base;
        let page = self.tail.0.reader.latest_events(self.after, PAGE, PORTION as u64).await?.events;
        if page.is_empty() {
            // What stood between was removed.
            self.after = self.after.max(base);
        }
        Ok(page.into_iter().map(Arc::new).collect())
    }
}

impl Drop for FeedFollower {
    fn drop(&mut self) {
        self.tail.0.followers.send_modify(|followers| *followers -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{Event, EventKind, TaskId, Timestamp};

    fn event(n: i64, bytes: usize) -> SequencedEvent {
        let data = "x".repeat(bytes);
        SequencedEvent {
            n,
            event: Event { task: TaskId::from_u128(0), seq: n, at: Timestamp(0), kind: EventKind::Log, data },
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_says_what_it_lacks() {
        let mut kept = Kept { base: 10, ..Kept::default() };
        let numbers =
            |kept: &Kept, after| kept.behind(after).map(|events| events.iter().map(|e| e.n).collect::<Vec<_>>());
        assert_eq!((numbers(&kept, 9), numbers(&kept, 10)), (None, Some(vec![])));
        (11..=14).for_each(|n| kept.push(event(n, 1)));
        assert_eq!(numbers(&kept, 12), Some(vec![13, 14]));
        kept.push(event(20, MAX_BYTES - 2));
        assert_eq!((numbers(&kept, 11), numbers(&kept, 12)), (None, Some(vec![13, 14])), "a portion at a time");
        assert_eq!(numbers(&kept, 14), Some(vec![20]), "one event in any case");
        (21..=21 + MAX_EVENTS as i64).for_each(|n| kept.push(event(n, 0)));
        assert_eq!((kept.events.len(), kept.base), (MAX_EVENTS, 21));
    }
}
