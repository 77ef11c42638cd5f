//! Back-off between attempts.

use std::time::Duration;

/// Exponential back-off with jitter.
///
/// ```
/// use std::time::Duration;
/// let policy = domain::RetryPolicy { initial_delay: Duration::from_secs(1), max_delay: Duration::from_secs(3), multiplier: 2.0 };
/// let longest: Vec<u64> = (1..=3).map(|failures| policy.delay(failures, 1.0).as_secs()).collect();
/// assert_eq!(longest, [1, 2, 3]);
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Longest wait before the second attempt.
    pub initial_delay: Duration,
    /// Longest wait of all.
    pub max_delay: Duration,
    /// Factor from one wait to the next.
    pub multiplier: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { initial_delay: Duration::from_secs(1), max_delay: Duration::from_secs(60), multiplier: 2.0 }
    }
}

impl RetryPolicy {
    /// The wait after the `failures`-th failure (1, 2, …), in whole milliseconds. `chance` in `0.0..1.0` spreads it
    /// over its upper half, so that tasks which failed together don't come back together.
    #[must_use]
    pub fn delay(&self, failures: i32, chance: f64) -> Duration {
        let steps = failures.clamp(1, 64) - 1;
        let full = self.initial_delay.as_millis() as f64 * self.multiplier.powi(steps);
        let full = full.min(self.max_delay.as_millis() as f64);
        Duration::from_millis((full * (0.5 + 0.5 * chance.clamp(0.0, 1.0))) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_spread_over_the_upper_half() {
        let ms = Duration::from_millis;
        let policy = RetryPolicy { initial_delay: ms(100), max_delay: ms(350), multiplier: 2.0 };
        let full: Vec<_> = (1..=4).map(|n| policy.delay(n, 1.0)).collect();
        assert_eq!(full, [ms(100), ms(200), ms(350), ms(350)]);
        assert_eq!(policy.delay(2, 0.0), ms(100));
        assert_eq!(policy.delay(i32::MAX, 1.0), ms(350));
    }
}
