//! Subscriptions to changes. Hints only: each follower reads the store for itself.
//!
//! A follower registers *before* it reads, so nothing falls between; a hint that is lost
//! costs latency, since everybody also looks from time to time.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{broadcast, watch};

use super::rest::Rest;
use domain::TaskId;

/// Maximum number of hints that wait for a slow follower; after that it is told that it missed some, and
/// reads the store, which it would have done anyway.
const HINTS_AHEAD: usize = 64;

/// Workers that a commit concerns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Concern {
    /// None: it changes nothing for any but the one that asked.
    #[default]
    Nobody,
    /// As many as there are new tasks, of those that have a free slot.
    Idle(u64),
    /// All: those that run tasks have something to hear, or it is not known.
    All,
}

impl Concern {
    /// Those that two commits concern.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::All, _) | (_, Self::All) => Self::All,
            (Self::Nobody, one) | (one, Self::Nobody) => one,
            (Self::Idle(one), Self::Idle(other)) => Self::Idle(one + other),
        }
    }
}

/// Sums of what the commits of this process have concerned.
#[derive(Clone, Copy, Debug, Default)]
pub struct Concerned {
    /// Number of commits that concern all workers.
    all: u64,
    /// Number of tasks that might be claimed.
    tasks: u64,
}

impl Concerned {
    /// Returns those whom commits have concerned since then.
    #[must_use]
    pub const fn since(self, then: Self) -> Concern {
        match (self.all - then.all, self.tasks - then.tasks) {
            (0, 0) => Concern::Nobody,
            (0, tasks) => Concern::Idle(tasks),
            _ => Concern::All,
        }
    }
}

/// Signal about one task.
#[derive(Clone, Debug)]
pub enum TaskSignal {
    /// The task has new events, or another status.
    Changed,
    /// Text of the model while it is written. Not stored.
    Partial(Arc<str>),
}

/// The place where hints are left and picked up. Clones share it.
#[derive(Clone)]
pub struct ChangeNotifier(Arc<Inner>);

struct Inner {
    /// True if each commit of another process is seen.
    sees_all: bool,
    /// Grows with every commit, ours or another process's.
    commits: watch::Sender<u64>,
    /// Grows with every commit but our own signs of life.
    changes: watch::Sender<u64>,
    /// Grows with every commit that may concern workers.
    work: watch::Sender<u64>,
    /// Grows with our own commits that concern workers.
    concerned: watch::Sender<Concerned>,
    /// True if anybody follows all tasks.
    all_are_followed: AtomicBool,
    /// Senders of tasks with followers.
    tasks: Mutex<HashMap<TaskId, broadcast::Sender<TaskSignal>>>,
}

impl Default for ChangeNotifier {
    fn default() -> Self {
        Self::new(false)
    }
}

impl ChangeNotifier {
    /// One for processes of one machine, where each commit of another process is seen.
    #[must_use]
    pub fn of_one_machine() -> Self {
        Self::new(true)
    }

    fn new(sees_all: bool) -> Self {
        let counter = || watch::Sender::new(0);
        Self(Arc::new(Inner {
            sees_all,
            commits: counter(),
            changes: counter(),
            work: counter(),
            concerned: watch::Sender::default(),
            all_are_followed: AtomicBool::new(false),
            tasks: Mutex::default(),
        }))
    }

    /// Pauses between looks at the store.
    #[must_use]
    pub fn rest(&self) -> Rest {
        Rest::new(self.0.changes.subscribe(), self.0.sees_all)
    }

    /// Wakes at every commit, of this process or another.
    #[must_use]
    pub fn commits(&self) -> watch::Receiver<u64> {
        self.0.commits.subscribe()
    }

    /// Wakes at every commit that may concern workers.
    #[must_use]
    pub fn work(&self) -> watch::Receiver<u64> {
        self.0.work.subscribe()
    }

    /// Wakes at the commits of this process that concern workers, who see them only when they look.
    #[must_use]
    pub fn concerned(&self) -> watch::Receiver<Concerned> {
        self.0.concerned.subscribe()
    }

    /// Notes whether anybody follows all tasks.
    pub fn note_followers(&self, are_there: bool) {
        self.0.all_are_followed.store(are_there, Ordering::Relaxed);
    }

