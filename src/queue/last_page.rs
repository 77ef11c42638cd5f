//! The page of events that was read last: the followers of a task all ask for the same one when there is something new.
//! On a server those who ask at the same moment each read it: none of their reads has come back by then.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::store::views::{EventPage, ReadEvents};

/// Time for which a page is good, should a commit of another process not be seen.
const FRESH: Duration = Duration::from_millis(100);

/// See the [module](self). Clones share it.
#[derive(Clone, Default)]
pub struct LastPage(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Grows with every commit that was seen.
    commits: u64,
    last: Option<Kept>,
}

struct Kept {
    read: ReadEvents,
    page: EventPage,
    at: Instant,
}

impl LastPage {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was committed: what was read before may be old.
    pub fn forget(&self) {
        let mut inner = self.lock();
        inner.commits += 1;
        inner.last = None;
    }

    /// Returns the page that this read would find, or what [`keep`](Self::keep) is to be told.
    pub fn find(&self, read: &ReadEvents) -> Result<EventPage, u64> {
        let inner = self.lock();
        let fresh = inner.last.as_ref().filter(|kept| kept.read == *read && kept.at.elapsed() < FRESH);
        fresh.map(|kept| kept.page.clone()).ok_or(inner.commits)
    }

    /// Keeps a page that was read, unless something was committed since it was looked for here.
    pub fn keep(&self, read: ReadEvents, page: &EventPage, commits: u64) {
        let mut inner = self.lock();
        if inner.commits == commits {
            inner.last = Some(Kept { read, page: page.clone(), at: Instant::now() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::TaskId;

    fn read(after: i64) -> ReadEvents {
        ReadEvents { task: TaskId::from_u128(1), after, limit: 10, bytes: 1_000 }
    }

    fn page(last_event: i64) -> EventPage {
        EventPage { events: Vec::new(), more: false, last_event, status: None }
    }

    #[test]
    fn a_page_serves_those_who_ask_the_same_until_something_is_committed() {
        let last = LastPage::default();
        let commits = last.find(&read(0)).expect_err("nothing was read yet");
        last.keep(read(0), &page(7), commits);
        assert_eq!(last.find(&read(0)).map(|page| page.last_event), Ok(7));
        assert!(last.find(&read(1)).is_err(), "another place");
        last.forget();
        assert!(last.find(&read(0)).is_err(), "there may be more by now");
    }

    #[test]
    fn a_page_that_was_being_read_during_a_commit_serves_nobody_else() {
        let last = LastPage::default();
        let commits = last.find(&read(0)).expect_err("nothing was read yet");
        last.forget();
        last.keep(read(0), &page(7), commits);
        assert!(last.find(&read(0)).is_err());
    }
}
