//! The same warning at most once in a while, with a count: a loop that fails fills no disk.
//!
//! Two warnings are the same if they come from one place in the program and say the same, figures that change with
//! each (a task's id, a time) included. What is left out is counted, and the next one that is let through says how
//! often it came.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::marker::PhantomData;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::fmt::FormattedFields;
use tracing_subscriber::layer::{Context, Filter};
use tracing_subscriber::registry::LookupSpan;

/// Between two of the same.
const PAUSE: Duration = Duration::from_secs(5);
/// Different warnings that are remembered; then those that have been silent are forgotten.
const REMEMBERED: usize = 1_024;

thread_local! {
    /// Number of repetitions that were left out before the event that is being written.
    static LEFT_OUT: Cell<u64> = const { Cell::new(0) };
}

/// Returns the number of repetitions that were left out before the event that is being written; 0 after the call.
pub(super) fn left_out() -> u64 {
    LEFT_OUT.take()
}

/// See the [module](self).
///
/// `N` is how the layer formats fields: by it the fields of spans are found.
pub(super) struct Throttle<N>(Mutex<HashMap<u64, (Instant, u64)>>, PhantomData<fn() -> N>);

impl<N> Default for Throttle<N> {
    fn default() -> Self {
        Self(Mutex::default(), PhantomData)
    }
}

impl<N> Throttle<N> {
    /// True if it is to be written now.
    fn lets_through(&self, key: u64, now: Instant) -> bool {
        let mut said = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if said.len() >= REMEMBERED {
            said.retain(|_, (at, _)| now.duration_since(*at) < PAUSE);
        }
        match said.get_mut(&key) {
            Some((at, left_out)) if now.duration_since(*at) < PAUSE => {
                *left_out += 1;
                false
            }
            Some(before) => {
                LEFT_OUT.set(before.1);
                *before = (now, 0);
                true
            }
            None => {
                LEFT_OUT.set(0);
                // Full of what was said a moment ago: too many different ones to count each.
                if said.len() < REMEMBERED {
                    said.insert(key, (now, 0));
                }
                true
            }
        }
    }
}

impl<N: 'static, S: Subscriber + for<'a> LookupSpan<'a>> Filter<S> for Throttle<N> {
    fn enabled(&self, _: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        true
    }

    fn event_enabled(&self, event: &Event<'_>, ctx: &Context<'_, S>) -> bool {
        if *event.metadata().level() > Level::WARN {
            LEFT_OUT.set(0);
            return true;
        }
        let mut said = EventHash(DefaultHasher::new());
        event.metadata().callsite().hash(&mut said.0);
        event.record(&mut said);
        for span in ctx.event_scope(event).into_iter().flatten() {
            span.extensions().get::<FormattedFields<N>>().map(|fields| &fields.fields).hash(&mut said.0);
        }
        self.lets_through(said.0.finish(), Instant::now())
    }
}

/// Hash of an event's text and fields.
struct EventHash(DefaultHasher);

impl fmt::Write for EventHash {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

impl Visit for EventHash {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.0);
        // Hashing can't fail.
        write!(self, "{value:?}").unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_comes_once_in_a_while_with_a_count() {
        let (throttle, now) = (Throttle::<()>::default(), Instant::now());
        assert!(throttle.lets_through(1, now));
        assert!((0..100).all(|_| !throttle.lets_through(1, now)));
        assert!(throttle.lets_through(2, now), "another one is not held up");
        assert_eq!(left_out(), 0);
        assert!(throttle.lets_through(1, now + PAUSE));
        assert_eq!((left_out(), left_out()), (100, 0));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let (throttle, now) = (Throttle::<()>::default(), Instant::now());
        assert!((0..5_000).all(|key| throttle.lets_through(key, now)));
        assert!(throttle.0.lock().expect("a lock").len() <= REMEMBERED);
        assert!(throttle.lets_through(9_999, now + PAUSE));
        assert_eq!(throttle.0.lock().expect("a lock").len(), 1);
    }
}