    /// True if anybody follows a task, or all of them.
    #[must_use]
    pub fn has_followers(&self) -> bool {
        self.0.all_are_followed.load(Ordering::Relaxed)
            || !self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Follows one task from now on.
    #[must_use]
    pub fn follow(&self, task: TaskId) -> TaskFollower {
        let mut tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        let sender = tasks.entry(task).or_insert_with(|| broadcast::Sender::new(HINTS_AHEAD));
        TaskFollower { news: Some(sender.subscribe()), hub: self.clone(), task }
    }

    /// Signals the changes of a commit of ours.
    pub fn changed(&self, tasks: &[TaskId], concern: Concern) {
        for task in tasks {
            self.tell(*task, &TaskSignal::Changed);
        }
        if concern != Concern::Nobody {
            self.0.concerned.send_modify(|sums| match concern {
                Concern::Nobody => {}
                Concern::Idle(tasks) => sums.tasks += tasks,
                Concern::All => sums.all += 1,
            });
            self.0.work.send_modify(|commits| *commits += 1);
        }
        self.0.changes.send_modify(|commits| *commits += 1);
        self.0.commits.send_modify(|commits| *commits += 1);
    }

    /// Signals a commit of signs of life: those who show workers look, and no [`Rest`] ends.
    pub fn sign_of_life(&self) {
        self.0.commits.send_modify(|commits| *commits += 1);
    }

    /// Signals a commit of another process: its tasks are not known.
    pub fn changed_elsewhere(&self, concerns_workers: bool) {
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        for sender in tasks.values() {
            // An error means that the last follower just left.
            drop(sender.send(TaskSignal::Changed));
        }
        drop(tasks);
        if concerns_workers {
            self.0.work.send_modify(|commits| *commits += 1);
        }
        self.0.changes.send_modify(|commits| *commits += 1);
        self.0.commits.send_modify(|commits| *commits += 1);
    }

    /// Text of the model while it is written.
    pub fn partial(&self, task: TaskId, text: &str) {
        self.tell(task, &TaskSignal::Partial(text.into()));
    }

    fn tell(&self, task: TaskId, news: &TaskSignal) {
        let tasks = self.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = tasks.get(&task) {
            // An error means that the last follower just left.
            drop(sender.send(news.clone()));
        }
    }
}

/// Signals of one task. Dropping it unregisters.
pub struct TaskFollower {
    news: Option<broadcast::Receiver<TaskSignal>>,
    hub: ChangeNotifier,
    task: TaskId,
}

impl TaskFollower {
    /// Waits for the next hint. What was missed reads as `Changed`.
    pub async fn next(&mut self) -> TaskSignal {
        match &mut self.news {
            Some(news) => news.recv().await.unwrap_or(TaskSignal::Changed),
            None => std::future::pending().await,
        }
    }
}

impl Drop for TaskFollower {
    fn drop(&mut self) {
        self.news = None;
        let mut tasks = self.hub.0.tasks.lock().unwrap_or_else(PoisonError::into_inner);
        if tasks.get(&self.task).is_some_and(|sender| sender.receiver_count() == 0) {
            tasks.remove(&self.task);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_commits_have_concerned_adds_up_and_nothing_of_it_is_lost() {
        let hub = ChangeNotifier::default();
        let (concerned, mut work) = (hub.concerned(), hub.work());
        let since = |then| concerned.borrow().since(then);
        let start = *concerned.borrow();
        hub.changed(&[], Concern::Nobody);
        assert_eq!((since(start), work.has_changed().expect("a hub")), (Concern::Nobody, false));
        hub.changed(&[], Concern::Idle(2));
        hub.changed(&[], Concern::Idle(3));
        assert_eq!((since(start), work.has_changed().expect("a hub")), (Concern::Idle(5), true));
        work.mark_unchanged();
        let middle = *concerned.borrow();
        hub.changed(&[], Concern::All);
        hub.changed(&[], Concern::Idle(1));
        assert_eq!((since(start), since(middle)), (Concern::All, Concern::All));
        hub.changed_elsewhere(true);
        assert_eq!(since(middle), Concern::All, "only its own commits");
    }

    #[test]
    fn commands_of_one_commit_concern_whom_any_of_them_concerns() {
        use Concern::{All, Idle, Nobody};
        for (one, other, both) in [
            (Nobody, Nobody, Nobody),
            (Nobody, Idle(1), Idle(1)),
            (Idle(1), Idle(2), Idle(3)),
            (Idle(1), All, All),
            (Nobody, All, All),
        ] {
            assert_eq!((one.and(other), other.and(one)), (both, both));
        }
    }
}
