//! Pauses of those who look at the store from time to time.
//!
//! Each looks again after a while. Where every commit is seen, by whichever process, and nothing is committed, there is
//! nothing to be found: then the pause goes on until the next commit, or until a time that the caller knows of. Workers' signs
//! of life are no reason to look.

use std::time::Duration;

use tokio::sync::watch;

/// Longest pause in which nothing is committed: the clock of the machine may be set, and processes may die.
pub const LONGEST_REST: Duration = Duration::from_secs(10);

/// See the [module](self).
#[derive(Debug)]
pub struct Rest {
    changes: watch::Receiver<u64>,
    /// True if each commit is seen. On many machines one may be told late, or not at all.
    sees_all: bool,
}

impl Rest {
    /// Pauses of one who is told of these commits.
    pub(super) const fn new(changes: watch::Receiver<u64>, sees_all: bool) -> Self {
        Self { changes, sees_all }
    }

    /// A look begins: what is committed from here on is a reason for the next one.
    pub fn look(&mut self) {
        self.changes.mark_unchanged();
    }

    /// Waits for `pause`, and then, where nothing was committed since the look began, for the next commit; for `longest` at
    /// most in all.
    pub async fn pause(&mut self, pause: Duration, longest: Duration) {
        tokio::time::sleep(pause).await;
        let rest = longest.min(LONGEST_REST).saturating_sub(pause);
        if self.sees_all && !rest.is_zero() {
            // At once where one came during the pause. An error would say that the hub is gone, and with it the process.
            drop(tokio::time::timeout(rest, self.changes.changed()).await);
        }
    }

    /// Waits for the next commit since the look began, for `pause` at most where one may be missed, and else for `longest`.
    pub async fn commit(&mut self, pause: Duration, longest: Duration) {
        let longest = longest.min(if self.sees_all { LONGEST_REST } else { pause });
        drop(tokio::time::timeout(longest, self.changes.changed()).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::{ChangeNotifier, Concern};

    const PAUSE: Duration = Duration::from_millis(50);
    const REST: Duration = Duration::from_millis(300);

    async fn paused(rest: &mut Rest, longest: Duration) -> Duration {
        let began = tokio::time::Instant::now();
        rest.pause(PAUSE, longest).await;
        began.elapsed()
    }

    #[tokio::test]
    async fn a_pause_is_long_only_while_nothing_is_committed_and_each_commit_is_seen() {
        let hub = ChangeNotifier::of_one_machine();
        let mut rest = hub.rest();
        rest.look();
        assert!(paused(&mut rest, REST).await >= REST);
        assert!(paused(&mut rest, Duration::ZERO).await < LONGEST_REST, "a time that has come");
        rest.look();
        hub.sign_of_life();
        assert!(paused(&mut rest, REST).await >= REST, "a sign of life");
        rest.look();
        hub.changed(&[], Concern::Nobody);
        let after = paused(&mut rest, LONGEST_REST).await;
        assert!((PAUSE..LONGEST_REST).contains(&after), "a commit since the look: {after:?}");
        rest.look();
        let commit = async {
            tokio::time::sleep(REST).await;
            hub.changed_elsewhere(false);
        };
        let (after, ()) = tokio::join!(paused(&mut rest, LONGEST_REST), commit);
        assert!((REST..LONGEST_REST).contains(&after), "a commit of another process: {after:?}");
        let after = paused(&mut ChangeNotifier::default().rest(), LONGEST_REST).await;
        assert!((PAUSE..LONGEST_REST).contains(&after), "one may be missed: {after:?}");
    }
}
