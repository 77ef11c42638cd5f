//! The pause between two tries of something that fails: it grows, and it is spread.

use std::time::Duration;

use domain::RetryPolicy;

/// Delays from a quarter of a second to two: a write that waits for a full disk goes on within three seconds of space.
const POLICY: RetryPolicy =
    RetryPolicy { initial_delay: Duration::from_millis(250), max_delay: Duration::from_secs(2), multiplier: 2.0 };

/// Back-off after failures in a row.
#[derive(Debug, Default)]
pub struct BackOff {
    failures: i32,
}

impl BackOff {
    /// Waits after a failure: longer after each, up to two seconds, with jitter.
    pub async fn pause(&mut self) {
        tokio::time::sleep(self.next()).await;
    }

    /// Begins anew after a success.
    pub const fn reset(&mut self) {
        self.failures = 0;
    }

    /// The pause after one more failure.
    pub fn next(&mut self) -> Duration {
        self.after(super::chance())
    }

    fn after(&mut self, chance: f64) -> Duration {
        self.failures = self.failures.saturating_add(1);
        POLICY.delay(self.failures, chance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_their_limit_and_begin_anew() {
        let mut back_off = BackOff::default();
        let pauses: Vec<_> = (0..5).map(|_| back_off.after(1.0).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 2_000]);
        assert_eq!(back_off.after(0.0).as_millis(), 1_000, "spread over the upper half");
        back_off.reset();
        assert_eq!(back_off.after(1.0).as_millis(), 250);
    }
}
