//! Times at which a worker polls the store. Pure.
//!
//! *Promises*: one look at a time, so that what it claims is known before the next; whatever is hinted at is followed by a
//! look that begins after the hint; a worker without room looks at hints no more often than every [`BUSY_LOOK`].

use std::time::{Duration, Instant};

/// A worker whose slots are all taken looks no more often than this: for what was cancelled, lost or said.
const BUSY_LOOK: Duration = Duration::from_millis(50);

/// Next step after a poll that is under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum AfterPoll {
    /// No poll, unless there is more to claim.
    Rest,
    /// Another poll, a while after this one began.
    Later,
    /// Another poll, at once.
    Now,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// A timer is set.
    Scheduled(Instant),
    InFlight(AfterPoll),
}

/// See the [module](self).
#[derive(Debug)]
pub struct Poll {
    /// Start of the last poll.
    last: Instant,
    state: State,
}

/// Action for the worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Do {
    /// No action.
    Nothing,
    /// Look, and tell [`Poll::answered`].
    Look,
    /// The look that is under way may wait for work: ask for its answer.
    Flush,
    /// Tell [`Poll::timer`] after this time.
    Wait(Duration),
}

impl Poll {
    /// Starts without a poll.
    pub const fn new(now: Instant) -> Self {
        Self { last: now, state: State::Idle }
    }

    /// True while a look is under way.
    pub const fn is_in_flight(&self) -> bool {
        matches!(self.state, State::InFlight(_))
    }

    /// A look is wanted now.
    pub const fn wanted(&mut self, now: Instant) -> Do {
        match self.state {
            State::Idle | State::Scheduled(_) => {
                (self.last, self.state) = (now, State::InFlight(AfterPoll::Rest));
                Do::Look
            }
            State::InFlight(_) => {
                self.state = State::InFlight(AfterPoll::Now);
                Do::Flush
            }
        }
    }

    /// Takes a hint that the store has changed. A worker that could take nothing polls less often: with many workers,
    /// each would look at every commit of all others.
    pub fn hinted(&mut self, now: Instant, has_room: bool) -> Do {
        let since = now.saturating_duration_since(self.last);
        match self.state {
            _ if has_room || since >= BUSY_LOOK => self.wanted(now),
            State::Idle => self.schedule(BUSY_LOOK - since, now),
            State::InFlight(AfterPoll::Rest) => {
                self.state = State::InFlight(AfterPoll::Later);
                Do::Nothing
            }
            State::Scheduled(_) | State::InFlight(_) => Do::Nothing,
        }
    }

    /// A timer has gone off. One that was overtaken by a look counts for nothing.
    pub fn timer(&mut self, now: Instant) -> Do {
        match self.state {
            State::Scheduled(at) if at <= now => self.wanted(now),
            _ => Do::Nothing,
        }
    }

    /// The look under way was answered; with `more`, there may be more to claim.
    pub fn answered(&mut self, now: Instant, more: bool) -> Do {
        let State::InFlight(next) = self.state else { return Do::Nothing };
        self.state = State::Idle;
        match next {
            _ if more => self.wanted(now),
            AfterPoll::Now => self.wanted(now),
            AfterPoll::Rest => Do::Nothing,
            AfterPoll::Later => match BUSY_LOOK.checked_sub(now.saturating_duration_since(self.last)) {
                Some(left) if !left.is_zero() => self.schedule(left, now),
                _ => self.wanted(now),
            },
        }
    }

    fn schedule(&mut self, wait: Duration, now: Instant) -> Do {
        self.state = State::Scheduled(now + wait);
        Do::Wait(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Act {
        Pass(u64),
        Wanted,
        Hinted { has_room: bool },
        Answered { more: bool },
    }

    fn act() -> impl Strategy<Value = Act> {
        prop_oneof![
            (0_u64..80).prop_map(Act::Pass),
            Just(Act::Wanted),
            any::<bool>().prop_map(|has_room| Act::Hinted { has_room }),
            any::<bool>().prop_map(|more| Act::Answered { more }),
        ]
    }

    /// A worker around the machine, and what it sees.
    struct World {
        poll: Poll,
        now: Instant,
        in_flight: bool,
        timers: Vec<Instant>,
        /// True from a hint to the beginning of the look after it.
        owed: bool,
        last_look: Option<Instant>,
    }

    impl World {
        fn carry_out(&mut self, what: Do, is_throttled: bool) -> Result<(), TestCaseError> {
            match what {
                Do::Look => {
                    prop_assert!(!self.in_flight, "two looks at a time");
                    let since = self.last_look.map(|last| self.now - last);
                    prop_assert!(!is_throttled || since.is_none_or(|since| since >= BUSY_LOOK), "too soon: {since:?}");
                    (self.in_flight, self.owed, self.last_look) = (true, false, Some(self.now));
                }
                Do::Flush => prop_assert!(self.in_flight),
                Do::Wait(time) => self.timers.push(self.now + time),
                Do::Nothing => {}
            }
            Ok(())
        }

        /// Lets time pass, with each timer at its time.
        fn pass(&mut self, ms: u64) -> Result<(), TestCaseError> {
            let until = self.now + Duration::from_millis(ms);
            while let Some(at) = self.timers.iter().position(|at| *at <= until) {
                self.now = self.now.max(self.timers.swap_remove(at));
                let what = self.poll.timer(self.now);
                self.carry_out(what, true)?;
            }
            self.now = until;
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn one_look_at_a_time_and_one_after_each_hint(acts in prop::collection::vec(act(), 0..60)) {
            let now = Instant::now();
            let poll = Poll::new(now);
            let mut world = World { poll, now, in_flight: false, timers: Vec::new(), owed: false, last_look: None };
            for act in acts {
                match act {
                    Act::Pass(ms) => world.pass(ms)?,
                    Act::Wanted => {
                        world.owed = true;
                        let what = world.poll.wanted(world.now);
                        world.carry_out(what, false)?;
                    }
                    Act::Hinted { has_room } => {
                        world.owed = true;
                        let what = world.poll.hinted(world.now, has_room);
                        world.carry_out(what, !has_room)?;
                    }
                    Act::Answered { .. } if !world.in_flight => {}
                    Act::Answered { more } => {
                        world.in_flight = false;
                        let what = world.poll.answered(world.now, more);
                        world.carry_out(what, false)?;
                    }
                }
                prop_assert_eq!(world.poll.is_in_flight(), world.in_flight);
            }
            if world.in_flight {
                world.in_flight = false;
                let what = world.poll.answered(world.now, false);
                world.carry_out(what, false)?;
            }
            world.pass(100)?;
            prop_assert!(!world.owed, "a hint without a look");
        }
    }
}
