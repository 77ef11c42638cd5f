//! How long to wait before the next attempt.

/// Exponential back-off with jitter. Times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Wait before the second attempt.
    pub initial_delay_ms: i64,
    /// No wait is longer.
    pub max_delay_ms: i64,
    /// Each wait is this many times the one before.
    pub multiplier: f64,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { initial_delay_ms: 1_000, max_delay_ms: 60_000, multiplier: 2.0 }
    }
}

impl RetryPolicy {
    /// The wait after the `failures`-th failure (1, 2, …). `chance` in `0.0..1.0` spreads it
    /// over its upper half, so that tasks which failed together don't come back together.
    #[must_use]
    pub fn delay_ms(&self, failures: i32, chance: f64) -> i64 {
        let steps = failures.clamp(1, 64) - 1;
        let full = self.initial_delay_ms as f64 * self.multiplier.powi(steps);
        let full = full.min(self.max_delay_ms as f64);
        (full * (0.5 + 0.5 * chance.clamp(0.0, 1.0))) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_limit_and_spread_over_the_upper_half() {
        let policy = RetryPolicy { initial_delay_ms: 100, max_delay_ms: 350, multiplier: 2.0 };
        let full: Vec<_> = (1..=4).map(|n| policy.delay_ms(n, 1.0)).collect();
        assert_eq!(full, [100, 200, 350, 350]);
        assert_eq!(policy.delay_ms(2, 0.0), 100);
        assert_eq!(policy.delay_ms(i32::MAX, 1.0), 350);
    }
}
