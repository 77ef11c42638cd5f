//! Restart policies, as data. The same type serves actors and worker processes.

use std::collections::VecDeque;
use std::time::Duration;

/// Policy for restarts: their number in a time, and the waits between them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RestartPolicy {
    /// Maximum number of restarts within `window`.
    pub limit: usize,
    /// The time that restarts are counted over.
    pub window: Duration,
    /// The wait before the first restart in a window; it doubles with each.
    pub first_delay: Duration,
    /// Longest wait, and the wait after too many restarts.
    pub max_delay: Duration,
}

/// Decision after an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Start again after this wait.
    Restart(Duration),
    /// Too many ends. An owner that needs it gives up; one that does not tries again after this wait and says so.
    TooOften(Duration),
}

/// The restarts of one thing.
#[derive(Clone, Debug, Default)]
pub struct Restarts {
    recent: VecDeque<Duration>,
}

impl Restarts {
    /// Notes an end at `now` (any clock that only grows) and decides.
    pub fn after_end(&mut self, policy: &RestartPolicy, now: Duration) -> Decision {
        self.forget_old(policy, now);
        self.recent.push_back(now);
        let count = self.recent.len();
        if count > policy.limit {
            // Enough to know that it is too many; the rest would only grow the list.
            self.recent.truncate(policy.limit + 1);
            return Decision::TooOften(policy.max_delay);
        }
        let doublings = u32::try_from(count - 1).unwrap_or(u32::MAX).min(16);
        Decision::Restart(policy.first_delay.saturating_mul(1 << doublings).min(policy.max_delay))
    }

    fn forget_old(&mut self, policy: &RestartPolicy, now: Duration) {
        while self.recent.front().is_some_and(|at| now.saturating_sub(*at) > policy.window) {
            self.recent.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RestartPolicy = RestartPolicy {
        limit: 3,
        window: Duration::from_secs(60),
        first_delay: Duration::from_millis(100),
        max_delay: Duration::from_millis(300),
    };

    #[test]
    fn waits_double_up_to_the_longest_and_then_it_is_too_often() {
        let mut restarts = Restarts::default();
        let decisions: Vec<_> = (0..4).map(|at| restarts.after_end(&POLICY, Duration::from_secs(at))).collect();
        let ms = Duration::from_millis;
        assert_eq!(
            decisions,
            [
                Decision::Restart(ms(100)),
                Decision::Restart(ms(200)),
                Decision::Restart(ms(300)),
                Decision::TooOften(ms(300)),
            ]
        );
    }

    #[test]
    fn what_lies_before_the_window_is_forgotten() {
        let mut restarts = Restarts::default();
        for at in 0..4 {
            restarts.after_end(&POLICY, Duration::from_secs(at));
        }
        let later = restarts.after_end(&POLICY, Duration::from_secs(100));
        assert_eq!(later, Decision::Restart(Duration::from_millis(100)));
    }
}
